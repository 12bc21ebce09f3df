"""The ring of experience on disk: adds steps, samples windows, takes refreshed latents back.

Letters: B batch, T trained steps of a window; a window is `context + T` consecutive steps of one stream.

Every environment slot is a stream with a ring of its own. The steps of a stream are numbered in order; the step with
serial s lies in row s % ring. What a stream holds is the serial range [tail, head), and those two counters are on disk
like the data: the tail moves before a row is overwritten and the head after it is complete, so a process that is killed
leaves a replay that misses at most the step it was writing.
"""

import json
import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from dynalang_py.bounds import Within, check
from dynalang_py.errors import UserError, shown
from dynalang_py.files import check_own, write
from dynalang_py.reading import read_json
from dynalang_py.replay_ends import Ends
from dynalang_py.replay_room import NO_SPACE, Room

Field = tuple[tuple[int, ...], DTypeLike]
"""Shape and dtype of one field of one step."""


@dataclass(frozen=True, kw_only=True)
class ReplayConfig:
    capacity: Annotated[int, Within(1, 10**12)] = 1_000_000
    """Steps kept on disk, over all environments together; the oldest make room for new ones."""
    online: bool = True
    """Serve each stretch of new experience once, newest first, before drawing uniformly (DreamerV3, 2025 code)."""

    def __post_init__(self) -> None:
        check(self)


class Replay:
    """Fixed-size experience of `streams` environments in memory-mapped files below `path`.

    An existing replay of the same layout is continued; the first step added to each stream must then be an `is_first`.
    `fields` gives shape and dtype of one step; `is_first` and `is_last` must be among them. One thread may use it at a
    time.

    Raises UserError if the disk cannot hold its beginning, if `capacity` is too small for one window per stream, or if
    the files below `path` have another layout.
    """

    def __init__(
        self,
        path: Path,
        fields: Mapping[str, Field],
        *,
        streams: int,
        capacity: int,
        length: int,
        context: int = 0,
        online: bool = True,
        seed: int = 0,
    ) -> None:
        assert {"is_first", "is_last"} <= fields.keys(), sorted(fields)
        self.length, self.context, self.window, self.online = length, context, context + length, online
        self._path, self._streams, self._ring = path, streams, capacity // streams
        if self._ring < self.window:
            raise UserError(
                f"replay.capacity {capacity} leaves {self._ring} steps to each of {streams} environments, less than "
                f"one window of {self.window}; it must be at least {streams * self.window}."
            )
        self._layout = {name: (tuple(shape), np.dtype(dtype)) for name, (shape, dtype) in fields.items()}
        files: dict[str, Field] = {
            name: ((streams * self._ring, *shape), dtype) for name, (shape, dtype) in self._layout.items()
        }
        files["counters"] = ((2, streams), np.dtype(np.int64))
        self.nbytes = sum(_nbytes(file) for file in files.values())
        row_bytes = {name: _nbytes(field) for name, field in self._layout.items()}
        self.room = Room(path, row_bytes, streams, self._ring)
        self._open(path, files)
        # Plain arrays over the maps: numpy's memmap class makes every small slice several times dearer.
        arrays = {
            name: np.asarray(np.memmap(path / f"{name}.raw", dtype, "r+", shape=shape))
            for name, (shape, dtype) in files.items()
            if name != "counters"
        }
        self._ends = Ends(path, streams, self._ring)
        self._tail, self._head = self._ends.tail, self._ends.head  # (streams,) each
        self.room.find(min(self._ring, int(self._head.max())))
        self._rows = arrays  # (streams * ring, ...) each; a stream's ring is contiguous
        self._every = np.arange(streams)
        self._offset = np.arange(self.window)
        self._rng = np.random.default_rng(seed)
        # A dropped episode gives its serials to the next one. Callers see serials plus this shift, so that an update
        # that was under way during the drop finds its rows gone instead of writing into the episode that follows.
        self._shift = np.zeros(streams, np.int64)
        # Windows not served yet, newest last. The trained steps of consecutive ones adjoin; only context overlaps.
        self._queue: deque[tuple[int, int]] = deque(maxlen=streams * (self._ring // length + 1))
        self._fresh = np.maximum(self._tail, self._head - context)  # where each stream's next fresh window starts

    def __len__(self) -> int:
        """Steps held, over all streams."""
        return int((self._head - self._tail).sum())

    @property
    def gigabytes(self) -> float:
        """Size on disk in GB (10⁹ bytes) when it is full; until then it grows with what is in it."""
        return self.nbytes / 1e9

    def check_ids(self, counts: Mapping[str, Any]) -> None:
        """Raise UserError if a step that is held has an id that there is none of: nothing could be looked up by it.

        counts: of fields of ids, how many there are, for each component or for all.
        """
        for name, count in counts.items():
            for stream in range(self._streams):
                serial = np.arange(self._tail[stream], self._head[stream])
                held = self._rows[name][stream * self._ring + serial % self._ring]
                if ((held < 0) | (held >= count)).any():
                    raise UserError(
                        f"{self._path / name}.raw is damaged: it holds ids that there are none of; delete the folder"
                        f" {self._path} to go on with an empty replay"
                    )

    def ready(self, batch: int) -> bool:
        """Whether there are at least `batch` different windows to sample."""
        return int(self._windows().sum()) >= batch

    def make_room(self) -> None:
        """See that the next step has its place on the disk. Raises UserError where it is full; nothing is lost then."""
        if self.room.rows < self._ring:
            self.room.reserve(min(self._ring, int(self._head.max()) + 1))

    def add(self, step: Mapping[str, NDArray[Any]], mask: NDArray[np.bool_] | None = None) -> None:
        """Append one step to each stream, or to those where `mask` (streams,) is true.

        step: arrays (streams, ...) for every field; further keys are ignored. Raises UserError as `make_room` does.
        """
        self.make_room()
        chosen = self._every if mask is None else np.flatnonzero(mask)
        head = self._head[chosen]
        row = chosen * self._ring + head % self._ring
        if (head >= self._ring).any():  # rows that are about to be overwritten are given up first
            self._tail[chosen] = np.maximum(self._tail[chosen], head + 1 - self._ring)
            self._ends.write()
        # A stream that was cut (a killed run, a dropped episode) must not look as if one episode flowed into the next.
        cut = chosen[step["is_first"][chosen] != 0]
        self._rows["is_last"][cut * self._ring + (self._head[cut] - 1) % self._ring] = True
        for name, (shape, _) in self._layout.items():
            value = step[name]
            assert value.shape == (self._streams, *shape), f"{name}: {value.shape} is not {(self._streams, *shape)}"
            self._rows[name][row] = value if mask is None else value[chosen]
        self._head[chosen] = head + 1
        self._ends.write()
        self._cut_windows()

    def drop_episode(self, stream: int) -> None:
        """Forget the unfinished episode at the end of a stream, for instance because its worker crashed.

        The next step added to the stream must be an `is_first`. An episode that had reached its last step stays.
        """
        tail, head = int(self._tail[stream]), int(self._head[stream])
        rows = stream * self._ring + np.arange(tail, head) % self._ring
        if head == tail or self._rows["is_last"][rows[-1]]:
            return
        firsts = np.flatnonzero(self._rows["is_first"][rows])
        head = tail + int(firsts[-1]) if firsts.size else tail
        self._head[stream] = head
        self._ends.write()
        self._shift[stream] += self._ring
        gone = [item for item in self._queue if item[0] == stream and item[1] + self.window > head]
        for item in gone:
            self._queue.remove(item)
        starts = [start for _, start in gone]
        self._fresh[stream] = max(tail, min(int(self._fresh[stream]), head - self.context, *starts))

    def sample(self, batch: int) -> tuple[dict[str, NDArray[Any]], NDArray[np.int64]]:
        """Draw windows: unserved fresh ones first, the rest uniformly from all windows of all streams.

        Returns new arrays (B, context + T, ...) of every field, and the index (B, 2) of stream and first serial that
        `update` wants back. A window may span episodes. `is_last` is also set wherever an `is_first` follows.
        """
        fresh = self._serve(batch)
        stream, start = np.concatenate([np.array(fresh, np.int64).reshape(-1, 2), self._draw(batch - len(fresh))]).T
        row = stream[:, None] * self._ring + (start[:, None] + self._offset) % self._ring  # (B, context + T)
        index = np.stack([stream, start + self._shift[stream]], 1)
        return {name: rows.take(row, axis=0) for name, rows in self._rows.items()}, index

    def update(self, index: NDArray[np.int64], latent: Mapping[str, NDArray[Any]]) -> None:
        """Write refreshed latents (B, T, ...) back to the trained steps of sampled windows.

        Steps that were overwritten or dropped since the sampling are skipped. Where windows overlap the later one wins.
        """
        stream, start = index[:, :1], index[:, 1:]
        serial = start + self._offset[self.context :] - self._shift[stream]  # (B, T)
        held = serial >= self._tail[stream]
        row = (stream * self._ring + serial % self._ring)[held]
        for name, value in latent.items():
            assert value.shape == (*held.shape, *self._layout[name][0]), f"{name}: {value.shape}"
            self._rows[name][row] = value[held]

    def state(self) -> dict[str, Any]:
        """Where it stands, fit for JSON: how far each stream has come, and what the files do not hold.

        That is the sampler's generator and the fresh windows not served yet.
        """
        return {
            "heads": self._head.tolist(),
            "random": self._rng.bit_generator.state,
            "queue": [list(item) for item in self._queue],
            "fresh": self._fresh.tolist(),
        }

    def rewind(self, heads: Sequence[int]) -> None:
        """Forget the steps that were added since the `heads` of a state: who goes on from there adds them again.

        What they had overwritten in a full ring is gone too.
        """
        self._head[:] = np.minimum(self._head, heads)
        self._tail[:] = np.minimum(self._tail, self._head)
        self._ends.write()
        self._queue.clear()
        self._fresh[:] = np.maximum(self._tail, self._head - self.context)

    def running(self, stream: int, name: str) -> NDArray[Any] | None:
        """A field (steps, ...) of the episode that a stream ends in; None if its first step is not held."""
        rows = stream * self._ring + np.arange(self._tail[stream], self._head[stream]) % self._ring
        firsts = np.flatnonzero(self._rows["is_first"][rows])
        return self._rows[name][rows[firsts[-1] :]] if firsts.size else None

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take up what `state` gave; the files may have gone on since, then newer experience is fresh as well."""
        self._rng.bit_generator.state = state["random"]
        self._queue.clear()
        windows = ((int(stream), int(start)) for stream, start in state["queue"])
        self._queue.extend(item for item in windows if item[1] + self.window <= self._head[item[0]])  # of this replay
        self._fresh[:] = np.clip(state["fresh"], self._tail, np.maximum(self._tail, self._head - self.context))
        self._cut_windows()

    def _windows(self) -> NDArray[np.int64]:
        """How many windows each stream has to offer: (streams,)."""
        counts: NDArray[np.int64] = np.maximum(self._head - self._tail - self.window + 1, 0)
        return counts

    def _cut_windows(self) -> None:
        """Queue the fresh windows that have become complete."""
        if not self.online:
            return
        while (complete := np.flatnonzero(self._head - self._fresh >= self.window)).size:
            self._queue.extend(zip(complete.tolist(), self._fresh[complete].tolist(), strict=True))
            self._fresh[complete] += self.length

    def _serve(self, batch: int) -> list[tuple[int, int]]:
        """Take up to `batch` fresh windows off the queue, newest first; overwritten ones fall out."""
        served: list[tuple[int, int]] = []
        while self._queue and len(served) < batch:
            stream, start = self._queue.pop()
            if self._tail[stream] <= start <= self._head[stream] - self.window:
                served.append((stream, start))
        return served

    def _draw(self, count: int) -> NDArray[np.int64]:
        """Stream and first serial of `count` windows, each window of each stream equally likely: (count, 2)."""
        if not count:
            return np.empty((0, 2), np.int64)
        end = self._windows().cumsum()
        assert end[-1], "no stream holds a whole window yet; ask ready() first"
        pick = self._rng.integers(end[-1], size=count)
        stream = end.searchsorted(pick, side="right")
        # Counted from the end, windows of a stream need no second look at how many there are.
        return np.stack([stream, self._head[stream] - self.window - (end[stream] - 1 - pick)], 1)

    def _open(self, path: Path, files: Mapping[str, Field]) -> None:
        """Continue the replay below `path` if there is one, else lay out an empty one."""
        layout = {name: [list(shape), dtype.str] for name, (shape, dtype) in self._layout.items()}
        meta = {"streams": self._streams, "steps per stream": self._ring, "fields": layout}
        check_own(path / "meta.json")
        if (path / "meta.json").exists():
            _check(path, meta, files)
            return
        path.mkdir(parents=True, exist_ok=True)
        (path / "counters.check").unlink(missing_ok=True)
        for name in files:  # left by a start that was killed half-way; they would count as space that is taken
            (path / f"{name}.raw").unlink(missing_ok=True)
        try:
            self.room.lay_out()
            (path / "counters.raw").write_bytes(bytes(_nbytes(files["counters"])))
            # The description comes last and at once: a folder without it is no replay and is laid out anew.
            write(path / "meta.json", json.dumps(meta, indent=1))
        except (OSError, UserError) as error:
            for name in files:
                (path / f"{name}.raw").unlink(missing_ok=True)
            if isinstance(error, UserError) or error.errno not in NO_SPACE:
                raise
            raise UserError(f"the replay at {path} has no room on its disk: {error.strerror}") from error


def _nbytes(field: Field) -> int:
    shape, dtype = field
    return math.prod(shape) * np.dtype(dtype).itemsize


def _check(path: Path, meta: Mapping[str, Any], files: Mapping[str, Field]) -> None:
    """Raise UserError naming the first difference between the replay below `path` and the one this run needs."""
    remedy = "Go on with the settings it was made with, or delete the folder to start with an empty replay."
    try:
        found = read_json(path / "meta.json")
        old = {"streams": found["streams"], "steps per stream": found["steps per stream"], **found["fields"]}
    except (UserError, KeyError, TypeError) as error:
        raise UserError(f"{path / 'meta.json'} does not describe a replay. {remedy}") from error
    new = {"streams": meta["streams"], "steps per stream": meta["steps per stream"], **meta["fields"]}
    for name in [*new, *old]:
        if old.get(name) != new.get(name):
            raise UserError(
                f"The replay at {path} has {_describe(name, old)} where this run needs {_describe(name, new)}. {remedy}"
            )
    for name, file in files.items():
        raw = path / f"{name}.raw"
        check_own(raw)
        size = raw.stat().st_size if raw.exists() else 0
        if size != _nbytes(file):
            raise UserError(f"{raw} has {size} bytes instead of {_nbytes(file)}: the replay is damaged. {remedy}")


def _describe(name: str, layout: Mapping[str, Any]) -> str:
    """One entry of a layout in words; one from a file may be anything."""
    if name not in layout:
        return f"no field {name!r}"
    found = layout[name]
    if isinstance(found, int):
        return f"{shown(found)} {name}"
    try:
        shape, dtype = found
        return f"field {name!r} as {np.dtype(dtype).name} {shown(tuple(shape))}"
    except (ValueError, TypeError):
        return f"field {name!r} as {shown(found)}"
