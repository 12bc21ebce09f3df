"""What users hand in, read within bounds: paths, files, gzip, JSON and pictures.

A file may be a device that never ends, a pipe that nobody writes to, or a small archive of a large nothing; JSON may be
nested a hundred thousand deep. Whatever is wrong, one UserError names the file and what is allowed. Needs no torch.
"""

import gzip
import io
import json
import math
import os
import stat
import zlib
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from PIL import Image

from dynalang_py.errors import UserError, shown

MOST_BYTES = 1 << 30
"""What a file that is read whole may hold, packed or unpacked."""
SMALL, MOST_TIMES = 1 << 26, 200
"""What every gzip file may unpack to, and how many times its size where that is more; JSON and text come to 20."""
MOST_PIXELS = 1 << 26
"""What a picture may hold: 8,192 × 8,192."""
PICTURES = ("PNG", "JPEG", "WEBP", "AVIF", "BMP", "GIF", "TIFF", "PPM", "DDS", "TGA")
"""Pillow's names of the kinds of pictures that are read. It knows others, and starts a program for one of them."""


def user_path(text: str | Path) -> Path:
    """The path that somebody typed, `~` expanded. Raises UserError for one that no system could open."""
    given = str(text)
    if "\0" in given:
        raise UserError(f"the path {shown(given)} has a zero byte in it")
    if _is_too_long(given):
        raise UserError(
            f"the path {shown(given)} is too long: 4,096 characters are allowed, and 255 bytes between slashes"
        )
    try:
        return Path(given).expanduser()
    except RuntimeError:  # no such user, or nobody knows where home is
        raise UserError(f"the path {shown(given)} begins with ~, and there is no such home folder") from None


def is_inside(text: str) -> bool:
    """Whether a path that stands in a file stays below the folder where it begins, and a system could open it."""
    path = PurePosixPath(text)
    return not (path.is_absolute() or ".." in path.parts or "\\" in text or "\0" in text or _is_too_long(text))


def _is_too_long(path: str) -> bool:
    # Half a character, which JSON may hold, has a length, too; no system finds it.
    return len(path) > 4096 or any(len(part.encode(errors="surrogatepass")) > 255 for part in Path(path).parts)


def open_file(path: Path, what: str = "the file") -> BinaryIO:
    """An ordinary file, opened for reading. what: its role in the sentence of the UserError where it can't be."""
    path = user_path(path)
    try:
        # A pipe would block in open() until somebody writes.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise UserError(f"{what} {path} can't be read: {error.strerror}") from error
    except UnicodeEncodeError:
        raise UserError(f"{what} {shown(str(path))} can't be read: there is half a character in its name") from None
    mode = os.fstat(handle).st_mode
    if not stat.S_ISREG(mode):
        os.close(handle)
        kind = "a folder" if stat.S_ISDIR(mode) else "a device, pipe or socket"
        raise UserError(f"{what} {path} is {kind}; it must be a file")
    return os.fdopen(handle, "rb")


def read_bytes(path: Path, what: str = "the file", most: int = MOST_BYTES) -> bytes:
    """All of an ordinary file. Raises UserError where it can't be read or holds more than `most` bytes."""
    with open_file(path, what) as file:
        try:
            content = file.read(most + 1)
        except OSError as error:
            raise UserError(f"{what} {path} can't be read: {error.strerror}") from error
    if len(content) > most:
        raise UserError(f"{what} {path} is larger than {most:,} bytes, which is the most that is read")
    return content


def read_unpacked(path: Path, what: str = "the file", most: int = MOST_BYTES) -> bytes:
    """All that a gzip file holds. Raises UserError where it is damaged, or unpacks to more than `most` bytes."""
    packed = read_bytes(path, what, most)
    most = min(most, max(SMALL, MOST_TIMES * len(packed)))
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(packed)) as file:
            content = file.read(most + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{what} {path} is a damaged gzip file: {error}") from error
    if len(content) > most:
        raise UserError(f"{what} {path} unpacks to more than {most:,} bytes, which is the most that is read")
    return content


def read_text(path: Path, what: str = "the file", most: int = MOST_BYTES) -> str:
    """All of a text file in UTF-8. Raises UserError as `read_bytes` does, and for other bytes, with their place."""
    content = read_bytes(path, what, most)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(
            f"{what} {path} is no UTF-8 text: byte {error.start:,} is 0x{content[error.start]:02x}"
        ) from error


def parse_json(content: str | bytes, name: str) -> Any:
    """The value that stands in a JSON text; `name` says in the UserError whose text it was."""
    try:
        return json.loads(content)
    except RecursionError:
        raise UserError(f"{name} can't be read as JSON: its brackets are nested too deeply") from None
    except ValueError as error:  # no JSON, no UTF-8, or a number of thousands of digits
        raise UserError(f"{name} can't be read as JSON: {error}") from error


def read_json(path: Path, what: str = "the file", most: int = MOST_BYTES) -> Any:
    """The value in a JSON file; one whose name ends in .gz is unpacked."""
    content = (read_unpacked if path.suffix == ".gz" else read_bytes)(path, what, most)
    return parse_json(content, f"{what} {path}")


def parse_picture(content: bytes, name: str, most: int = MOST_PIXELS, *, load: bool = True) -> Image.Image:
    """A picture, decoded; without `load` as soon as somebody asks for its pixels.

    Raises UserError for one that is damaged, of no known kind, or larger than `most` pixels.
    """
    try:
        Image.init()
        image = Image.open(io.BytesIO(content), formats=[kind for kind in PICTURES if kind in Image.OPEN])
        if image.width * image.height > most:
            raise UserError(f"{name} is a picture of {image.width:,} x {image.height:,} pixels; {most:,} are allowed")
        if load:
            image.load()
    except UserError:
        raise
    except Image.DecompressionBombError:
        raise UserError(f"{name} is a picture of more than {most:,} pixels, which is the most that is read") from None
    except Exception as error:  # Pillow's decoders raise of their own what they meet in damaged files
        raise UserError(f"{name} is a damaged picture, or none: {str(error) or type(error).__name__}") from error
    return image


def is_finite(value: object) -> bool:
    """Whether a JSON value is a number that fits a float: no truth value, NaN or infinity, nor 10⁴⁰⁰."""
    try:
        return type(value) in (int, float) and math.isfinite(value)  # type: ignore[arg-type]
    except OverflowError:
        return False
