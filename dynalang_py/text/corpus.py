"""Where text comes from: files, folders of files, and data sets by name, as a stream of documents.

Needs the standard library alone, but for data sets.
"""

import gzip
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Literal, TypeAlias

from dynalang_py.errors import UserError

Documents: TypeAlias = Literal["lines", "paragraphs"]
"""lines: each line that is not blank is a document. paragraphs: blank lines lie between documents, and line breaks
within them become spaces."""

SUFFIXES = (".txt", ".txt.gz")
"""What counts as text in a folder. A file that is named itself may be called anything."""
HUB = "hf:"


def documents(corpus: Sequence[str | Path], split: Documents = "lines") -> Iterator[str]:
    """The documents of a corpus, in the order of its sources and never all in memory.

    corpus: text files in UTF-8 (also gzipped), folders of such files (read in the order of their paths), and
    `hf:NAME` or `hf:NAME:PART` for the column `text` of a data set that the package datasets can fetch, part `train`
    if none is named.
    Raises UserError for a source that is missing, undecodable bytes (file and offset), and a corpus without a document.
    """
    empty = True
    for source in corpus:
        for document in _hub(str(source)) if str(source).startswith(HUB) else _files(Path(source), split):
            empty = False
            yield document
    if empty:
        raise UserError(f"the corpus ({', '.join(map(str, corpus)) or 'no source'}) has no text in it")


def _files(path: Path, split: Documents) -> Iterator[str]:
    path = path.expanduser()
    if path.is_dir():
        found = sorted(file for file in path.rglob("*") if file.is_file() and file.name.endswith(SUFFIXES))
        if not found:
            raise UserError(f"the folder {path} has no file that ends in {' or '.join(SUFFIXES)}")
    elif path.exists():
        found = [path]
    else:
        raise UserError(f"there is no corpus {path}; name text files, folders of them, or {HUB}NAME for a data set")
    for file in found:
        yield from _lines(file) if split == "lines" else _paragraphs(_lines(file, blank=True))


def _lines(path: Path, blank: bool = False) -> Iterator[str]:
    """The lines of a file, stripped; with `blank` the empty ones too."""
    offset = 0
    try:
        with _open(path) as file:
            for raw in file:
                line = _decode(raw, path, offset).strip()
                offset += len(raw)
                if line or blank:
                    yield line
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise UserError(f"{path} is a damaged gzip file: {error}") from error


def _decode(raw: bytes, path: Path, offset: int) -> str:
    try:
        return raw.decode("utf-8-sig" if offset == 0 else "utf-8")
    except UnicodeDecodeError as error:
        at = offset + error.start
        where = f"byte {at:,} of {path}" + (" unpacked" if path.suffix == ".gz" else "")
        raise UserError(f"{where} is 0x{error.object[error.start]:02x}, which is no UTF-8 text") from error


def _paragraphs(lines: Iterable[str]) -> Iterator[str]:
    parts: list[str] = []
    for line in lines:
        if line:
            parts.append(line)
        elif parts:
            yield " ".join(parts)
            parts = []
    if parts:
        yield " ".join(parts)


def _open(path: Path) -> BinaryIO | gzip.GzipFile:
    try:
        return gzip.open(path) if path.suffix == ".gz" else path.open("rb")
    except OSError as error:
        raise UserError(f"{path} can't be read: {error.strerror}") from error


def _hub(source: str) -> Iterator[str]:
    name, _, part = source.removeprefix(HUB).partition(":")
    try:
        import datasets
    except ImportError as error:
        raise UserError(f"{source} needs the package datasets: pip install datasets ({error})") from error
    try:
        rows = iter(datasets.load_dataset(name, split=part or "train", streaming=True))
        first = next(rows, None)
    except Exception as error:  # whatever its many ways to fail: no network, no such name, no such part
        reason = str(error).strip() or type(error).__name__
        raise UserError(f"the data set {source} can't be fetched: {reason}") from error
    if first is not None and "text" not in first:
        raise UserError(f"the data set {source} has no column 'text'; it has {', '.join(map(repr, first))}")
    while first is not None:
        if document := " ".join(first["text"].split()):
            yield document
        first = next(rows, None)
