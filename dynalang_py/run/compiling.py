"""A folder for what torch.compile makes, in which nothing half made is found."""

import fcntl
import functools
import itertools
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dynalang_py import files

_BY_COMPILERS = {".so", ".o", ".gch", ".pch"}


@contextmanager
def compiling() -> Iterator[None]:
    """To be entered when what torch.compile has taken is called for the first time.

    The compiler that it calls writes where it looks for a finished library the next time, so that one that was killed
    fails every later run. Here each process has a folder for itself, and what came into it in a block that did not end
    well is removed by the next. A folder that the user names, by TORCHINDUCTOR_CACHE_DIR, is left alone.
    """
    if "TORCHINDUCTOR_CACHE_DIR" in os.environ:
        yield
        return
    folder = _own_folder()[0]
    unfinished = folder / "unfinished"
    if unfinished.exists():
        begun = unfinished.stat().st_mtime
        for path in folder.rglob("*"):
            if path.suffix in _BY_COMPILERS and path.stat().st_mtime >= begun:
                path.unlink()
    unfinished.touch()
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(folder)
    yield
    unfinished.unlink()


@functools.cache
def _own_folder() -> tuple[Path, int]:
    """The first that no other process has; it is this one's until the handle is closed, by the end of the process."""
    for number in itertools.count():
        folder = files.user_cache() / "compiled" / str(number)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:
            break
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return folder, handle
        except BlockingIOError:
            os.close(handle)
        except OSError:  # a file system without locks
            os.close(handle)
            break
    return Path(tempfile.mkdtemp(prefix="dynalang_py-")), -1
