"""Levels of BabyAI for the tests, and the names of their actions."""

import warnings
from typing import Any

import pytest

from dynalang_py.envs.babyai import BabyAI, BabyAIConfig

pytest.importorskip("minigrid")

LEFT, RIGHT, FORWARD, PICKUP, DROP, TOGGLE, DONE = range(7)


def make(task: str = "BabyAI-GoToLocalS5N2-v0", *, read: bool = False, **settings: Any) -> BabyAI:
    """Without the reading at the start, but where a test is about it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # gymnasium's, on levels that have a newer version
        return BabyAI(BabyAIConfig(task=task, read=read, **settings))
