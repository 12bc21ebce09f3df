"""A hundred fuzzed inputs, others each time; and what the script would say of one that went wrong."""

import random
import subprocess
import sys
from pathlib import Path

import pytest

from .forks import Ending

ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(3600)  # on a machine whose cores are taken eight times over it took eight minutes
def test_a_hundred_inputs_end_well() -> None:
    seed = random.SystemRandom().randrange(10**6)
    words = [sys.executable, "-m", "tests.fuzz", "--inputs", "100", "--seed", str(seed)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    print(done.stdout)
    assert done.returncode == 0, f"seed {seed}\n{done.stdout}\n{done.stderr}"


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({}, "ran"),
        ({"code": 2, "err": "dynalang: there is no verb 'x'\n"}, "refused"),
        ({"code": 2, "err": "usage: x"}, "EXIT 2"),
        ({"code": 2, "err": "UserWarning: x\ndynalang: there is no verb 'x'\n"}, "EXIT 2"),
        ({"code": 1, "err": "Traceback (most recent call last):\n ...\nKeyError: 'x'\n"}, "TRACEBACK"),
        ({"err": "Traceback (most recent call last):\n  of a thread"}, "TRACEBACK"),
        ({"code": -11}, "EXIT -11"),
        ({"code": -9, "asked": True}, "HANG"),
        ({"worked": 61.0}, "HANG"),
        ({"asked": True}, "long"),
        ({"code": 130, "asked": True}, "long"),
        ({"peak": 4.1}, "MEMORY"),
    ],
)
def test_endings_are_told_apart(changes: dict[str, object], verdict: str) -> None:
    plain = {"code": 0, "out": "", "err": "", "worked": 1.0, "peak": 0.5, "asked": False}
    assert Ending(**{**plain, **changes}).verdict == verdict  # type: ignore[arg-type]
