"""A corpus as one array of token ids on disk, encoded once: windows of it are then mere slices, and resume is exact."""

import hashlib
import json
import multiprocessing
import os
import re
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from dynalang_py import files
from dynalang_py.bounds import Within, check
from dynalang_py.errors import UserError
from dynalang_py.reading import read_json, user_path
from dynalang_py.text.corpus import Documents, documents
from dynalang_py.tokenizers import Tokenizer
from dynalang_py.tokenizers.coverage import Coverage, measure

Counting: TypeAlias = Callable[[str, int], Callable[[int], object]]
"""From a unit and its total to whom to tell how many are done."""

CHUNK = 500
"""Documents that a worker encodes at a time."""
PARTS = ("ids.raw", "starts.raw", "characters.raw")
DTYPES = tuple(np.dtype(name).str for name in ("u1", "u2", "u4"))

_LEFTOVER = re.compile(r"\.(?:ids|starts|characters)\.raw\.(\d+)\.partial")
Encoded: TypeAlias = tuple[list[tuple[list[int], int]], Coverage]
"""Ids and characters of each document of a chunk, and what the tokenizer can't say of them."""


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
    """Folder that keeps encoded corpora and may be shared by runs; none keeps them in the run's own folder, and a run
    that goes on writes only there."""
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
    coverage: Coverage = field(default_factory=Coverage)
    """How much of the whole text, of which this may be a part, the tokenizer can say."""

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
        starts, characters = self.starts[begin : end + 1] - first, self.characters[begin:end]
        return Tokens(self.ids[first:last], starts, characters, self.key, self.coverage)

    def head(self, tokens: int) -> "Tokens":
        """The first documents, as many as have at most `tokens` tokens together, but at least one."""
        return self.part(0, max(1, int(self.starts.searchsorted(tokens, side="right")) - 1))


def tokenise(
    config: TextConfig,
    corpus: Sequence[str],
    tokenizer: Tokenizer,
    folder: Path,
    counting: Counting = lambda unit, total: lambda done: None,
) -> Tokens:
    """The tokens of a corpus, from a cache below `folder` or in `config.cache` where they have been encoded before.

    The name in the cache is a hash of all documents and of the tokenizer: other text or another tokenizer is encoded
    anew, and the same text elsewhere is not; so is what lies there damaged. Raises UserError for whatever is wrong with
    the corpus or tokenizer. Nothing is written but below `folder`.
    """
    digest = hashlib.sha256(tokenizer.identity.encode())
    count = 0
    for document in documents(corpus, config.documents):
        digest.update(document.encode() + b"\n")
        count += 1
    path = folder / digest.hexdigest()[:16]
    files.check_own(path, folder=True)
    tokens = _open(path, tokenizer)
    if tokens is None and config.cache:
        tokens = _open(user_path(config.cache) / path.name, tokenizer)
    if tokens is None:
        coverage = Coverage()
        encoded = _told(_encoded(config, corpus, tokenizer, coverage), counting("documents encoded", count))
        _write(path, encoded, tokenizer, coverage)
        tokens = _open(path, tokenizer)
    if tokens is None:
        raise UserError(f"{path} does not keep what is written there; is the disk sound?")
    return tokens


def _told(
    encoded: Iterable[tuple[list[int], int]], progress: Callable[[int], object]
) -> Iterator[tuple[list[int], int]]:
    for done, document in enumerate(encoded):
        progress(done)
        yield document


def _open(path: Path, tokenizer: Tokenizer) -> Tokens | None:
    """What lies in the cache under this name; None where nothing does, or something else than was encoded."""
    try:
        for name in (*PARTS, "meta.json"):
            files.check_own(path / name)
        meta = read_json(path / "meta.json")
        if meta["dtype"] not in DTYPES or meta["tokenizer"] != tokenizer.identity:
            return None
        ids = np.asarray(np.memmap(path / "ids.raw", meta["dtype"], "r"))
        starts, characters = (np.fromfile(path / name, np.int64) for name in PARTS[1:])
        if meta["crc32"] != _crc_of_state(meta["coverage"], _crc(characters, _crc(starts, _crc(ids)))):
            return None
        coverage = Coverage.of_state(meta["coverage"])
    except (UserError, OSError, ValueError, KeyError, TypeError):
        return None
    # Another's folder may hold what is whole and no text all the same.
    documents = len(characters) == len(starts) - 1 > 0 and bool((np.diff(starts) > 0).all())
    if not documents or starts[0] != 0 or starts[-1] != len(ids) or ids.max() >= tokenizer.size:
        return None
    return Tokens(ids, starts, characters, path.name, coverage)


def _write(path: Path, encoded: Iterable[tuple[list[int], int]], tokenizer: Tokenizer, coverage: Coverage) -> None:
    """Lay the documents out in a folder, with what describes them last.

    coverage: complete when `encoded` has come to its end.
    """
    path.mkdir(parents=True, exist_ok=True)
    for leftover in path.iterdir():
        if (found := _LEFTOVER.fullmatch(leftover.name)) and not _is_running(int(found[1])):
            leftover.unlink()
    dtype = np.min_scalar_type(max(256, tokenizer.size - 1))
    lengths, counts, crc = [], [], 0
    with files.replacing(path / "ids.raw") as partial, partial.open("wb") as file:
        for ids, length in encoded:
            whole = ids if tokenizer.end is None else [*ids, tokenizer.end]
            if not whole:
                continue  # a closed vocabulary without an end mark may leave nothing of a document
            row = np.array(whole, dtype)
            crc = _crc(row, crc)
            file.write(row.data)
            lengths.append(len(whole))
            counts.append(length + 1)
        file.flush()
        if not lengths:
            raise UserError(f"the tokenizer leaves nothing of the corpus: it can't say {coverage}")
    starts, characters = np.cumsum([0, *lengths], dtype=np.int64), np.array(counts, np.int64)
    for name, array in zip(PARTS[1:], (starts, characters), strict=True):
        files.write(path / name, array.tobytes())
    meta = {
        "dtype": dtype.str,
        "tokenizer": tokenizer.identity,
        "crc32": _crc_of_state(coverage.state(), _crc(characters, _crc(starts, crc))),
        "coverage": coverage.state(),
    }
    files.write(path / "meta.json", json.dumps(meta))


def _crc(array: NDArray[Any], before: int = 0) -> int:
    return zlib.crc32(array.data, before)


def _crc_of_state(state: Any, before: int) -> int:
    return zlib.crc32(json.dumps(state, sort_keys=True).encode(), before)


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True


def _encoded(
    config: TextConfig, corpus: Sequence[str], tokenizer: Tokenizer, coverage: Coverage
) -> Iterator[tuple[list[int], int]]:
    """Ids and characters of each document, in order; what the tokenizer can't say of them is added to `coverage`."""
    source = documents(corpus, config.documents)
    chunks = iter(lambda: list(islice(source, CHUNK)), [])
    for encoded, found in _chunks(config.workers, chunks, tokenizer):
        coverage.add(found)
        yield from encoded


def _chunks(workers: int, chunks: Iterable[list[str]], tokenizer: Tokenizer) -> Iterator[Encoded]:
    if not workers:
        yield from (_encode(chunk, tokenizer) for chunk in chunks)
        return
    spawn = multiprocessing.get_context("spawn")
    waiting: deque[Future[Encoded]] = deque()
    with ProcessPoolExecutor(workers, spawn, _begin, (tokenizer,)) as pool:
        for chunk in chunks:
            waiting.append(pool.submit(_work, chunk))
            if len(waiting) > 2 * workers:  # never the whole corpus in memory
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _encode(chunk: Sequence[str], tokenizer: Tokenizer) -> Encoded:
    return [(tokenizer.encode(document), len(document)) for document in chunk], measure(tokenizer, chunk)


_tokenizer: Tokenizer
"""Of a worker process."""


def _begin(tokenizer: Tokenizer) -> None:
    global _tokenizer
    _tokenizer = tokenizer


def _work(chunk: Sequence[str]) -> Encoded:
    return _encode(chunk, _tokenizer)
