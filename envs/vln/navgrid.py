"""Walking, distances and ways on the floors of a scene (see `dynalang_py.envs.vln.floors`)."""

import math
from collections import OrderedDict
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import dijkstra
from scipy.spatial import KDTree

from dynalang_py.envs.vln.floors import CELL, DIRECTIONS, SKIN, SOURCES, FloorArrays
from dynalang_py.envs.vln.simulator import Body, Floats

NEAR = 1.0
"""Metres within which a point that is not on the floors is taken for the nearest one that is."""
GOALS = 32
"""Goals whose distances are remembered."""
STEP = CELL / 2
"""Metres between two looks at what is in the way."""

_DIRECTION = {step: direction for direction, step in enumerate(DIRECTIONS)}


class _Goal(NamedTuple):
    floor: int
    place: Floats
    """(3,) on that floor."""
    around: frozenset[int]
    """The floors from which it is one step."""
    metres: NDArray[np.float32]
    """(N,) from each floor to the place."""


class NavGrid:
    """Where a body can walk. Points are (3,) metres, y up; a height may be off by some decimetres."""

    def __init__(self, floors: FloorArrays, body: Body) -> None:
        self.floors = floors
        self.body = body
        self._center = np.empty((len(floors.column), 3))
        self._center[:, [0, 2]] = floors.origin + (floors.column + 0.5) * CELL
        self._center[:, 1] = floors.height
        self._open = np.flatnonzero(floors.component >= 0)
        self._main = np.flatnonzero(floors.component == 0)
        self._tree = KDTree(self._center[self._open])
        count = len(floors.column) + 1
        self._graph = csr_array((floors.lengths, floors.indices, floors.indptr), shape=(count, count))
        self._goals: OrderedDict[tuple[float, ...], _Goal] = OrderedDict()

    @property
    def area(self) -> float:
        """Square metres that random points are drawn from: the largest connected area."""
        return len(self._main) * CELL**2

    def snap(self, point: ArrayLike) -> Floats | None:
        """(3,) the nearest place to stand, or None if there is none within `NEAR`."""
        point = np.asarray(point, np.float64)
        floor = self._find(point)
        return None if floor < 0 else self._on(floor, point)

    def random_point(self, rng: np.random.Generator) -> Floats:
        """(3,) evenly over the largest connected area."""
        floor = int(rng.choice(self._main))
        point = self._center[floor].copy()
        point[[0, 2]] += rng.uniform(-CELL / 2, CELL / 2, 2)
        return (
            point if self._clearance(floor, point[0], point[2])[0] >= self.body.radius else self._center[floor].copy()
        )

    def walk(self, start: ArrayLike, direction: ArrayLike, metres: float) -> Floats:
        """(3,) where a walk straight on ends; with sliding, what is in the way turns it aside.

        direction: (3,), of which only x and z count.
        """
        point = np.asarray(start, np.float64)
        floor = self._find(point)
        heading = np.asarray(direction, np.float64)[[0, 2]]
        length = np.linalg.norm(heading)
        if floor < 0 or length == 0:
            return point.copy()
        x, _, z = self._on(floor, point)
        steps = max(1, math.ceil(metres / STEP))
        dx, dz = (heading / length * (metres / steps)).tolist()
        for _ in range(steps):
            moved = self._step(floor, x, z, x + dx, z + dz)
            if moved is None:
                break
            floor, x, z = moved
        return np.array([x, self._center[floor, 1], z])

    def geodesic(self, a: ArrayLike, b: ArrayLike) -> float:
        """Metres on foot, inf if there is no way. Distances to the last `GOALS` different b are remembered."""
        a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
        goal = self._goal(b)
        floor = self._find(a)
        if goal is None or floor < 0 or goal.metres[floor] == np.inf:
            return math.inf
        start = self._on(floor, a)
        straight = float(np.linalg.norm(start - goal.place))
        around = self._around(floor)
        over = np.linalg.norm(self._center[around] - start, axis=1) + goal.metres[around]
        return straight if straight <= CELL else max(straight, float(over.min()))

    def path(self, a: ArrayLike, b: ArrayLike) -> Floats:
        """(N, 3) the corners of the shortest way from a to b, both included; (0, 3) if there is none."""
        a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
        goal = self._goal(b)
        floor = self._find(a)
        if goal is None or floor < 0 or goal.metres[floor] == np.inf:
            return np.zeros((0, 3))
        start, graph = self._on(floor, a), self._graph
        floors = [floor]
        while floors[-1] not in goal.around:
            row = slice(graph.indptr[floors[-1]], graph.indptr[floors[-1] + 1])
            nexts = graph.indices[row]
            floors.append(int(nexts[np.argmin(goal.metres[nexts] + graph.data[row])]))
        floors.append(goal.floor)
        points = self._center[floors]
        points[0], points[-1] = start, goal.place
        return points[self._corners(floors, points)]

    def _corners(self, floors: list[int], points: Floats) -> list[int]:
        """Pull the string: from each corner, the next one is the last that a straight walk reaches."""
        heights = self.floors.smooth[floors]
        corners = [0]
        while corners[-1] < len(floors) - 1:
            here = corners[-1]
            reached, stride = here + 1, 2
            while stride >= 1 and reached < len(floors) - 1:
                there = min(reached + stride, len(floors) - 1)
                # A straight line from floor to floor must not cut through the flight of stairs between them.
                ramp = np.linspace(heights[here], heights[there], there - here + 1)
                level = np.abs(heights[here : there + 1] - ramp).max() <= self.body.climb
                if level and self._straight(floors[here], points[here], points[there]):
                    reached, stride = there, stride * 2
                else:
                    stride //= 2
            corners.append(reached)
        return corners

    def _straight(self, floor: int, start: Floats, end: Floats) -> bool:
        """Whether the body can walk straight from start (on `floor`) to end."""
        way = end[[0, 2]] - start[[0, 2]]
        count = max(1, math.ceil(np.linalg.norm(way) / STEP))
        places = start[[0, 2]] + way * (np.arange(1, count + 1)[:, None] / count)
        for column in np.floor((places - self.floors.origin) / CELL).astype(int):
            step = column - self.floors.column[floor]
            if step.any():
                floor = self.floors.neighbours[floor, _DIRECTION[int(step[0]), int(step[1])]]
                if floor < 0 or self.floors.component[floor] < 0:
                    return False
        return True

    def _step(self, floor: int, x: float, z: float, to_x: float, to_z: float) -> tuple[int, float, float] | None:
        """One look ahead: the floor and place after it, or None if there is no going on."""
        there = self._neighbour(floor, to_x, to_z)
        if there < 0:
            return None
        clearance, gx, gz = self._clearance(there, to_x, to_z)
        if clearance >= self.body.radius - SKIN:
            return there, to_x, to_z
        if not self.body.sliding:
            return None
        for _ in range(3):  # twice would do in a corner; the third takes up what bending walls leave
            push = self.body.radius - clearance
            to_x, to_z = to_x + push * gx, to_z + push * gz
            there = self._neighbour(floor, to_x, to_z)
            if there < 0:
                return None
            clearance, gx, gz = self._clearance(there, to_x, to_z)
            if clearance >= self.body.radius - SKIN:
                return (there, to_x, to_z) if math.hypot(to_x - x, to_z - z) <= 2 * STEP else None
        return None

    def _neighbour(self, floor: int, x: float, z: float) -> int:
        """The floor at (x, z), which is at most one column away from `floor`; −1 if there is none."""
        floors = self.floors
        column = floors.column[floor]
        dx = math.floor((x - floors.origin[0]) / CELL) - int(column[0])
        dz = math.floor((z - floors.origin[1]) / CELL) - int(column[1])
        if dx == 0 and dz == 0:
            return floor
        direction = _DIRECTION.get((dx, dz))
        return -1 if direction is None else int(floors.neighbours[floor, direction])

    def _clearance(self, floor: int, x: float, z: float) -> tuple[float, float, float]:
        """Metres to the nearest obstacle, between the centres of columns, and the direction away from it."""
        floors = self.floors
        center = self._center[floor]
        tx, tz = (x - center[0]) / CELL, (z - center[2]) / CELL
        sx, sz = (1 if tx >= 0 else -1), (1 if tz >= 0 else -1)
        here = float(floors.clearance[floor])
        around = (floors.neighbours[floor, _DIRECTION[step]] for step in ((sx, 0), (0, sz), (sx, sz)))
        beside, ahead, across = (float(floors.clearance[other]) if other >= 0 else 0.0 for other in around)
        tx, tz = abs(tx), abs(tz)
        slope_x = sx * ((beside - here) * (1 - tz) + (across - ahead) * tz)
        slope_z = sz * ((ahead - here) * (1 - tx) + (across - beside) * tx)
        value = (here * (1 - tx) + beside * tx) * (1 - tz) + (ahead * (1 - tx) + across * tx) * tz
        norm = math.hypot(slope_x, slope_z) or 1.0
        return value, slope_x / norm, slope_z / norm

    def _find(self, point: Floats) -> int:
        """The nearest floor that the body fits on, or −1."""
        distance, index = self._tree.query(point, distance_upper_bound=NEAR)
        return int(self._open[index]) if np.isfinite(distance) else -1

    def _on(self, floor: int, point: Floats) -> Floats:
        """(3,) the place of that floor's column that is nearest to the point."""
        center = self._center[floor]
        near = np.clip(point, center - CELL / 2, center + CELL / 2)
        near[1] = center[1]
        return near

    def _around(self, floor: int) -> NDArray[np.int32]:
        """The floor and those that one step reaches, where the body fits."""
        near = self.floors.neighbours[floor]
        near = near[near >= 0]
        return np.append(near[self.floors.component[near] >= 0], np.int32(floor))

    def _goal(self, point: Floats) -> _Goal | None:
        """Distances to a point; None if it is on no floor."""
        key = tuple(point.tolist())
        if key in self._goals:
            self._goals.move_to_end(key)
            return self._goals[key]
        floor = self._find(point)
        if floor < 0:
            return None
        around, place, graph = self._around(floor), self._on(floor, point), self._graph
        # The goal is a node of its own, in the last row, joined to the floors around it.
        graph.indices[-SOURCES:], graph.data[-SOURCES:] = floor, np.inf
        graph.indices[-len(around) :] = around
        graph.data[-len(around) :] = np.linalg.norm(self._center[around] - place, axis=1)
        metres = dijkstra(graph, indices=len(self._center))[:-1].astype(np.float32)
        goal = _Goal(floor, place, frozenset(around.tolist()), metres)
        self._goals[key] = goal
        if len(self._goals) > GOALS:
            self._goals.popitem(last=False)
        return goal
