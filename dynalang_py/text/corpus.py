"""Where text comes from: files, folders of files, and data sets by name, as a stream of documents.

Needs the standard library alone, but for data sets.
"""

import gzip
import os
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal, TypeAlias

from dynalang_py.errors import UserError
from dynalang_py.reading import open_file, user_path

Documents: TypeAlias = Literal["lines", "paragraphs"]
"""lines: each line that is not blank is a document. paragraphs: blank lines lie between documents, and line breaks
within them become spaces. A line ends with LF, CR LF or CR, and with nothing else that Unicode has."""

SUFFIXES = (".txt", ".txt.gz")
"""What counts as text in a folder. A file that is named itself may be called anything."""
HUB = "hf:"
LINE_END = re.compile(rb"\r\n|\n|\r")
BLOCK = 1 << 20
"""Bytes that are read at a time."""
LONGEST = 1 << 26
"""Bytes that a line may have."""


def documents(corpus: Sequence[str | Path], split: Documents = "lines") -> Iterator[str]:
    """The documents of a corpus, in the order of its sources and never all in memory.

    corpus: text files in UTF-8 (also gzipped), folders of such files (read in the order of their paths), and
    `hf:NAME` or `hf:NAME:PART` for the column `text` of a data set that the package datasets can fetch, part `train`
    if none is named.
    Raises UserError for a source that is missing, undecodable bytes (file and offset), and a corpus without a document.
    """
    # All are looked for before the first is read, which may take long.
    sources = [source if str(source).startswith(HUB) else _found(Path(source)) for source in corpus]
    empty = True
    for source in sources:
        for document in _hub(str(source)) if not isinstance(source, list) else _files(source, split):
            empty = False
            yield document
    if empty:
        raise UserError(f"the corpus ({', '.join(map(str, corpus)) or 'no source'}) has no text in it")


def _found(path: Path) -> list[Path]:
    """The files that a path means."""
    path = user_path(path)
    # os.path finds nothing where pathlib raises that it may not look.
    if os.path.isdir(path):
        found = sorted(file for file in path.rglob("*") if file.name.endswith(SUFFIXES) and os.path.isfile(file))
        if not found:
            raise UserError(f"the folder {path} has no file that ends in {' or '.join(SUFFIXES)}")
        return found
    if not os.path.exists(path):
        hint = "; the number of pieces is told by --vocab-size" if path.name.isdecimal() else ""
        raise UserError(
            f"there is no corpus {path}; name text files, folders of them, or {HUB}NAME for a data set{hint}"
        )
    return [path]


def _files(paths: Iterable[Path], split: Documents) -> Iterator[str]:
    for path in paths:
        yield from _lines(path) if split == "lines" else _paragraphs(_lines(path, blank=True))


def _lines(path: Path, blank: bool = False) -> Iterator[str]:
    """The lines of a file, stripped; with `blank` the empty ones too."""
    offset = 0
    for raw, end in _cut(path):
        line = _decode(raw, path, offset).strip()
        offset += len(raw) + end
        if line or blank:
            yield line


def _cut(path: Path) -> Iterator[tuple[bytes, int]]:
    """The lines of a file and how many bytes end each."""
    try:
        with open_file(path, "the corpus") as file:
            stream = gzip.GzipFile(fileobj=file) if path.suffix == ".gz" else file
            rest = b""
            while block := stream.read(BLOCK):
                start, looked = 0, max(0, len(rest) - 1)
                rest += block
                for match in LINE_END.finditer(rest, looked):
                    if match.end() == len(rest) and match[0] == b"\r":
                        break  # perhaps the first half of CR LF
                    yield rest[start : match.start()], len(match[0])
                    start = match.end()
                rest = rest[start:]
                if len(rest) > LONGEST:
                    raise UserError(f"{path} has a line of more than {LONGEST:,} bytes, which is the most that is read")
            yield rest.removesuffix(b"\r"), rest.endswith(b"\r")
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise UserError(f"{path} is a damaged gzip file: {error}") from error
    except OSError as error:
        raise UserError(f"{path} can't be read: {error.strerror}") from error


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


def _hub(source: str) -> Iterator[str]:
    name, _, part = source.removeprefix(HUB).partition(":")
    try:
        import datasets
    except ImportError as error:
        raise UserError(f"{source} needs the package datasets: pip install datasets ({error})") from error
    try:
        # Network, name, part, rows: there are many ways to fail, each with an error of its own.
        rows = iter(datasets.load_dataset(name, split=part or "train", streaming=True))
    except Exception as error:
        raise _unfetched(source, error) from error
    while True:
        try:
            row = next(rows, None)
        except Exception as error:
            raise _unfetched(source, error) from error
        if row is None:
            return
        if "text" not in row:
            raise UserError(f"the data set {source} has no column 'text'; it has {', '.join(map(repr, row))}")
        if document := " ".join(str(row["text"] or "").split()):
            yield document


def _unfetched(source: str, error: Exception) -> UserError:
    reason = str(error).strip() or type(error).__name__
    return UserError(f"the data set {source} can't be fetched: {reason}")
