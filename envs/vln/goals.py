"""Of several goals the nearest counts, on foot, as in Habitat: for rewards, scores and the expert."""

import math

import numpy as np
from numpy.typing import ArrayLike

from dynalang_py.envs.vln.simulator import Simulator

SNAP = 2.0
"""Metres that a way may be shorter than the straight line: simulators move both its ends to where one can stand."""


def nearest_goal(simulator: Simulator, here: ArrayLike, goals: ArrayLike) -> tuple[int, float]:
    """Which of `goals`, (3,) or (G, 3), is nearest on foot, and its metres; (0, inf) where no way leads to any."""
    goals = np.atleast_2d(np.asarray(goals, np.float64))
    straight = np.linalg.norm(goals - np.asarray(here, np.float64), axis=1)
    which, least = 0, math.inf
    for i in np.argsort(straight, kind="stable"):
        if straight[i] - SNAP > least:
            break
        metres = simulator.geodesic(here, goals[i])
        if metres < least:
            which, least = int(i), metres
    return which, least
