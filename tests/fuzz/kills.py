"""Kill a run of training at random moments, resume it again and again, and look whether anything was lost.

python -m tests.fuzz.kills --kills 50 --seed 7
"""

import collections
import json
import os
import random
import shlex
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro

from dynalang_py.replay_ends import Ends
from dynalang_py.run import checkpoint as checkpoints
from dynalang_py.run.logger import read_metrics

from .forks import run
from .preload import preload

STEPS = 240
OPTIONS = [
    *("--steps", str(STEPS), "--checkpoint-minutes", "0.00001", "--eval-every", "120", "--eval-episodes", "2"),
    *("--baseline-episodes", "2", "--log-every", "0.1", "--run-dir"),
]
CHAIN = 4
"""Kills of one run, before it may go on to its end."""


@dataclass(frozen=True, kw_only=True)
class Kills:
    kills: int = 20
    """How many, about."""
    seed: int | None = None
    """Of the moments; none draws one, and prints it."""
    preset: str = "debug"
    """What is trained, for a moment."""


def main(options: Kills) -> int:
    seed = random.SystemRandom().randrange(10**6) if options.seed is None else options.seed
    print(f"seed {seed}", flush=True)
    rng, counts = random.Random(seed), collections.Counter[str]()
    with tempfile.TemporaryDirectory(prefix="kills-") as scratch:
        work = Path(scratch)
        os.environ |= {"XDG_CACHE_HOME": str(work / "cache"), "HOME": scratch}
        preload()
        begin = ["train", options.preset, *OPTIONS]
        whole = run([*begin, "whole"], work)
        if whole.verdict != "ran":
            print(f"the run that nobody kills: {whole.verdict}: {whole.last}")
            return 1
        wrong: list[str] = []
        while counts["killed"] < options.kills:
            name = f"run{counts['run']}"
            counts["run"] += 1
            found = _chain(rng, begin, work / name, whole.worked, counts)
            wrong += [f"{name}: {found}"] if found else []
            print(f"{counts['killed']} kills, {len(wrong)} wrong", flush=True)
    print("\n".join(wrong))
    print(
        f"{counts['killed']} kills, {counts['early']} of them before the first checkpoint, in {counts['run']} runs that"
        f" were resumed to their ends; {len(wrong)} wrong"
    )
    return 1 if wrong else 0


def _chain(
    rng: random.Random, begin: list[str], run_dir: Path, lasts: float, counts: "collections.Counter[str]"
) -> str:
    """Kill one run a few times and resume it to its end; returns what was wrong. lasts: seconds that a run takes."""
    steps = 0
    for left in reversed(range(CHAIN + 1)):
        has_begun = (run_dir / "config.json").exists()
        words = ["train", "--resume", run_dir.name] if has_begun else [*begin, run_dir.name]
        # A quarter of the kills come early: while the run is laid out, or before it has a checkpoint.
        patience = rng.uniform(0, 0.5) if rng.random() < 0.25 else rng.uniform(0, lasts)
        ending = run(words, run_dir.parent, patience if left else None)
        if ending.code not in (0, -9) or "Traceback" in ending.err:
            return f"{shlex.join(words)}: {ending.verdict}: {ending.last}"
        counts["killed"] += ending.code == -9
        counts["early"] += ending.code == -9 and not checkpoints.find(run_dir / "checkpoints")
        if found := _lost(run_dir, steps if left else None):
            return found
        newest = checkpoints.find(run_dir / "checkpoints")
        steps = int(newest[0].stem.removeprefix("step-")) if newest else 0
    return ""


def _lost(run: Path, before: int | None = None) -> str:
    """What is wrong with the folder of a run that was killed; empty if nothing is.

    before: steps of its newest checkpoint an earlier time; None where it has come to its end.
    """
    checkpoint = checkpoints.load(run / "checkpoints")
    steps = checkpoint.state["counters"]["steps"] if checkpoint else 0
    if checkpoint and checkpoint.damaged:
        return f"a checkpoint is damaged: {checkpoint.damaged}"
    if steps < (before or 0):
        return f"the newest checkpoint was of step {before}, and is of step {steps}"
    held, cut = _replay(run / "replay")
    if held < steps:
        return f"the replay holds {held} steps of {steps}"
    if cut:
        return f"{cut} episodes of the replay flow into the next"
    if before is not None:
        return ""
    if steps < STEPS or held != steps:
        return f"at its end it has {steps} steps, and {held} in its replay"
    rows = [row["step"] for row in read_metrics(run / "metrics.jsonl") if "updates" in row]
    if rows != sorted(set(rows)):
        return "rows of metrics stand there twice"
    left = [str(path) for path in run.rglob("*.partial")]
    return f"{left[0]} was left" if left else ""


def _replay(folder: Path) -> tuple[int, int]:
    """How many steps a replay holds, and how many of its episodes have no end before the next one begins."""
    if not (folder / "meta.json").exists():
        return 0, 0
    meta = json.loads((folder / "meta.json").read_text())
    streams, ring = meta["streams"], meta["steps per stream"]
    ends = Ends(folder, streams, ring)
    first, last = (
        np.fromfile(folder / f"{name}.raw", bool, streams * ring).reshape(streams, ring)
        for name in ("is_first", "is_last")
    )
    cut = 0
    for stream, (tail, head) in enumerate(zip(ends.tail, ends.head, strict=True)):
        rows = np.arange(tail, head) % ring
        cut += int((first[stream, rows][1:] > last[stream, rows][:-1]).sum())
    return int((ends.head - ends.tail).sum()), cut


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Kills, description=__doc__)))
