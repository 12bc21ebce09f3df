"""What a process should be told about the machine it runs on, and what of that machine is free."""

import ctypes
import functools
import os
import sys
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # names of glibc's malloc.h
_CHOSEN_BY = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
_WATCHED = 0.3  # seconds for which the cores are watched


def prepare() -> None:
    """What every command does before it computes. A program that calls `train` itself decides for itself."""
    keep_freed_memory()
    use_free_cores()


def keep_freed_memory() -> None:
    """Let malloc reuse freed memory instead of giving it back to the system.

    By default glibc maps every large tensor afresh, and the kernel clears its pages anew at each update; keeping them
    made updates on the CPU about 1.6 times as fast where this was measured. Does nothing where there is no glibc.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


def use_free_cores() -> None:
    """Have PyTorch compute with no more threads than there are cores that nobody else uses: threads wait for each other
    at every operation, so that one without a core of its own holds up all. What the user has chosen stays."""
    import torch

    if not any(map(os.environ.get, _CHOSEN_BY)):
        torch.set_num_threads(min(torch.get_num_threads(), cores().free))


def threads() -> str:
    """With how many threads PyTorch computes here, and why with no more, in words."""
    import torch

    count = torch.get_num_threads()
    if chosen_by := next(filter(os.environ.get, _CHOSEN_BY), None):
        return f"{count}, as {chosen_by} says"
    return f"{count} of {cores().there} cores" + (cores().why if count == cores().free else "")


@dataclass(frozen=True)
class Cores:
    """How many this machine has, and how many of them this process may use."""

    there: int
    allowed: int
    """By affinity: taskset, a batch system, a container."""
    quota: float | None
    """By the quota of a control group, in cores' worth of time."""
    busy: float
    """Of those allowed, how many others use."""

    @property
    def free(self) -> int:
        granted = self.allowed if self.quota is None else min(self.allowed, round(self.quota))
        return max(1, min(granted, self.allowed - round(self.busy)))

    @property
    def why(self) -> str:
        """Why not all of them are free, in brackets."""
        busy, reasons = round(self.busy), []
        if self.allowed < self.there:
            reasons.append(f"this process may use {self.allowed}")
        if self.quota is not None and self.quota < self.allowed:
            reasons.append(f"its group has a quota of {self.quota:.3g}")
        if busy:
            other = "the other is" if (self.there, busy) == (2, 1) else "one is" if busy == 1 else f"{busy} are"
            reasons.append(f"{other} busy")
        return f" ({', '.join(reasons)})" if reasons else ""


@functools.cache
def cores() -> Cores:
    """As they were when this was first asked for: what comes later is not foreseen."""
    there = os.cpu_count() or 1
    own = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(there))
    return Cores(there, len(own), quota(), _busy(own))


def quota(memberships: Path = Path("/proc/self/cgroup"), groups: Path = Path("/sys/fs/cgroup")) -> float | None:
    """The cores' worth of time that this process's control group gets, or a group around it; None without a limit."""
    limits = []
    for line in _read(memberships).splitlines():
        _, names, path = line.split(":", 2)
        controllers = names.split(",") if names else []
        for base in {groups, groups / "unified"} if not names else {groups / names, groups / "cpu"}:
            parts = [part for part in path.split("/") if part not in ("", "..")]
            # From inside of a container the way to the group may begin at its own: then `base` is the group.
            around = [base.joinpath(*parts[:depth]) for depth in range(len(parts) + 1)]
            if not names:
                limits += [tuple(_read(group / "cpu.max").split()) for group in around]
            elif "cpu" in controllers:
                files = ("cpu.cfs_quota_us", "cpu.cfs_period_us")
                limits += [tuple(_read(group / name).strip() for name in files) for group in around]
    return min(_shares(limits), default=None)


def _shares(limits: Collection[tuple[str, ...]]) -> Iterator[float]:
    for limit in limits:
        if len(limit) == 2 and all(number.isdecimal() for number in limit) and int(limit[1]):
            yield int(limit[0]) / int(limit[1])


def _busy(own: Collection[int], stat: Path = Path("/proc/stat")) -> float:
    """How many of these cores others use right now: this process sleeps meanwhile."""
    before = _times(_read(stat), own)
    if not before:  # no Linux: what was waiting for cores in the last minute
        return min(len(own), os.getloadavg()[0]) if hasattr(os, "getloadavg") else 0.0
    time.sleep(_WATCHED)
    after = _times(_read(stat), own)
    changes = [[b - a for a, b in zip(before[core], after[core], strict=True)] for core in before.keys() & after.keys()]
    return sum(1 - (change[3] + change[4]) / sum(change) for change in changes if sum(change) > 0)


def _times(stat: str, own: Collection[int]) -> dict[int, list[int]]:
    """What each core has done since the start: user, nice, system, idle, waiting for disks, and more."""
    rows = (line.split() for line in stat.splitlines() if line.startswith("cpu") and line[3:4].isdecimal())
    return {int(name[3:]): [int(n) for n in times[:8]] for name, *times in rows if int(name[3:]) in own}


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except OSError:
        return ""
