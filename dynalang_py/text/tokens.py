"""A corpus as one array of token ids on disk, encoded once: windows of it are then mere slices, and resume is exact."""

import hashlib
import json
import multiprocessing
import shutil
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from dynalang_py import files
from dynalang_py.bounds import Within, check
from dynalang_py.errors import UserError
from dynalang_py.text.corpus import Documents, documents
from dynalang_py.tokenizers import Tokenizer

CHUNK = 500
"""Documents that a worker encodes at a time."""


@dataclass(frozen=True, kw_only=True)
class TextConfig:
    corpus: tuple[str, ...] = ()
    """Text files (.gz too), folders of them, or hf:NAME for a data set that the package datasets can fetch."""
    documents: Documents = "lines"
    """Where a document ends: at each line (lines), or at blank lines (paragraphs)."""
    reset: bool = True
    """Forget what was read where a new document begins, as an agent does where an episode begins; else the belief goes
    on from one document into the next, as in the Dynalang release."""
    cache: Path | None = None
    """Folder that keeps encoded corpora and may be shared by runs; none keeps them in the run's own folder."""
    workers: Annotated[int, Within(0, 1024)] = 0
    """Processes that encode the corpus; 0 encodes in this one, which is fast enough below 100 MB or so."""

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class Tokens:
    """Documents one after the other, each with the end mark behind it (where the tokenizer has one)."""

    ids: NDArray[np.unsignedinteger]
    """(tokens,), mapped from disk."""
    starts: NDArray[np.int64]
    """(documents + 1,): where each document begins, and the end of the last."""
    characters: NDArray[np.int64]
    """(documents,): length of each document in characters, the line break that ends it included."""
    key: str
    """Hash of text and tokenizer."""

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def documents(self) -> int:
        return len(self.characters)

    def __getitem__(self, document: int) -> NDArray[np.unsignedinteger]:
        """The ids of one document."""
        return self.ids[self.starts[document] : self.starts[document + 1]]

    def part(self, begin: int, end: int) -> "Tokens":
        """The documents from `begin` to before `end`."""
        first, last = self.starts[begin], self.starts[end]
        return Tokens(self.ids[first:last], self.starts[begin : end + 1] - first, self.characters[begin:end], self.key)

    def head(self, tokens: int) -> "Tokens":
        """The first documents, as many as have at most `tokens` tokens together, but at least one."""
        return self.part(0, max(1, int(self.starts.searchsorted(tokens, side="right")) - 1))


def tokenise(config: TextConfig, corpus: Sequence[str], tokenizer: Tokenizer, folder: Path) -> Tokens:
    """The tokens of a corpus, from a cache below `folder` where they have been encoded before.

    The name in the cache is a hash of all documents and of the tokenizer: other text or another tokenizer is encoded
    anew, and the same text elsewhere is not. Raises UserError for whatever is wrong with the corpus or tokenizer.
    """
    digest = hashlib.sha256(tokenizer.identity.encode())
    for document in documents(corpus, config.documents):
        digest.update(document.encode() + b"\n")
    path = folder / digest.hexdigest()[:16]
    if not (path / "meta.json").exists():
        _write(path, _encoded(config, corpus, tokenizer), tokenizer)
    meta = json.loads((path / "meta.json").read_text())
    tokens = Tokens(
        np.memmap(path / "ids.raw", meta["dtype"], "r"),
        np.load(path / "starts.npy"),
        np.load(path / "characters.npy"),
        path.name,
    )
    if len(tokens) != tokens.starts[-1]:
        raise UserError(f"{path} is damaged: it has {len(tokens)} tokens of {tokens.starts[-1]}; delete it")
    return tokens


def _write(path: Path, encoded: Iterable[tuple[list[int], int]], tokenizer: Tokenizer) -> None:
    """Lay the documents out in a folder that appears under its name when all is there."""
    partial = path.with_name(f".{path.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)  # of a process that was killed
    partial.mkdir(parents=True)
    dtype = np.min_scalar_type(max(256, tokenizer.size - 1))
    lengths, characters = [], []
    with (partial / "ids.raw").open("wb") as file:
        for ids, length in encoded:
            whole = ids if tokenizer.end is None else [*ids, tokenizer.end]
            if not whole:
                continue  # a closed vocabulary without an end mark may leave nothing of a document
            file.write(np.array(whole, dtype).tobytes())
            lengths.append(len(whole))
            characters.append(length + 1)
    if not lengths:
        raise UserError("the tokenizer leaves nothing of the corpus")
    np.save(partial / "starts.npy", np.cumsum([0, *lengths], dtype=np.int64))
    np.save(partial / "characters.npy", np.array(characters, np.int64))
    files.write(partial / "meta.json", json.dumps({"dtype": dtype.str, "tokenizer": tokenizer.identity}))
    shutil.rmtree(path, ignore_errors=True)
    partial.rename(path)


def _encoded(config: TextConfig, corpus: Sequence[str], tokenizer: Tokenizer) -> Iterator[tuple[list[int], int]]:
    """Ids and characters of each document, in order."""
    source = documents(corpus, config.documents)
    chunks = iter(lambda: list(islice(source, CHUNK)), [])
    if not config.workers:
        for chunk in chunks:
            yield from _encode(chunk, tokenizer)
        return
    spawn = multiprocessing.get_context("spawn")
    waiting: deque[Future[list[tuple[list[int], int]]]] = deque()
    with ProcessPoolExecutor(config.workers, spawn, _begin, (tokenizer,)) as pool:
        for chunk in chunks:
            waiting.append(pool.submit(_work, chunk))
            if len(waiting) > 2 * config.workers:  # never the whole corpus in memory
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()


def _encode(chunk: Sequence[str], tokenizer: Tokenizer) -> list[tuple[list[int], int]]:
    return [(tokenizer.encode(document), len(document)) for document in chunk]


_tokenizer: Tokenizer
"""Of a worker process."""


def _begin(tokenizer: Tokenizer) -> None:
    global _tokenizer
    _tokenizer = tokenizer


def _work(chunk: Sequence[str]) -> list[tuple[list[int], int]]:
    return _encode(chunk, _tokenizer)
