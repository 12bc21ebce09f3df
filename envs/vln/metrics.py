"""How well a path was walked: the metrics of vision-and-language navigation, as VLN-CE defines them.

Positions are metres; distances to the goal are along the floor (geodesic). Letters: N positions of the path, M of the
reference.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Of one episode; their means over a split are the published figures."""

    ne: float
    """Navigation error: distance to the goal at the end, in metres."""
    success: float
    """SR: 1 if the agent stopped by itself, nearer to the goal than the radius."""
    osr: float
    """Oracle success: 1 if it came that near at any step, stopped or not."""
    tl: float
    """Trajectory length in metres."""
    spl: float
    """Success weighted by path length: shortest / max(shortest, tl) where successful, else 0 (arXiv 1807.06757)."""
    ndtw: float
    """How closely the path follows the reference, from 0 to 1 (arXiv 1907.05446)."""
    sdtw: float
    """ndtw where successful, else 0."""


def score(
    path: npt.ArrayLike,
    distances: Sequence[float],
    reference: npt.ArrayLike,
    *,
    stopped: bool,
    radius: float | Sequence[float] = 3.0,
) -> Scores:
    """The metrics of one episode.

    path: (N, 3), the position at the start and after each action. distances: (N,) from there to the nearest goal; the
    first is the shortest path's length. reference: (M, 3), where an expert walked. stopped: whether the agent said so
    itself. radius: of the goal, or (N,) of the one that was the nearest.
    """
    steps = np.asarray(path, float)
    moved = np.r_[True, (np.diff(steps, axis=0) != 0).any(-1)]  # turning on the spot adds no point to a path
    length, shortest = path_length(steps), distances[0]
    radii = np.broadcast_to(radius, len(distances))
    near = np.less(distances, radii)
    success = float(stopped and near[-1])
    similar = ndtw(steps[moved], reference, float(radii[-1]))
    return Scores(
        ne=distances[-1],
        success=success,
        osr=float(near.any()),
        tl=length,
        spl=success * shortest / max(shortest, length) if success and max(shortest, length) > 0 else success,
        ndtw=similar,
        sdtw=success * similar,
    )


def path_length(path: npt.ArrayLike) -> float:
    """Sum of the straight lines between the points (N, 3)."""
    return float(np.linalg.norm(np.diff(np.asarray(path, float), axis=0), axis=-1).sum())


def ndtw(path: npt.ArrayLike, reference: npt.ArrayLike, radius: float = 3.0) -> float:
    """Normalised dynamic time warping: exp(-dtw / (M · radius)) of paths (N, 3) and (M, 3)."""
    return float(np.exp(-dtw(path, reference) / (len(np.asarray(reference)) * radius)))


def dtw(path: npt.ArrayLike, reference: npt.ArrayLike) -> float:
    """The least sum of distances between the points of two paths (N, 3) and (M, 3), matched in order, exactly.

    Every point is matched, and matches never cross.
    """
    apart = np.linalg.norm(np.asarray(path, float)[:, None] - np.asarray(reference, float)[None], axis=-1)  # (N, M)
    best = np.cumsum(apart[0])  # [j]: the cheapest match of what was walked so far with the reference up to j
    for row in apart[1:]:
        came = np.minimum(best, np.r_[np.inf, best[:-1]])  # from the position before, matched with j or j - 1
        # Then on along this row: best[j] = min over i <= j of came[i] + row[i] + ... + row[j].
        along = np.cumsum(row)
        best = along + np.minimum.accumulate(came - along + row)
    return float(best[-1])


def resampled(path: npt.ArrayLike, spacing: float) -> npt.NDArray[np.float64]:
    """The path (N, 3) with points every `spacing` metres at most: an expert's path where only its corners are known.

    DTW compares paths point by point, so a reference of a few corners would call every walk between them wrong.
    """
    corners = np.asarray(path, float)
    parts = [corners[:1]]
    for start, end in pairwise(corners):
        count = max(1, int(np.ceil(np.linalg.norm(end - start) / spacing - 1e-9)))
        parts.append(start + (end - start) * (np.arange(1, count + 1) / count)[:, None])
    return np.concatenate(parts)
