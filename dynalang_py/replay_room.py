"""Room on the disk for the rings of a replay: it grows with what is in them, and is there before it is written to."""

import errno
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from dynalang_py.errors import UserError

STRETCH = 8_000_000
"""Bytes, at least, by which the files of a replay grow together; large ones grow by an eighth."""

NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NO_FALLOCATE = {errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP}


class Room:
    """Reserves the blocks of the files of a replay, the same stretch of the ring of every stream.

    The files are as long as full rings from the beginning, and empty: writing to a map of them where the disk is full
    would be a bus error.

    Attributes:
        rows: How many rows of each ring have their place on the disk.
        spare: Bytes of the disk that are left free for other files of the run.
    """

    def __init__(self, path: Path, row_bytes: Mapping[str, int], streams: int, ring: int) -> None:
        """path: folder of the files; row_bytes: by their names, those of one step of one stream."""
        self._path, self._row_bytes, self._streams, self._ring = path, row_bytes, streams, ring
        self.rows = self.spare = 0

    def lay_out(self) -> None:
        """Make the files, and reserve the first stretch. Raises UserError where the disk has no room for it."""
        for name, size in self._row_bytes.items():
            with (self._path / f"{name}.raw").open("wb") as file:
                file.truncate(self._streams * self._ring * size)
        self.reserve(1)

    def find(self, rows: int) -> None:
        """Take up files of which so many rows of each ring are in use; a copy of them may have holes there."""
        if self.bytes >= self._streams * self._ring * sum(self._row_bytes.values()):
            self.rows = self._ring
        elif rows:
            self._extend(rows, zeros=False)

    def reserve(self, rows: int) -> None:
        """See that so many rows of each ring have their place. Raises UserError where the disk has no room for them."""
        if rows <= self.rows:
            return
        a_row = self._streams * sum(self._row_bytes.values())
        rows = min(self._ring, max(rows, self.rows + max(self.rows // 8, -(-STRETCH // a_row))))
        needed = (rows - self.rows) * a_row
        try:
            free = shutil.disk_usage(self._path).free
            if free < needed + self.spare:
                raise self._full(needed, free)
            self._extend(rows, zeros=True)
        except FileNotFoundError as error:
            raise UserError(f"{error.filename} was deleted while the run was writing to it") from error

    @property
    def bytes(self) -> int:
        """What the files take of the disk."""
        return sum((self._path / f"{name}.raw").stat().st_blocks * 512 for name in self._row_bytes)

    def _extend(self, rows: int, *, zeros: bool) -> None:
        """zeros: where blocks can't be reserved, zeros may be written instead, since nothing is there yet."""
        try:
            for name, size in self._row_bytes.items():
                with (self._path / f"{name}.raw").open("r+b") as file:
                    for begin, count in self._stretches(rows):
                        _allocate(file.fileno(), begin * size, count * size, zeros)
        except OSError as error:
            if error.errno not in NO_SPACE:
                raise
            needed = (rows - self.rows) * self._streams * sum(self._row_bytes.values())
            raise self._full(needed, shutil.disk_usage(self._path).free) from error
        self.rows = rows

    def _stretches(self, rows: int) -> Iterator[tuple[int, int]]:
        """First row and number of rows of what is to be reserved, over all streams."""
        if rows == self._ring and not self.rows:
            yield 0, self._streams * self._ring
            return
        for stream in range(self._streams):
            yield stream * self._ring + self.rows, rows - self.rows

    def _full(self, needed: int, free: int) -> UserError:
        kept = f", of which {self.spare / 1e6:,.0f} MB are kept for a checkpoint" if self.spare else ""
        return UserError(
            f"the replay at {self._path} needs {needed / 1e6:,.1f} MB more but only {free / 1e6:,.1f} MB are free"
            f"{kept}; make room, or begin a run with a lower --replay.capacity"
        )


def _allocate(handle: int, begin: int, count: int, zeros: bool) -> None:
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(handle, begin, count)
            return
        except OSError as error:
            if error.errno not in _NO_FALLOCATE:
                raise
    while zeros and count:
        written = os.pwrite(handle, bytes(min(count, 1 << 20)), begin)
        begin, count = begin + written, count - written
