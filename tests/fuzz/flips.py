"""Flip single bits of a checkpoint and of a replay's counters, and count how many go unnoticed.

python -m tests.fuzz.flips --flips 1000 --seed 7
"""

import collections
import logging
import os
import random
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import tyro

from dynalang_py.errors import UserError
from dynalang_py.replay_ends import Ends
from dynalang_py.run import checkpoint as checkpoints

from .forks import run
from .home import SHORT
from .preload import preload


@dataclass(frozen=True, kw_only=True)
class Flips:
    flips: int = 1000
    """How many of each file."""
    seed: int | None = None
    """Of their places; none draws one, and prints it."""


def main(options: Flips) -> int:
    seed = random.SystemRandom().randrange(10**6) if options.seed is None else options.seed
    print(f"seed {seed}", flush=True)
    logging.disable(logging.WARNING)  # a thousand times: going on with its copy
    rng, counts = random.Random(seed), collections.Counter[str]()
    with tempfile.TemporaryDirectory(prefix="flips-") as scratch:
        work = Path(scratch)
        os.environ |= {"XDG_CACHE_HOME": str(work / "cache"), "HOME": scratch}
        preload()
        ending = run(["train", "debug", "--run-dir", "run", *SHORT], work)
        if ending.verdict != "ran":
            print(f"{ending.verdict}: {ending.last}")
            return 1
        (path,) = checkpoints.find(work / "run/checkpoints")[:1]
        header = 8 + int.from_bytes(path.read_bytes()[:8], "little")
        for name, end in (("header", header), ("whole file", path.stat().st_size)):
            for _ in range(options.flips):
                counts[f"checkpoint, {name}"] += _unnoticed(path, rng, end, lambda: _loads(path))
        folder, streams = work / "run/replay", (work / "run/replay/counters.raw").stat().st_size // 16
        for file in (folder / "counters.raw", folder / "counters.check"):
            told = _counts(folder, streams)
            passes = partial(_counts_otherwise, folder, streams, told)
            for _ in range(options.flips):
                counts[f"replay, {file.name}"] += _unnoticed(file, rng, file.stat().st_size, passes)
    for name, unnoticed in counts.items():
        print(f"{name:28} {options.flips:,} flips, {unnoticed} unnoticed")
    return 1 if counts.total() else 0


def _unnoticed(path: Path, rng: random.Random, end: int, passes: Callable[[], bool]) -> bool:
    """Whether one flipped bit among the first `end` bytes passes; the file is then as it was."""
    whole = path.read_bytes()
    data = bytearray(whole)
    data[rng.randrange(end)] ^= 1 << rng.randrange(8)
    path.write_bytes(data)
    try:
        return passes()
    finally:
        path.write_bytes(whole)


def _loads(path: Path) -> bool:
    """Whether a checkpoint passes for whole."""
    try:
        found = checkpoints.load(path.parent)
    except UserError:
        return False
    return found is not None and found.path == path


def _counts_otherwise(folder: Path, streams: int, told: object) -> bool:
    """Whether a replay counts something else, without a word."""
    return _counts(folder, streams) not in (None, told)


def _counts(folder: Path, streams: int) -> tuple[list[int], list[int]] | None:
    """What a replay counts, mended from its copy where that is needed; None where it is refused."""
    try:
        ends = Ends(folder, streams, 1 << 40)
    except UserError:
        return None
    return ends.tail.tolist(), ends.head.tolist()


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Flips, description=__doc__)))
