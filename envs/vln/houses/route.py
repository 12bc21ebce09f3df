"""What a person would notice on a path through a house: turns, doors, rooms, and things passed by."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from dynalang_py.envs.vln.houses.furnish import Piece
from dynalang_py.envs.vln.houses.house import House
from dynalang_py.envs.vln.houses.plan import Opening

Turn: TypeAlias = Literal["left", "right", "around"]
SPACING = 0.1
"""Metres between the points of a path as it is judged here."""
BEND = 40.0
"""Degrees from which a change of direction is worth a word."""
BEHIND = 135.0
"""Degrees from which one turns around."""
PASSING = 1.3
"""Metres within which a thing is passed by."""


@dataclass(frozen=True)
class Passed:
    piece: Piece
    words: str
    side: Literal["left", "right"]


@dataclass(frozen=True)
class Leg:
    """The part of a path that lies in one room."""

    room: str
    entered: Turn | None = None
    """The turn that leads through the door into it; None straight ahead."""
    turn: Turn | None = None
    """The turn after that door."""
    passed: Passed | None = None
    """The thing that the path passes most closely."""


@dataclass(frozen=True)
class Route:
    turn: Turn | None
    """The turn at the start; None if the way leads on straight ahead."""
    legs: tuple[Leg, ...]
    """Room by room; the first is where the path begins."""
    target: str
    """Where to stop: words that mean one thing in the last room."""

    @property
    def rooms(self) -> tuple[str, ...]:
        return tuple(leg.room for leg in self.legs)


def words_for(piece: Piece) -> str:
    return f"{piece.colour} {piece.kind}"


def nameable(pieces: Sequence[Piece]) -> list[Piece]:
    """The pieces that can be walked up to and that colour and kind tell from all others in the room."""
    count = Counter(words_for(piece) for piece in pieces)
    return [piece for piece in pieces if piece.solid and count[words_for(piece)] == 1]


def describe_route(house: House, path: np.ndarray, heading: tuple[float, float], target: Piece) -> Route | None:
    """What to say about a path; None if it leads through a room twice, which no short sentence makes clear.

    path: (N, 3) metres from start to goal. heading: where the agent looks first, as a direction (x, z).
    """
    points = resample(path[:, [0, 2]])
    crossings = _crossings(house, points)
    rooms = [_room_at(house, points[0])]
    for _, door in crossings:
        a, b = door.rooms
        if rooms[-1] not in (a, b):
            return None
        rooms.append(b if a == rooms[-1] else a)
    if len(set(rooms)) < len(rooms) or rooms[-1] != target.room:
        return None
    first = _ahead(points, 0)
    bounds = [0, *(index for index, _ in crossings), len(points) - 1]
    legs = []
    for i, room in enumerate(rooms):
        entered = turn = None
        begin, end = bounds[i], bounds[i + 1]
        if i > 0:
            through = _through(crossings[i - 1][1], points, begin)
            before = begin - bounds[i - 1]
            if before > 8:  # else the turn at the start, or after the last door, has said it
                entered = _turn(_direction(points, begin - min(before, 20), begin - 6), through)
            if end - begin > 12:
                turn = _turn(through, _direction(points, begin + 5, min(end, begin + 20)))
        passed = _passed(house, room, points, begin, end, target)
        legs.append(Leg(room, _sideways(entered), _sideways(turn), passed))
    return Route(_turn(np.array(heading), first), tuple(legs), words_for(target))


def resample(path: np.ndarray) -> np.ndarray:
    """(N, 2) corners → (M, 2) points every `SPACING` metres along them."""
    steps = np.linalg.norm(np.diff(path, axis=0), axis=1)
    along = np.concatenate([[0.0], np.cumsum(steps)])
    at = np.linspace(0, along[-1], max(2, round(along[-1] / SPACING) + 1))
    return np.stack([np.interp(at, along, path[:, 0]), np.interp(at, along, path[:, 1])], 1)


def _crossings(house: House, points: np.ndarray) -> list[tuple[int, Opening]]:
    """Doors in the order in which the path goes through them, with the index of the point inside."""
    found: list[tuple[int, Opening]] = []
    inside = None
    for i, (x, z) in enumerate(points):
        door = next((door for door in house.plan.doors if door.box.holds(x, z)), None)
        if door is not None and door is not inside:
            found.append((i, door))
        inside = door
    return found


def _room_at(house: House, point: np.ndarray) -> str:
    room = house.plan.room_at(point[0], point[1])
    return "" if room is None else room.name


def _ahead(points: np.ndarray, index: int) -> np.ndarray:
    return _direction(points, index, min(len(points) - 1, index + 8))


def _direction(points: np.ndarray, begin: int, end: int) -> np.ndarray:
    return points[end] - points[max(0, begin)]


def _through(door: Opening, points: np.ndarray, index: int) -> np.ndarray:
    """Square through the door, the way that the path goes."""
    way = points[min(len(points) - 1, index + 2)] - points[max(0, index - 2)]
    return np.array([0.0, np.sign(way[1])]) if door.along_x else np.array([np.sign(way[0]), 0.0])


def _turn(before: np.ndarray, after: np.ndarray) -> Turn | None:
    angle = _angle(before, after)
    if abs(angle) < BEND:
        return None
    if abs(angle) > BEHIND:
        return "around"
    return "left" if angle > 0 else "right"


def _sideways(turn: Turn | None) -> Turn | None:
    """On the way nobody turns around."""
    return None if turn == "around" else turn


def _angle(before: np.ndarray, after: np.ndarray) -> float:
    """Degrees to the left, seen from above: x right, z down the page."""
    (ax, az), (bx, bz) = before, after
    return float(np.degrees(np.arctan2(az * bx - ax * bz, ax * bx + az * bz)))


def _passed(house: House, room: str, points: np.ndarray, begin: int, end: int, target: Piece) -> Passed | None:
    """The nameable thing nearest to the middle of this leg that lies beside it."""
    best, found = PASSING, None
    for piece in nameable(house.pieces_in(room)):
        if piece.name == target.name:
            continue
        distances = [piece.box.distance(x, z) for x, z in points[begin : end + 1]]
        at = int(np.argmin(distances))
        if not 6 <= at <= end - begin - 6 or distances[at] >= best:
            continue
        way = _direction(points, begin + at - 4, min(len(points) - 1, begin + at + 4))
        angle = _angle(way, np.array(piece.box.centre) - points[begin + at])
        if 40 < abs(angle) < 140:
            best = distances[at]
            found = Passed(piece, words_for(piece), "left" if angle > 0 else "right")
    return found
