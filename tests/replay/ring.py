"""A small replay, steps whose every value follows from their number, and the windows that can be drawn."""

from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dynalang_py.replay import Field, Replay

FIELDS: dict[str, Field] = {
    "image": ((2, 3), np.uint8),
    "serial": ((), np.int32),
    "reward": ((), np.float32),
    "is_first": ((), bool),
    "is_last": ((), bool),
    "deter": ((2,), np.float16),
}


def make(path: Path, fields: dict[str, Field] = FIELDS, **kwargs: Any) -> Replay:
    return Replay(path, fields, **{"streams": 1, "capacity": 32, "length": 4, "seed": 0, **kwargs})


def step(serial: Iterable[int], first: Iterable[bool] = (), last: Iterable[bool] = ()) -> dict[str, NDArray[Any]]:
    """One step of each stream, every value a function of its serial."""
    serials = np.array(list(serial))
    none = np.zeros(len(serials), bool)
    return {
        "image": (serials[:, None, None] + np.arange(6).reshape(2, 3)).astype(np.uint8),
        "serial": serials,
        "reward": serials / 2,
        "is_first": np.array(list(first)) if first else none,
        "is_last": np.array(list(last)) if last else none,
        "deter": np.stack([serials, -serials], 1).astype(np.float16),
        "log_success": np.full(len(serials), np.nan),
    }


def fill(replay: Replay, serials: Iterable[int], episode: int = 5, streams: int = 1) -> None:
    """Add steps in episodes of a fixed length; stream i counts from 1000 · i."""
    for serial in serials:
        phase = serial % episode
        firsts, lasts = [phase == 0] * streams, [phase == episode - 1] * streams
        replay.add(step([1000 * i + serial for i in range(streams)], firsts, lasts))


def starts(replay: Replay, batch: int) -> list[int]:
    return [int(serial) for serial in replay.sample(batch)[0]["serial"][:, 0]]


def enumerate_windows(replay: Replay) -> NDArray[Any]:
    """Serials of every window the sampler can draw, once for each of its equally likely draws: (N, context + T)."""
    totals: list[int] = []
    replay._queue.clear()
    replay._rng = SimpleNamespace(integers=lambda total, size: totals.append(int(total)) or np.zeros(size, np.int64))  # type: ignore[assignment,func-returns-value]
    replay.sample(1)
    replay._rng = SimpleNamespace(integers=lambda total, size: np.arange(total))  # type: ignore[assignment]
    batch, _ = replay.sample(totals[0])
    serials: NDArray[Any] = batch["serial"]
    return serials
