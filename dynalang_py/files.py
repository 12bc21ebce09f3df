"""Files that are either the old ones or the new ones, whatever happens while they are written.

Every error of the system that leaves here names the file. Nothing here writes through a link: a folder that somebody
else made may hold one that leads anywhere.
"""

import errno
import functools
import os
import re
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

from dynalang_py.errors import UserError

_NO_SYNC = {errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS}
"""What some network disks answer to who wants a folder on disk now."""
_NO_HARD_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}


def user_cache() -> Path:
    """The user's folder for what can be made or fetched again; where there is none that can be written, one in the
    folder of temporary files that only this user reads and writes."""
    try:
        base = os.environ.get("XDG_CACHE_HOME", "")
        home = Path(base) if os.path.isabs(base) else Path.home() / ".cache"
        folder = home / "dynalang_py"
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK | os.X_OK):
            return folder
    except (OSError, RuntimeError):  # no such place; no home
        pass
    return _private_folder()


@functools.cache
def _private_folder() -> Path:
    folder = Path(tempfile.gettempdir()) / f"dynalang_py-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError:
        return Path(tempfile.mkdtemp(prefix="dynalang_py-"))
    private = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077
    return folder if private else Path(tempfile.mkdtemp(prefix="dynalang_py-"))


def check_own(path: Path, *, folder: bool = False) -> None:
    """Raise UserError where something else stands in the place of a file, or of a folder, that only we make."""
    try:
        mode = path.lstat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return
    wanted = "a folder" if folder else "a file"
    if stat.S_ISLNK(mode):
        raise UserError(f"{path} is a link; it must be {wanted}, since what a link leads to belongs to somebody else")
    if not (stat.S_ISDIR if folder else stat.S_ISREG)(mode):
        raise UserError(f"{path} is {_kind(mode)}; it must be {wanted}")


@contextmanager
def named(path: Path, *others: Path) -> Iterator[None]:
    """Errors about an open file don't say which one it was: here they say `path`, also where they name the others."""
    try:
        yield
    except OSError as error:
        if error.errno and (error.filename is None or str(error.filename) in map(str, others)):
            error.filename = str(path)
        raise


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; what was written there takes the place of `path` when the block ends well.

    The content is on disk before the name changes, so a crash or a full disk leaves the old file untouched.
    Raises UserError for a device, a pipe or a folder, in whose place no file belongs.
    """
    if path.exists() and not path.is_file():
        raise UserError(f"{path} is a folder, device, pipe or socket; name a file to write")
    with _beside(path) as partial:
        yield partial
        _sync(partial)
        partial.replace(path)
        _sync(path.parent)


def write(path: Path, content: str | bytes) -> None:
    """Replace the content of `path` in one step."""
    with replacing(path) as partial:
        _write(partial, content)


def write_new(path: Path, content: str | bytes) -> Path:
    """Write a file that nobody has yet; where there is one of this name, under the next free one: a, a-2, a-3, …"""
    with _beside(path) as partial:
        _write(partial, content)
        _sync(partial)
        free = path
        for number in count(2):
            try:
                _name(partial, free)
                break
            except FileExistsError:
                free = path.with_name(f"{path.stem}-{number}{path.suffix}")
        _sync(path.parent)
    return free


def append(path: Path, content: bytes) -> None:
    """Add all of the content to the end of a file, or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with named(path):
        handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        size = os.fstat(handle).st_size
        try:
            while content:
                content = content[os.write(handle, content) :]
        except OSError:
            os.ftruncate(handle, size)
            raise
        finally:
            os.close(handle)


def sweep(folder: Path, names: str) -> None:
    """Delete what a killed process left of files that it was writing, whose names match; for who alone writes them."""
    leftover = re.compile(rf"\.(?:{names})\.\d+\.partial")
    for path in folder.iterdir() if folder.is_dir() else ():
        if leftover.fullmatch(path.name) and not path.is_dir():
            path.unlink(missing_ok=True)


@contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """A name beside `path` at which nothing stands, nor is left."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    with named(path, partial):
        partial.unlink(missing_ok=True)  # a process of this number was killed here, or a link waits for us
        try:
            yield partial
        finally:
            with suppress(OSError):  # what went wrong before says more
                partial.unlink(missing_ok=True)


def _name(partial: Path, path: Path) -> None:
    """Give a file its name. Raises FileExistsError if it is taken."""
    try:
        os.link(partial, path)
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
        if os.path.lexists(path):
            raise FileExistsError(path) from None
        partial.replace(path)


def _write(partial: Path, content: str | bytes) -> None:
    with partial.open("xb") as file:
        file.write(content.encode() if isinstance(content, str) else content)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise
    finally:
        os.close(handle)


def _kind(mode: int) -> str:
    return "a folder" if stat.S_ISDIR(mode) else "a file" if stat.S_ISREG(mode) else "a device, pipe or socket"
