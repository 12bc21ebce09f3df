"""Triangles → where a body can stand: a grid of columns with any number of floors in each, as navigation meshes begin.

Surfaces are sampled densely. In every column of the grid the samples form solid spans; a span whose top is level and
has the body's height free above it is a floor. Floors of neighbouring columns are joined where a body could step from
one to the other. The idea is Recast's (recastnavigation): voxels, spans, and a margin as wide as the body.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from dynalang_py.envs.vln.simulator import Body
from dynalang_py.errors import UserError

CELL = 0.05
"""Side of a column in metres."""
OFFSET = 0.3
"""Of the grid, in columns: keeps walls on a plan of whole centimetres away from where rounding decides."""
SPACING = 0.025
"""Between samples of a surface; half a cell, so that no column under a surface goes without."""
SLOPE = np.cos(np.radians(45))
"""Steeper surfaces are walls, as in Habitat's navigation meshes."""
MERGE = 0.1
"""Metres between samples above each other that still belong to one solid span."""
SKIN = 0.005
"""Metres by which a body may sink into a margin: rounding must not stop anyone."""
MIN_AREA = 1.0
"""Square metres; smaller islands (table tops) are no floors."""
MAX_SURFACE = 30_000.0
"""Square metres of triangles; the largest scans have about 10,000."""
MAX_COLUMNS = 50_000_000
SMOOTHING = 30
"""Rounds of averaging heights over neighbours, about a stair's tread: on foot, stairs are a ramp."""
DIRECTIONS = ((1, 0), (0, 1), (-1, 0), (0, -1), (1, 1), (-1, 1), (-1, -1), (1, -1))
"""Steps in x and z to the neighbours, in the order of `FloorArrays.neighbours`."""
SOURCES = 9
"""Edges that are kept free for the place from which distances are measured."""


@dataclass(frozen=True, kw_only=True)
class FloorArrays:
    """N floors, E edges."""

    origin: NDArray[np.float64]
    """(2,) x and z of the corner of column (0, 0)."""
    column: NDArray[np.int32]
    """(N, 2) steps of `CELL` from the origin in x and z."""
    height: NDArray[np.float32]
    """(N,) y in metres."""
    clearance: NDArray[np.float32]
    """(N,) metres from the column's centre to the nearest thing in the way; capped a little above the body's radius."""
    neighbours: NDArray[np.int32]
    """(N, 8) floors one step away, −1 where there is none; a diagonal step needs both ways around the corner."""
    component: NDArray[np.int32]
    """(N,) connected floors share a number, the main area has 0; −1 where the body doesn't fit."""
    indptr: NDArray[np.int32]
    """(N + 2,) compressed rows of the graph of steps; the last row is free for a source."""
    indices: NDArray[np.int32]
    """(E,)"""
    lengths: NDArray[np.float64]
    """(E,) metres."""
    smooth: NDArray[np.float32]
    """(N,) heights with stairs averaged to ramps."""


def find_floors(vertices: NDArray[np.float32], faces: NDArray[np.int32], body: Body) -> FloorArrays:
    """Where `body` can stand and walk among these triangles; (V, 3) metres, y up, and (F, 3).

    Raises:
        UserError: The scene is too large to be a building, or there is no such place.
    """
    corners = vertices[faces].astype(np.float64)  # (F, 3, 3)
    low, high = corners.min((0, 1)), corners.max((0, 1))
    columns = np.ceil((high - low)[[0, 2]] / CELL) + 4  # a free column on every side
    origin = low[[0, 2]] - (1 + OFFSET) * CELL
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1).sum() / 2
    if not area < MAX_SURFACE or columns.prod() > MAX_COLUMNS:  # as floats: whole numbers would overflow
        size = " × ".join(f"{side:.0f}" for side in high - low)
        raise UserError(f"a scene of {size} m with {area:.0f} m² of surface is no building; the unit must be the metre")
    shape = columns.astype(np.int64)
    grain = max(0.001, float(high[1] - low[1]) / 65_000)
    keys, mean = _sample(corners, origin, shape, float(low[1]), grain)
    column, height, ceiling = _spans(keys, body, float(low[1]), grain)
    near = _near(column, height, ceiling, shape, body)
    clearance = _clearance(near, column, mean, shape, body)
    fits = clearance >= body.radius - SKIN
    diagonal = [_both_ways(near, a, b) for a, b in ((0, 1), (2, 1), (2, 3), (0, 3))]
    near = np.concatenate([near, np.stack(diagonal, 1)], 1)
    smooth = _smooth(height, near)
    walkable = np.where(fits[:, None] & (near >= 0) & fits[near], near, -1)
    source, target, length = _edges(walkable, smooth)
    component = _components(source, target, fits, np.isfinite(ceiling))
    if not (component >= 0).any():
        raise UserError(
            f"nobody can stand in it: no level surface of {MIN_AREA:g} m² has {body.height:g} m free above it and "
            f"{body.radius:g} m around it"
        )
    count = len(column)
    keep = component[source] >= 0
    indptr = np.concatenate([[0], np.cumsum(np.bincount(source[keep], minlength=count))])
    order = np.argsort(source[keep], kind="stable")
    return FloorArrays(
        origin=origin,
        column=np.stack([column % shape[0], column // shape[0]], 1).astype(np.int32),
        height=height.astype(np.float32),
        clearance=clearance.astype(np.float32),
        neighbours=near.astype(np.int32),
        component=component,
        indptr=np.append(indptr, indptr[-1] + SOURCES).astype(np.int32),
        indices=np.append(target[keep][order], np.zeros(SOURCES)).astype(np.int32),
        lengths=np.append(length[keep][order], np.full(SOURCES, np.inf)),
        smooth=smooth.astype(np.float32),
    )


def _sample(
    corners: NDArray[np.float64], origin: NDArray[np.float64], shape: NDArray[np.int64], bottom: float, grain: float
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Samples of all surfaces, sorted by column and height, and where in a column its walls are.

    A sample is one number: (column · 65536 + height in grains) · 2 + whether it is level. The second result is
    (columns, 2): mean x and z of a column's steep samples, in metres from its centre; NaN if it has none. Thus walls
    are not rounded to columns.
    """
    columns = int(shape.prod())
    kept: list[NDArray[np.int64]] = []
    sums = np.zeros((3, columns), np.float32)
    # The apex is opposite the longest side; rows of samples run parallel to that side.
    sides = np.linalg.norm(np.roll(corners, -1, 1) - np.roll(corners, -2, 1), axis=2)  # opposite to each corner
    order = (sides.argmax(1)[:, None] + np.arange(3)) % 3
    apex, second, third = np.take_along_axis(corners, order[..., None], 1).transpose(1, 0, 2)
    normal = np.cross(second - apex, third - apex)
    double = np.linalg.norm(normal, axis=1)
    level = np.abs(normal[:, 1]) > SLOPE * double
    longest = sides.max(1)
    rows = np.ceil(double / np.maximum(longest, 1e-9) / SPACING).astype(np.int64).clip(1) + 1
    expected = np.cumsum(rows * (longest / SPACING / 2 + 2))
    for part in np.split(np.arange(len(corners)), np.searchsorted(expected, np.arange(4e6, expected[-1], 4e6))):
        if not len(part):
            continue
        row, which = _count_up(rows[part])
        triangle = part[which]
        t = row / (rows[triangle] - 1)
        spots = np.ceil(t * longest[triangle] / SPACING).astype(np.int64) + 1
        spot, which = _count_up(spots)
        triangle, t, w = triangle[which], t[which], spot / np.maximum(spots[which] - 1, 1)
        a, b = (t * (1 - w))[:, None], (t * w)[:, None]
        point = apex[triangle] * (1 - a - b) + second[triangle] * a + third[triangle] * b
        place = (point[:, [0, 2]] - origin) / CELL
        cell = place.astype(np.int64)
        column = cell[:, 0] + cell[:, 1] * shape[0]
        grains = np.rint((point[:, 1] - bottom) / grain).astype(np.int64)
        flat = level[triangle]
        kept.append(_unique((column * 65536 + grains) * 2 + flat))
        aside = (place - cell - 0.5)[~flat] * CELL
        for total, weight in zip(sums, (None, *aside.T), strict=True):
            total += np.bincount(column[~flat], weight, minlength=columns).astype(np.float32)
    with np.errstate(invalid="ignore"):
        mean = sums[1:] / sums[0]
    return _unique(np.concatenate(kept)), np.ascontiguousarray(mean.T)


def _unique(keys: NDArray[np.int64]) -> NDArray[np.int64]:
    """As np.unique; many times as fast on millions of numbers."""
    keys.sort()
    return keys[np.concatenate([[True], keys[1:] != keys[:-1]])]


def _count_up(counts: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """[2, 3] → [0, 1, 0, 1, 2] and [0, 0, 1, 1, 1]."""
    which = np.repeat(np.arange(len(counts)), counts)
    return np.arange(len(which)) - np.repeat(np.cumsum(counts) - counts, counts), which


def _spans(
    keys: NDArray[np.int64], body: Body, bottom: float, grain: float
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Column, height and ceiling (inf under the open sky) of every floor, sorted by column."""
    flat, grains, column = keys & 1, (keys >> 1) & 65535, keys >> 17
    fresh = np.ones(len(keys), bool)
    fresh[1:] = (np.diff(column) > 0) | (np.diff(grains) > MERGE / grain)
    first = np.flatnonzero(fresh)
    last = np.append(first[1:], len(keys)) - 1
    top, column = grains[last], column[first]
    level = np.maximum.reduceat(np.where(flat == 1, grains, -1), first)
    under = np.append(column[1:] == column[:-1], False)  # the next span lies above this one
    ceiling = np.where(under, bottom + grains[np.append(first[1:], 0)] * grain, np.inf)
    height = bottom + level * grain
    stands = (level >= 0) & ((top - level) * grain <= body.climb) & (ceiling - height >= body.height - grain)
    return column[stands], height[stands], ceiling[stands]


def _near(
    column: NDArray[np.int64],
    height: NDArray[np.float64],
    ceiling: NDArray[np.float64],
    shape: NDArray[np.int64],
    body: Body,
) -> NDArray[np.int64]:
    """(N, 4) the floor in each neighbouring column that one step reaches, or −1."""
    counts = np.bincount(column, minlength=int(shape.prod()) + 1)
    start = np.cumsum(counts) - counts
    near = np.full((len(column), 4), -1)
    best = np.full((len(column), 4), body.climb + 0.002)  # heights have grains of a millimetre
    for direction, (dx, dz) in enumerate(DIRECTIONS[:4]):
        other = column + dx + dz * shape[0]
        for layer in range(counts.max(initial=0)):
            exists = layer < counts[other]
            candidate = np.where(exists, start[other] + layer, 0)
            step = np.abs(height[candidate] - height)
            free = np.minimum(ceiling, ceiling[candidate]) - np.maximum(height, height[candidate])
            good = exists & (step <= best[:, direction]) & (free >= body.height - 0.002)
            near[good, direction] = candidate[good]
            best[good, direction] = step[good]
    return near


def _clearance(
    near: NDArray[np.int64],
    column: NDArray[np.int64],
    mean: NDArray[np.float32],
    shape: NDArray[np.int64],
    body: Body,
) -> NDArray[np.float64]:
    """(N,) metres to the nearest obstacle: a column that can't be stepped into from a neighbour in this direction."""
    reach = int(np.ceil(body.radius / CELL)) + 2
    clearance = np.full(len(column), reach * CELL)
    square = [(x, z) for x in range(-reach, reach + 1) for z in range(-reach, reach + 1)]
    offsets = [offset for offset in square if 0 < math.hypot(*offset) <= reach + 0.5]
    arrived = {(0, 0): np.arange(len(column))}
    for x, z in sorted(offsets, key=lambda offset: (abs(offset[0]) + abs(offset[1]), offset)):
        ring = abs(x) + abs(z)  # only the ring before it is needed again
        arrived = {at: floors for at, floors in arrived.items() if abs(at[0]) + abs(at[1]) >= ring - 1}
        step = (int(np.sign(x)), 0) if abs(x) >= abs(z) else (0, int(np.sign(z)))
        before = arrived[x - step[0], z - step[1]]
        there = np.where(before >= 0, near[before, DIRECTIONS.index(step)], -1)
        arrived[x, z] = there
        stopped = np.flatnonzero((before >= 0) & (there < 0))
        wall = mean[column[stopped] + x + z * shape[0]] + [x * CELL, z * CELL]
        # Where there is no wall but an abyss or a low ceiling, it begins on the near side of the column.
        edge = CELL * np.hypot(max(abs(x) - 0.5, 0), max(abs(z) - 0.5, 0))
        distance = np.where(np.isnan(wall[:, 0]), edge, np.hypot(*wall.T))
        clearance[stopped] = np.minimum(clearance[stopped], distance)
    return clearance


def _both_ways(near: NDArray[np.int64], a: int, b: int) -> NDArray[np.int64]:
    """(N,) the floor after steps in directions a and b, if both orders lead to the same; else −1."""
    one, other = (np.where(near[:, i] >= 0, near[near[:, i], j], -1) for i, j in ((a, b), (b, a)))
    return np.where(one == other, one, -1)


def _smooth(height: NDArray[np.float64], near: NDArray[np.int64]) -> NDArray[np.float64]:
    smooth = height
    others = np.where(near[:, :4] >= 0, near[:, :4], np.arange(len(near))[:, None])
    for _ in range(SMOOTHING):
        smooth = (smooth + smooth[others].sum(1)) / 5
    return smooth


def _edges(
    walkable: NDArray[np.int64], smooth: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Steps in 40 directions, both ways: source, target, metres. So many leave distances at most 0.5 % too long."""
    floors = np.arange(len(walkable))
    found = []
    for x, z in [(1, 0), (1, 1), (2, 1), (1, 2), (3, 1), (3, 2), (2, 3), (1, 3), (5, 1), (1, 5)]:
        for _ in range(4):
            at = floors
            for dx, dz in _cells_along(x, z):
                at = np.where(at >= 0, walkable[at, DIRECTIONS.index((dx, dz))], -1)
            good = np.flatnonzero(at >= 0)
            rise = smooth[at[good]] - smooth[good]
            found.append((good, at[good], np.sqrt((x * x + z * z) * CELL**2 + rise**2)))
            x, z = -z, x
    source, target, length = (np.concatenate(part) for part in zip(*found, strict=True))
    return source, target, length


def _cells_along(x: int, z: int) -> list[tuple[int, int]]:
    """Steps from cell to cell on the straight line to (x, z), in the order in which it meets them."""
    t = (np.arange(60) + 0.5) / 60
    cells = np.rint(np.stack([t * x, t * z], 1)).astype(int)
    steps = np.diff(np.concatenate([[[0, 0]], cells, [[x, z]]]), axis=0)
    return [(int(dx), int(dz)) for dx, dz in steps if dx or dz]


def _components(
    source: NDArray[np.int64], target: NDArray[np.int64], fits: NDArray[np.bool_], covered: NDArray[np.bool_]
) -> NDArray[np.int32]:
    """(N,) numbers of connected floors, the main one 0, −1 for what is too small or too tight.

    The largest area is the main one, but a roof is large too: what has nothing above it counts for a tenth.
    """
    graph = coo_array((np.ones(len(source), bool), (source, target)), (len(fits), len(fits)))
    _, label = connected_components(graph, directed=False)
    label = np.where(fits, label, len(fits))
    area = np.bincount(label[fits], minlength=len(fits) + 1) * CELL**2
    under_roof = np.bincount(label[fits & covered], minlength=len(fits) + 1) * CELL**2
    rank = np.argsort(-(0.1 * area + under_roof), kind="stable")
    rank = rank[area[rank] >= MIN_AREA]
    number = np.full(len(fits) + 1, -1)
    number[rank] = np.arange(len(rank))
    return number[label].astype(np.int32)
