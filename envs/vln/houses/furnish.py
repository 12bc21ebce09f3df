"""Put furniture where people would: against walls, around tables, out of the way of doors, and never in the way."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import NamedTuple, Protocol

import numpy as np

from dynalang_py.envs.vln.houses.catalogue import KINDS, RECIPES, Wish
from dynalang_py.envs.vln.houses.plan import SIDES, Box, Plan, Room, Side, side_strip, span
from dynalang_py.envs.vln.houses.solids import Solid

GAP = 0.03
"""Metres between a piece and the wall behind it, and at least between two pieces."""
FRONT = 0.45
"""Metres before a piece at a wall that stay free, so that it can be used."""
DOOR_FREE = 0.9
"""Metres on both sides of a door that stay free."""
PASSAGE = 0.25
"""Half the width of the passages that must remain: more than the radius of any agent (0.1 to 0.2 m)."""
CELL = 0.1
"""Metres per cell of the map that checks for passages."""
TRIES = 40


class Model(NamedTuple):
    """A piece of furniture as its supplier has it."""

    name: str
    colour: str
    size: tuple[float, float, float]
    """Width, depth and height in metres."""


class Supplier(Protocol):
    """Who makes the furniture: built-in shapes, or a catalogue of real models."""

    def choose(self, kind: str, refused: Collection[tuple[str, str]], random: Random) -> Model | None:
        """A model of this kind that is none of the refused (kind, colour) pairs; None if there is none."""

    def solids(self, piece: "Piece") -> list[Solid]:
        """What it looks like: x along its width, y up from 0, its front towards +z, centred."""

    def credit(self, name: str) -> str | None:
        """The line of attribution that a model's licence asks for."""


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A piece of furniture in its place."""

    name: str
    """Unique in its house: its kind and a number."""
    kind: str
    colour: str
    room: str
    x: float
    z: float
    turn: int
    """Quarter turns to the left from looking south (+z): 0 south, 1 east, 2 north, 3 west."""
    size: tuple[float, float, float]
    """Width, depth and height in metres, as it is made."""
    elevation: float = 0.0
    """Metres from the floor to its lower edge."""
    model: str

    @property
    def box(self) -> Box:
        """Where it stands."""
        w, d = self.size[:2] if self.turn % 2 == 0 else self.size[1::-1]
        return Box(self.x - w / 2, self.z - d / 2, self.x + w / 2, self.z + d / 2)

    @property
    def solid(self) -> bool:
        return KINDS[self.kind].solid


FACING: dict[Side, int] = {"north": 0, "west": 1, "south": 2, "east": 3}
"""Turn of a piece whose back is at this side of the room."""
_AHEAD = ((0, 1), (1, 0), (0, -1), (-1, 0))  # (x, z) by turn


class Furnisher:
    """Furnishes the rooms of one house, one wish after the other; what finds no place is left out."""

    def __init__(
        self, plan: Plan, supplier: Supplier, random: Random, refused: Collection[tuple[str, str]] = ()
    ) -> None:
        self.plan, self.supplier, self.random, self.refused = plan, supplier, random, refused
        self.pieces: list[Piece] = []
        self._numbers: dict[str, int] = {}

    def furnish(self, room: Room, wishes: Sequence[Wish] | None = None) -> None:
        """Place what the room's recipe (or this list) wishes for."""
        anchors: dict[str, Piece] = {}
        for wish in RECIPES[room.name] if wishes is None else wishes:
            if self.random.random() >= wish.chance or (wish.near is not None and wish.near not in anchors):
                continue
            alike = None  # chairs around one table are a set
            for _ in range(wish.count):
                model = alike or self.supplier.choose(wish.kind, self.refused, self.random)
                if model is None:
                    break
                alike = model
                piece = self.place(room, wish.kind, model, anchors.get(wish.near or ""))
                if piece is not None:
                    anchors.setdefault(wish.kind, piece)

    def place(self, room: Room, kind: str, model: Model, anchor: Piece | None = None) -> Piece | None:
        """Try places until one is good; None if none was."""
        here = [piece for piece in self.pieces if piece.room == room.name]
        number = self._numbers.get(kind, 0) + 1
        options = self._options(room, kind, model, anchor)
        for x, z, turn, elevation in options:
            piece = Piece(
                name=f"{kind}_{number}",
                kind=kind,
                colour=model.colour,
                room=room.name,
                x=round(x, 4),
                z=round(z, 4),
                turn=turn,
                size=model.size,
                elevation=round(elevation, 4),
                model=model.name,
            )
            if self._fits(room, piece, here, anchor):
                self.pieces.append(piece)
                self._numbers[kind] = number
                return piece
        return None

    def _options(
        self, room: Room, kind: str, model: Model, anchor: Piece | None
    ) -> Iterator[tuple[float, float, int, float]]:
        place, random = KINDS[kind].place, self.random
        if anchor is not None and kind in ("chair", "stool"):
            yield from self._around(anchor, model)
        elif anchor is not None and kind == "rug":
            x, z = _before(anchor, anchor.size[1] / 2 + model.size[1] / 2 + 0.15)
            yield x, z, anchor.turn, 0.0
        elif anchor is not None and kind == "television":
            for _ in range(TRIES):  # on the wall that the sofa looks at
                yield self._at_wall(room, SIDES[(SIDES.index(_back(anchor)) + 2) % 4], model, anchor)
        elif anchor is not None:
            yield from self._beside(anchor, model)
            for _ in range(TRIES):
                yield self._at_wall(room, random.choice(SIDES), model)
        elif place == "wall":
            for _ in range(TRIES):
                yield self._at_wall(room, random.choice(SIDES), model)
        elif place == "hung":
            for _ in range(TRIES):
                x, z, turn, _y = self._at_wall(room, random.choice(SIDES), model, gap=0.005)
                yield x, z, turn, 1.55 - model.size[2] / 2
        elif place == "corner":
            corners = [(side, end) for side in SIDES for end in (0, 1)]
            random.shuffle(corners)
            for side, end in corners:
                low, high = span(room.box, side)
                half = model.size[0] / 2 + 0.08
                x, z, turn, y = self._at_wall(room, side, model, gap=0.08)
                at = high - half if end else low + half
                yield (at, z, turn, y) if side in ("north", "south") else (x, at, turn, y)
            for _ in range(TRIES):
                yield self._at_wall(room, random.choice(SIDES), model, gap=0.08)
        else:
            for i in range(TRIES):
                reach = 0.25 if i < 10 else 0.8  # tables and rugs like the middle
                x, z = (
                    low + (high - low) * (0.5 + reach * random.uniform(-0.5, 0.5))
                    for low, high in ((room.box.x0, room.box.x1), (room.box.z0, room.box.z1))
                )
                turn = random.randrange(4)
                if model.size[0] > 1.1:  # long ones run along the room
                    turn = turn // 2 * 2 + (room.box.depth > room.box.width)
                yield x, z, turn, 0.0

    def _at_wall(
        self, room: Room, side: Side, model: Model, facing: Piece | None = None, gap: float = GAP
    ) -> tuple[float, float, int, float]:
        low, high = span(room.box, side)
        half = model.size[0] / 2 + GAP
        at = self.random.uniform(low + half, max(low + half, high - half))
        if facing is not None:
            at = (facing.x if side in ("north", "south") else facing.z) + self.random.uniform(-0.3, 0.3)
        back = gap + model.size[1] / 2
        x0, z0, x1, z1 = room.box
        x, z = {
            "north": (at, z0 + back),
            "south": (at, z1 - back),
            "west": (x0 + back, at),
            "east": (x1 - back, at),
        }[side]
        return x, z, FACING[side], 0.0

    def _around(self, table: Piece, model: Model) -> Iterator[tuple[float, float, int, float]]:
        """Places at the sides of a table, or before a desk, looking at it."""
        w, d, _ = table.size
        along = (-w / 4, w / 4) if w > 1.1 else (0.0,)
        sides = (0, 2) if table.kind == "table" else (0,)
        places = [(turn, shift) for shift in (along if table.kind == "table" else (0.0,)) for turn in sides]
        if table.kind == "table":
            places += [(1, 0.0), (3, 0.0)]
        for quarter, shift in places:
            turn = (table.turn + quarter) % 4
            (ax, az), reach = _AHEAD[turn], (d if quarter % 2 == 0 else w) / 2 + model.size[1] / 2 + 0.06
            yield table.x + ax * reach + az * shift, table.z + az * reach + ax * shift, (turn + 2) % 4, 0.0

    def _beside(self, anchor: Piece, model: Model) -> Iterator[tuple[float, float, int, float]]:
        """To the right or left of a piece, with its back at the same wall."""
        (ax, az), signs = _AHEAD[anchor.turn], [-1, 1]
        self.random.shuffle(signs)
        for sign in signs:
            shift = sign * (anchor.size[0] / 2 + model.size[0] / 2 + GAP + 0.01)
            back = (model.size[1] - anchor.size[1]) / 2
            yield anchor.x + az * shift + ax * back, anchor.z + ax * shift + az * back, anchor.turn, 0.0

    def _fits(self, room: Room, piece: Piece, here: list[Piece], anchor: Piece | None) -> bool:
        if not room.box.contains(piece.box):
            return False
        if piece.kind == "rug":
            return all(other.kind != "rug" for other in here)
        windows = [window for window in self.plan.windows if window.room == room.name]
        for window in windows:
            low, high = window.low - 0.1, window.high + 0.1
            strip = side_strip(room.box, window.side, 0.3)
            behind = strip._replace(x0=low, x1=high) if window.side in ("north", "south") else strip
            behind = behind if window.side in ("north", "south") else strip._replace(z0=low, z1=high)
            if piece.elevation + piece.size[2] > 1.2 and piece.box.overlaps(behind):
                return False
        doors = self.plan.doors_of(room.name)
        if not piece.solid:
            tall = [o for o in here if o.elevation + o.size[2] > piece.elevation - 0.05 and o.kind != "rug"]
            return not any(piece.box.grow(0.1).overlaps(o.box) for o in tall) and not any(
                piece.box.overlaps(door.box.grow(0.25)) for door in doors
            )
        if any(piece.box.overlaps(door_zone(door.box, door.along_x)) for door in doors):
            return False
        solid = [other for other in here if other.solid]
        if any(piece.box.grow(GAP).overlaps(other.box) for other in solid):
            return False
        hung = [other for other in here if other.kind in ("picture", "mirror")]
        if piece.size[2] > 1.1 and any(piece.box.grow(0.1).overlaps(other.box) for other in hung):
            return False
        if any(piece.box.overlaps(_front(other)) for other in solid if other is not anchor and _is_used(other)):
            return False
        if _is_used(piece) and any(_front(piece).overlaps(other.box) for other in solid):
            return False
        if _is_used(piece) and not room.box.grow(1e-6).contains(_front(piece)):
            return False
        return is_walkable(room, [*solid, piece], [door.box for door in doors])


def door_zone(door: Box, along_x: bool) -> Box:
    """What stays free around a door."""
    x0, z0, x1, z1 = door
    return (
        Box(x0 - 0.05, z0 - DOOR_FREE, x1 + 0.05, z1 + DOOR_FREE)
        if along_x
        else Box(x0 - DOOR_FREE, z0 - 0.05, x1 + DOOR_FREE, z1 + 0.05)
    )


def is_walkable(room: Room, solid: Sequence[Piece], doors: Sequence[Box]) -> bool:
    """Whether the free floor of a room is one place that touches all its doors, but for small pockets."""
    free = free_cells(room.box, [piece.box for piece in solid])
    start = int(free.argmax())
    if not free.flat[start]:
        return False
    regions = free.copy()
    best = np.zeros_like(free)
    while regions.any():
        region = _flood(regions, int(regions.argmax()))
        best = region if region.sum() > best.sum() else best
        regions &= ~region
        if best.sum() >= regions.sum():
            break
    return best.sum() >= 0.85 * free.sum() and all(
        best[_cells(room.box, door.grow(PASSAGE + 2 * CELL))].any() for door in doors
    )


def free_cells(room: Box, pieces: Sequence[Box]) -> np.ndarray:
    """(rows along z, columns along x): where a disc of radius `PASSAGE` has room."""
    rows, columns = (max(1, round(length / CELL)) for length in (room.depth, room.width))
    free = np.zeros((rows, columns), bool)
    free[_cells(room, room.grow(-PASSAGE))] = True
    for piece in pieces:
        free[_cells(room, piece.grow(PASSAGE))] = False
    return free


def _cells(room: Box, box: Box) -> tuple[slice, slice]:
    """The cells whose centres lie in a box."""
    x0, x1 = (max(0, int(np.ceil((x - room.x0) / CELL - 0.5))) for x in (box.x0, box.x1))
    z0, z1 = (max(0, int(np.ceil((z - room.z0) / CELL - 0.5))) for z in (box.z0, box.z1))
    return slice(z0, z1), slice(x0, x1)


def _flood(free: np.ndarray, start: int) -> np.ndarray:
    """All free cells that are connected with one of them."""
    found = np.zeros_like(free)
    found.flat[start] = True
    count = 0
    while (now := int(found.sum())) > count:
        count = now
        for _ in range(4):  # a few steps per look
            found[1:] |= found[:-1]
            found[:-1] |= found[1:]
            found[:, 1:] |= found[:, :-1]
            found[:, :-1] |= found[:, 1:]
            found &= free
    return found


def _back(piece: Piece) -> Side:
    return next(side for side, turn in FACING.items() if turn == piece.turn)


def _before(piece: Piece, distance: float) -> tuple[float, float]:
    ax, az = _AHEAD[piece.turn]
    return piece.x + ax * distance, piece.z + az * distance


def _is_used(piece: Piece) -> bool:
    return KINDS[piece.kind].place == "wall"


def _front(piece: Piece) -> Box:
    """What stays free before it."""
    x, z = _before(piece, piece.size[1] / 2 + FRONT / 2)
    w, d = (piece.size[0], FRONT) if piece.turn % 2 == 0 else (FRONT, piece.size[0])
    return Box(x - w / 2, z - d / 2, x + w / 2, z + d / 2)
