"""`dynalang tokenizer`: train one on text, and show what it does to a sentence."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from dynalang_py import files
from dynalang_py.bounds import check
from dynalang_py.errors import UserError, command
from dynalang_py.run.console import Face, Progress
from dynalang_py.text.corpus import documents
from dynalang_py.tokenizers import NAMED, Tokenizer, load
from dynalang_py.tokenizers.pieces import LEAST, SentencePieces, train

MEASURED = 5_000_000
"""Characters at the beginning of a corpus on which a new tokenizer is measured."""


@dataclass(frozen=True, kw_only=True)
class TrainTokenizerConfig:
    vocab_size: int = 4_000
    """How many pieces: the 256 bytes, silence, an end mark and an unknown that never occurs are among them. More make
    sentences shorter and models larger."""
    out: Path = Path("tok.model")
    """File to write; an older one there stays until the new one is complete."""

    def __post_init__(self) -> None:
        check(self)
        if self.vocab_size <= LEAST:
            raise ValueError(f"vocab_size must be more than {LEAST}, of which 256 are the bytes, got {self.vocab_size}")


@dataclass(frozen=True, kw_only=True)
class ShowTokenizerConfig:
    tokenizer: str = "english"
    """english (ships with dynalang), bytes, t5, homegrid, babyai, langroom or houses; or the path of a sentencepiece
    model, as you trained it or T5's spiece.model; or of VLN-CE's train.json.gz, for its word list."""


def train_tokenizer(corpus: Sequence[str], config: TrainTokenizerConfig) -> None:
    """Train a sentencepiece model on text files and folders of them, write it and print what it does to the text.

    Raises UserError for a corpus that can't be read or doesn't fit the vocabulary's size; then nothing is written.
    """
    if config.out.is_dir():
        raise UserError(
            f"--out is {config.out}, which is a folder; name a file in it, such as {config.out / 'tok.model'}"
        )
    face = Face()
    with Progress(face) as progress:
        reader = _Reader(corpus, progress, config.vocab_size)
        content = train(reader, config.vocab_size)
    files.write(config.out, content)
    tokenizer = SentencePieces(config.out)
    rows = [("text", f"{reader.documents:,} documents, {reader.characters:,} characters"), *_facts(tokenizer)]
    face.table(str(config.out), [*rows, *_statistics(tokenizer, reader.first, reader.characters)])
    show = command("dynalang", "tokenizer", "show", "go to the blue sofa", "--tokenizer", config.out)
    face.say(f"To see what it does: {show}")


def show_tokenizer(text: str, config: ShowTokenizerConfig) -> None:
    """Print the ids and pieces of a text, and what becomes of it on the way there and back.

    Raises UserError if there is no such tokenizer, no text, or the tokenizer refuses it.
    """
    if not text.strip():
        raise UserError('there is no text to show, as in: dynalang tokenizer show "go to the blue sofa"')
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise UserError(f"the text {text!r} has bytes that are no UTF-8")
    tokenizer = load(config.tokenizer)
    ids = tokenizer.encode(text)
    back = tokenizer.decode(ids)
    same = "the same" if back == text else "not the same: it keeps less than the text has"
    rows = [
        *_facts(tokenizer),
        ("ids", " ".join(map(str, ids))),
        ("pieces", " ".join(tokenizer.pieces[i] for i in ids)),
        ("tokens", f"{len(ids):,} for {len(text):,} characters"),
        ("and back", f"{back} ({same})"),
    ]
    if unknown := ids.count(tokenizer.unknown) if tokenizer.unknown is not None else 0:
        rows.append(("unknown", f"{unknown:,} of {len(ids):,} tokens"))
    Face().table(config.tokenizer if config.tokenizer in NAMED else f"tokenizer {config.tokenizer}", rows)


class _Reader:
    """The documents of a corpus, counted as they pass; keeps the `first` of them to measure a tokenizer on."""

    def __init__(self, corpus: Sequence[str], progress: Progress, size: int) -> None:
        self._corpus, self._progress, self._size = corpus, progress, size
        self.documents = self.characters = 0
        self.first: list[str] = []

    def __iter__(self) -> Iterator[str]:
        for document in documents(self._corpus):
            if self.characters < MEASURED:
                self.first.append(document)
            self.documents += 1
            self.characters += len(document)
            if self._progress.due():
                self._progress.draw(f"reading: {self.documents:,} documents, {self.characters:,} characters")
            yield document
        # Training gives no sign of life: it is one call of a library.
        line = f"training {self._size:,} pieces on {self.documents:,} documents, {self.characters:,} characters ..."
        self._progress.draw(line)
        self._progress.log(line)


def _facts(tokenizer: Tokenizer) -> list[tuple[str, str]]:
    marks = {"silence": tokenizer.pad, "end": tokenizer.end, "unknown": tokenizer.unknown}
    named = ", ".join(f"{name} {'none' if id is None else id}" for name, id in marks.items())
    return [("size", f"{tokenizer.size:,} ids ({named})"), ("identity", tokenizer.identity[:16])]


def _statistics(tokenizer: SentencePieces, texts: Sequence[str], characters: int) -> list[tuple[str, str]]:
    """How short texts become, how much of them is spelt in bytes, by which pieces, and the beginning as an example."""
    count = spelt = 0
    seen = bytearray(tokenizer.size)
    for text in texts:
        ids = tokenizer.encode(text)
        count += len(ids)
        spelt += sum(map(tokenizer.is_byte, ids))
        for id in ids:
            seen[id] = 1
    measured = sum(map(len, texts))
    part = "" if measured == characters else f" (the first {measured:,} characters)"
    longest = sorted((piece for piece in tokenizer.pieces if not piece.startswith("<")), key=len)[-6:]
    sample = [tokenizer.pieces[id] for id in tokenizer.encode(" ".join(texts[:2])[:200])]
    return [
        ("characters per token", f"{measured / count:.2f}{part}"),
        ("spelt in bytes", f"{spelt / count:.2%} of the tokens"),
        ("pieces that occur", f"{sum(seen):,} of {tokenizer.size:,}"),
        ("longest pieces", " ".join(reversed(longest))),
        ("sample", " ".join(sample)),
    ]
