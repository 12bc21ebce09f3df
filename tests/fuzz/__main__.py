"""Make inputs, hand each to the command that reads it, and tell what came of them."""

import collections
import os
import random
import shlex
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import tyro

from .forks import Ending, run
from .home import prepare
from .inputs import KINDS
from .preload import preload

Counts: TypeAlias = "collections.Counter[tuple[str, str]]"
"""Inputs of each name and verdict."""
GOOD = ("ran", "refused", "long")


@dataclass(frozen=True, kw_only=True)
class Fuzz:
    inputs: int = 1000
    """How many."""
    seed: int | None = None
    """Which; none draws one, and prints it."""
    first: int = 0
    """Number of the first; --first 12 --inputs 1 repeats one."""
    only: str | None = None
    """One kind of input alone, by the name of its function in inputs.py; the others' numbers are passed over."""
    keep: Path | None = None
    """Folder for the inputs that failed; none: a temporary one, which is printed."""


def main(options: Fuzz) -> int:
    seed = random.SystemRandom().randrange(10**6) if options.seed is None else options.seed
    print(f"seed {seed}, inputs {options.first} to {options.first + options.inputs - 1}", flush=True)
    with tempfile.TemporaryDirectory(prefix="fuzz-") as scratch:
        home, work, keep = Path(scratch, "home"), Path(scratch, "a/b/c/work"), options.keep
        home.mkdir()
        os.environ |= {"XDG_CACHE_HOME": str(home / "cache"), "HOME": str(home), "COLUMNS": "200"}
        preload()
        prepare(home)
        counts: Counts = collections.Counter()
        milliseconds: collections.Counter[str] = collections.Counter()  # of a processor, by name
        begin, highest, slowest, failed = time.monotonic(), 0.0, 0.0, 0
        for number in range(options.first, options.first + options.inputs):
            found = one(seed, number, home, work, options.only)
            if not found:
                continue
            name, words, ending = found
            counts[name, ending.verdict] += 1
            milliseconds[name] += round(1000 * ending.worked)
            highest, slowest = max(highest, ending.peak), max(slowest, ending.worked)
            if ending.verdict not in GOOD:
                failed += 1
                keep = keep or Path(tempfile.mkdtemp(prefix="fuzz-failed-"))
                _tell(seed, number, name, words, ending, work, keep)
            if number % 100 == 99:
                print(f"-- {number + 1} after {time.monotonic() - begin:.0f} s, {failed} failed", flush=True)
    _table(counts, milliseconds)
    print(
        f"{sum(counts.values()):,} inputs, {failed} failed; at most {highest:.1f} GB and {slowest:.0f} s of a processor"
    )
    if failed:
        print(f"what failed lies in {keep}; again: python -m tests.fuzz --seed {seed} --inputs 1 --first NUMBER")
    return 1 if failed else 0


def one(seed: int, number: int, home: Path, work: Path, only: str | None) -> tuple[str, list[str], Ending] | None:
    """Make an input in a new folder, and hand it to its reader; None where it is not of the kind that is asked for."""
    rng = random.Random(f"{seed}-{number}")
    (make,) = rng.choices(list(KINDS), list(KINDS.values()))
    if only and make.__name__ != only:
        return None
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    name, words = make(rng, home, work)
    return name, words, run(words, work)


def _tell(seed: int, number: int, name: str, words: list[str], ending: Ending, work: Path, keep: Path) -> None:
    """Print what failed and keep its folder, with the command and what it wrote."""
    folder = keep / f"{seed}-{number}"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(work, folder, symlinks=True, ignore=_pipes)
    line = shlex.join(word if len(word) < 200 else f"{word[:9]}...({len(word)})" for word in words)
    (folder / "failed.txt").write_text(f"{line}\n\n{ending.out}\n{ending.err}", "utf-8", "backslashreplace")
    text = f"{number} {ending.verdict} of {name}, {ending.worked:.0f} s, {ending.peak:.1f} GB: {line} -> {ending.last}"
    print(text.encode(errors="backslashreplace").decode(), flush=True)


def _pipes(folder: str, names: list[str]) -> list[str]:
    return [name for name in names if (path := Path(folder, name)).exists() and not (path.is_file() or path.is_dir())]


def _table(counts: Counts, milliseconds: "collections.Counter[str]") -> None:
    verdicts = [*GOOD, *sorted({verdict for _, verdict in counts} - {*GOOD})]
    print(" " * 16 + "".join(f"{title:>12}" for title in (*verdicts, "seconds")))
    for name in sorted({name for name, _ in counts}):
        print(
            f"{name:>16}"
            + "".join(f"{counts[name, verdict]:>12}" for verdict in verdicts)
            + f"{milliseconds[name] / 1000:>12.0f}"
        )


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Fuzz, description=__doc__)))
