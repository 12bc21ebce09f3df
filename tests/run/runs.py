"""Runs of the tests: short ones, in this process or as their user starts them."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from dynalang_py import presets
from dynalang_py.config import Config
from dynalang_py.run import checkpoint as checkpoints
from dynalang_py.run.folder import RunFolder
from dynalang_py.run.logger import read_metrics


def command(*args: str | Path | int) -> list[str]:
    return [sys.executable, "-m", "dynalang_py", *map(str, args)]


def environment() -> dict[str, str]:
    return os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "200"}


def call(*args: str | Path | int) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*args), capture_output=True, text=True, env=environment())


def start(*args: str | Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command(*args), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment()
    )


def wait_for(condition: Callable[[], Any], process: subprocess.Popen[str]) -> None:
    """Until it holds; a process that ends before is a failure."""
    while not condition():
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)


def updates_of(run: Path) -> int:
    rows = read_metrics(run / "metrics.jsonl")
    return int(max((row.get("updates", 0) for row in rows), default=0))


def same_weights(a: Path, b: Path) -> bool:
    """Whether the newest checkpoints of two runs hold the same tensors, bit for bit."""
    found = [checkpoints.load(RunFolder(path).checkpoints) for path in (a, b)]
    assert found[0] is not None
    assert found[1] is not None
    ours, theirs = found[0].tensors, found[1].tensors
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def saved_steps(run: Path) -> int:
    found = checkpoints.load(RunFolder(run).checkpoints)
    assert found is not None
    return int(found.state["counters"]["steps"])


def short_config(run: Path, **changes: Any) -> Config:
    config = replace(presets.get("debug"), run_dir=run, steps=200, eval_every=0, eval_episodes=2, baseline_episodes=2)
    return replace(config, **changes)
