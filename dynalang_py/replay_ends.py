"""How far the rings of a replay reach, on disk: kept so that a kill at any moment loses nothing, nor a flipped bit."""

import logging
import zlib
from pathlib import Path

import numpy as np

from dynalang_py import files
from dynalang_py.errors import UserError

MOST_STEPS = 1 << 60
"""No stream will ever have counted so far."""

_log = logging.getLogger("dynalang.replay")


class Ends:
    """First serial that each stream holds (`tail`) and the one after its last (`head`): arrays (streams,).

    `write` puts them on disk twice, each copy with its checksum, one after the other: whoever is killed in between
    leaves one copy whole, and the one that it was about to replace is true as well, of a moment before.
    """

    def __init__(self, path: Path, streams: int, ring: int) -> None:
        """path: folder of a replay. Raises UserError where neither copy can be what was written."""
        self._both = np.zeros((2, streams), np.int64)
        self.tail, self.head = self._both
        plain, checked = path / "counters.raw", path / "counters.check"
        files.check_own(plain)
        files.check_own(checked)
        size = (2 + 2 * streams) * 8
        for file, needed in ((plain, size - 16), (checked, size)):
            if file.exists() and file.stat().st_size != needed:
                raise self._damaged(file, f"it has {file.stat().st_size} bytes instead of {needed}")
        if not checked.exists():  # a new replay, or one of a version that kept one copy and no checksum
            only = plain.read_bytes()
            files.write(checked, np.full(2, zlib.crc32(only), np.int64).tobytes() + only)
        self._first = np.asarray(np.memmap(plain, np.int64, "r+", shape=(2, streams)))
        rest = np.asarray(np.memmap(checked, np.int64, "r+", shape=(2 + 2 * streams,)))
        self._sums, self._second = rest[:2], rest[2:].reshape(2, streams)
        self._both[:] = self._first
        if self._sums[0] != zlib.crc32(self._first.tobytes()):
            if self._sums[1] != zlib.crc32(self._second.tobytes()):
                raise self._damaged(plain, "it does not match its checksum, nor does its copy")
            _log.warning("%s is damaged, or was cut off by a kill; going on with its copy", plain)
            self._both[:] = self._second
        held = self.head - self.tail
        if (self.tail < 0).any() or (held < 0).any() or (held > ring).any() or (self.head > MOST_STEPS).any():
            raise self._damaged(
                plain, f"it counts from {self.tail.tolist()} to {self.head.tolist()}, of {ring} at most"
            )
        self.write()

    def write(self) -> None:
        """Put tail and head on disk."""
        crc = zlib.crc32(self._both.tobytes())
        for i, copy in enumerate((self._first, self._second)):
            copy[:] = self._both
            self._sums[i] = crc

    @staticmethod
    def _damaged(file: Path, why: str) -> UserError:
        return UserError(f"{file} is damaged: {why}; delete the folder {file.parent} to go on with an empty replay")
