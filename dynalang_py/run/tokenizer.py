"""`dynalang tokenizer`: train one on text, and show what it does to a sentence."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from dynalang_py import files
from dynalang_py.bounds import Within, check
from dynalang_py.errors import UserError, command
from dynalang_py.reading import user_path
from dynalang_py.run.console import Face, Progress
from dynalang_py.text.corpus import documents
from dynalang_py.tokenizers import NAMED, Tokenizer, load
from dynalang_py.tokenizers.coverage import measure
from dynalang_py.tokenizers.pieces import LEAST, LONGEST_WORD, MOST, USUAL, SentencePieces, train

MEASURED = 5_000_000
"""Characters at the beginning of a corpus on which a new tokenizer is measured."""


@dataclass(frozen=True, kw_only=True)
class TrainTokenizerConfig:
    vocab_size: Annotated[int, Within(high=MOST)] | None = None
    """How many pieces: the 256 bytes, silence, an end mark and an unknown that never occurs are among them. More make
    sentences shorter and models larger. None: 4,000, or as many as the text supports."""
    out: Path = Path("tok.model")
    """File to write; an older one there stays until the new one is complete."""

    def __post_init__(self) -> None:
        check(self)
        if self.vocab_size is not None and self.vocab_size <= LEAST:
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
    out = user_path(config.out)
    if out.is_dir():
        raise UserError(f"--out is {out}, which is a folder; name a file in it, such as {out / 'tok.model'}")
    if out.exists() and not out.is_file():
        raise UserError(f"--out is {out}, which is a device, pipe or socket; name a file")
    face = Face()
    changed: Counter[str] = Counter()
    with Progress(face) as progress:
        reader = _Reader(corpus, progress, config.vocab_size or USUAL)
        content = train(reader, config.vocab_size, changed)
    files.write(out, content)
    tokenizer = SentencePieces(out)
    rows = [
        ("text", f"{reader.documents:,} documents, {reader.characters:,} characters"),
        ("taken otherwise", _changed(changed)),
        *_facts(tokenizer, "" if config.vocab_size else _chosen(tokenizer.size)),
        *_statistics(tokenizer, reader.first, reader.characters),
    ]
    face.table(str(out), rows)
    show = command("dynalang", "tokenizer", "show", "go to the blue sofa", "--tokenizer", out)
    read = command("dynalang", "pretrain", "text-small", "--corpus", *corpus, "--tokenizer", out)
    face.say(f"To see what it does: {show}\nTo read with it:     {read}")


def show_tokenizer(text: str, config: ShowTokenizerConfig) -> None:
    """Print the ids and pieces of a text, and what becomes of it on the way there and back.

    Raises UserError if there is no such tokenizer or no text.
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
        ("unknown words", str(measure(tokenizer, [text]))),
        ("ids", " ".join(map(str, ids))),
        ("pieces", " ".join(tokenizer.pieces[i] for i in ids)),
        ("tokens", f"{len(ids):,} for {len(text):,} characters"),
        ("and back", f"{back} ({same})"),
    ]
    Face().table(config.tokenizer if config.tokenizer in NAMED else f"tokenizer {config.tokenizer}", rows)


class _Reader:
    """The documents of a corpus, counted as they pass; keeps the `first` of them to measure a tokenizer on."""

    def __init__(self, corpus: Sequence[str], progress: Progress, size: int) -> None:
        self._corpus, self._progress, self._size = corpus, progress, size
        self.documents = self.characters = 0
        self.first: list[str] = []

    def __iter__(self) -> Iterator[str]:
        self.documents = self.characters = 0
        self.first.clear()
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


def _changed(changed: Counter[str]) -> str:
    """Which documents weren't taken for training as they are, and why."""
    reasons = {
        "reserved": "with U+2585 or U+0000, which sentencepiece keeps for itself: a space stood in for them",
        "cut": f"with more than {LONGEST_WORD} characters without a space: cut there",
        "empty": "of which nothing was left: left out",
    }
    told = [f"{changed[name]:,} {reason}" for name, reason in reasons.items() if changed[name]]
    return "; ".join(told) or "none of them"


def _chosen(size: int) -> str:
    """Why a tokenizer has the size that nobody asked for."""
    if size == USUAL:
        return "; the usual size"
    why = "the text supports no more" if size < USUAL else "as its characters need"
    return f"; {USUAL:,} are usual, {why}"


def _facts(tokenizer: Tokenizer, about: str = "") -> list[tuple[str, str]]:
    marks = {"silence": tokenizer.pad, "end": tokenizer.end, "unknown": tokenizer.unknown}
    named = ", ".join(f"{name} {'none' if id is None else id}" for name, id in marks.items())
    return [("size", f"{tokenizer.size:,} ids ({named}){about}"), ("identity", tokenizer.identity[:16])]


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
