"""Paths through a house that are worth describing: from anywhere to a thing that words can tell from all others."""

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

import numpy as np

from dynalang_py.envs.vln.houses.furnish import CELL, Piece, free_cells
from dynalang_py.envs.vln.houses.house import House
from dynalang_py.envs.vln.houses.plan import Level
from dynalang_py.envs.vln.houses.route import Route, describe_route, nameable
from dynalang_py.envs.vln.simulator import Pose, Simulator

REACH = 0.45
"""Metres between a thing and the place before it where one stops."""
LEAST: dict[Level, float] = {"goto": 2.0, "rooms": 3.0, "houses": 4.0}
"""Metres that a path is long at least."""
ROOMS: dict[Level, tuple[int, int]] = {"goto": (1, 1), "rooms": (2, 3), "houses": (2, 6)}
"""Through how many rooms it leads, the first and the last included."""
TRIES = 60
"""Attempts per path."""
TURN = 15
"""Degrees between two headings that an agent may have at the start."""


@dataclass(frozen=True)
class Path:
    """A way to walk, and what is noticed on it."""

    start: tuple[float, float, float]
    yaw: float
    """Heading at the start: degrees from −z, positive is left."""
    goal: tuple[float, float, float]
    corners: tuple[tuple[float, float, float], ...]
    """The shortest way from start to goal."""
    distance: float
    """Its length in metres."""
    target: Piece
    route: Route


def sample_paths(
    house: House, simulator: Simulator, count: int, random: Random, wanted: frozenset[tuple[str, str]] = frozenset()
) -> list[Path]:
    """Up to `count` different paths in a house whose scene is loaded.

    wanted: pairs of kind and colour that every second path shall lead to, where the house has one.
    """
    paths: list[Path] = []
    for number in range(count):
        for _ in range(TRIES):
            path = _sample(house, simulator, random, wanted if number % 2 == 0 else frozenset())
            if path is not None:
                paths.append(path)
                break
    return paths


def _sample(house: House, simulator: Simulator, random: Random, wanted: frozenset[tuple[str, str]]) -> Path | None:
    targets = list(targets_of(house))
    special = [piece for piece in targets if (piece.kind, piece.colour) in wanted]
    if not targets:
        return None
    target = random.choice(special or targets)
    starts = [room for room in house.plan.rooms if (room.name == target.room) == (house.level == "goto")]
    room = random.choice(starts)
    place = random.choice(free_places(house, room.name))
    start = snapped(simulator, *place)
    if start is None:
        return None
    goals = sorted(places_beside(house, target), key=lambda goal: np.hypot(goal[0] - start[0], goal[1] - start[2]))
    goal = next((spot for x, z in goals if (spot := snapped(simulator, x, z)) is not None), None)
    if goal is None or np.hypot(*(goal - start)[[0, 2]]) < LEAST[house.level] / 3:
        return None
    corners = simulator.shortest_path(start, goal)
    if len(corners) == 0:
        return None
    distance = simulator.geodesic(start, goal)
    yaw = float(random.randrange(0, 360, TURN))
    ahead = Pose.at(start, yaw).ahead
    route = describe_route(house, corners, (ahead[0], ahead[2]), target)
    low, high = ROOMS[house.level]
    if route is None or distance < LEAST[house.level] or not low <= len(route.legs) <= high:
        return None
    return Path(
        start=_point(start),
        yaw=yaw,
        goal=_point(goal),
        corners=tuple(_point(corner) for corner in corners),
        distance=float(distance),
        target=target,
        route=route,
    )


def targets_of(house: House) -> Iterator[Piece]:
    """The things to walk to: unique by colour and kind in their room, with another there that could be mistaken for
    them, alike in colour or kind, if all there is is one room."""
    for room in house.plan.rooms:
        pieces = house.pieces_in(room.name)
        for piece in nameable(pieces):
            alike = [
                other
                for other in pieces
                if other is not piece and (other.kind, other.colour) != (piece.kind, piece.colour)
            ]
            mistaken = any(other.kind == piece.kind or other.colour == piece.colour for other in alike if other.solid)
            if (mistaken or house.level != "goto") and any(True for _ in places_beside(house, piece)):
                yield piece


def free_places(house: House, room: str) -> list[tuple[float, float]]:
    """Where an agent can begin in a room."""
    box = house.plan.room(room).box
    cells = free_cells(box, [piece.box for piece in house.pieces_in(room) if piece.solid])
    rows, columns = np.nonzero(cells)
    return [(box.x0 + (c + 0.5) * CELL, box.z0 + (r + 0.5) * CELL) for r, c in zip(rows, columns, strict=True)]


def places_beside(house: House, piece: Piece) -> Iterator[tuple[float, float]]:
    """Free places before the middles of a thing's four sides."""
    x0, z0, x1, z1 = piece.box.grow(REACH)
    room = house.plan.room(piece.room).box
    others = [other.box for other in house.pieces_in(piece.room) if other.solid and other is not piece]
    for x, z in ((piece.x, z1), (x1, piece.z), (piece.x, z0), (x0, piece.z)):
        if room.grow(-0.25).holds(x, z) and all(other.distance(x, z) > 0.25 for other in others):
            yield x, z


def snapped(simulator: Simulator, x: float, z: float) -> np.ndarray | None:
    """The place on the floor as the simulator has it; None if one can't stand just there."""
    point = simulator.snap((x, 0.0, z))
    if point is None or abs(point[1]) > 0.25 or np.hypot(point[0] - x, point[2] - z) > 0.1:
        return None
    return point


def _point(values: np.ndarray) -> tuple[float, float, float]:
    x, y, z = (round(float(value), 5) for value in values)
    return x, y, z
