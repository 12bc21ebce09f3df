"""Where the time of a loop goes."""

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Clock:
    """Seconds by activity. Activities do not nest; a pause stops the whole clock, and pauses do not nest either."""

    def __init__(self) -> None:
        self._began = time.perf_counter()
        self._paused: float | None = None  # since when
        self._spent: dict[str, float] = {}

    @contextmanager
    def __call__(self, activity: str) -> Iterator[None]:
        begin = time.perf_counter()
        try:
            yield
        finally:
            self._spent[activity] = self._spent.get(activity, 0.0) + time.perf_counter() - begin

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave what happens inside out of the account."""
        self._paused = begin = time.perf_counter()
        try:
            yield
        finally:
            self._began += time.perf_counter() - begin
            self._paused = None

    @property
    def elapsed(self) -> float:
        """Seconds since the last `restart`, pauses left out."""
        return (self._paused or time.perf_counter()) - self._began

    def restart(self) -> tuple[float, dict[str, float]]:
        """Seconds since the last restart and each activity's share of them; what no activity claims is "other"."""
        elapsed = max(self.elapsed, 1e-9)
        shares = {activity: seconds / elapsed for activity, seconds in self._spent.items()}
        shares["other"] = max(0.0, 1.0 - sum(shares.values()))
        self._began += elapsed
        self._spent.clear()
        return elapsed, shares
