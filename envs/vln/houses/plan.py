"""Floor plans: rectangles of rooms, and the doors that connect all of them.

Seen from above, x goes right and z goes down the page, as in a y-up world.
"""

from dataclasses import dataclass, replace
from random import Random
from typing import Literal, NamedTuple, TypeAlias

WALL = 0.12
"""Thickness of the walls in metres."""
HEIGHT = 2.6
"""From floor to ceiling."""
DOOR_HEIGHT = 2.05

Level: TypeAlias = Literal["goto", "rooms", "houses"]
LEVELS: tuple[Level, ...] = ("goto", "rooms", "houses")

Side: TypeAlias = Literal["north", "east", "south", "west"]
SIDES: tuple[Side, ...] = ("north", "east", "south", "west")


class Box(NamedTuple):
    """A rectangle on the floor, in metres."""

    x0: float
    z0: float
    x1: float
    z1: float

    @property
    def width(self) -> float:
        return self.x1 - self.x0

    @property
    def depth(self) -> float:
        return self.z1 - self.z0

    @property
    def area(self) -> float:
        return self.width * self.depth

    @property
    def centre(self) -> tuple[float, float]:
        return (self.x0 + self.x1) / 2, (self.z0 + self.z1) / 2

    def grow(self, by: float) -> "Box":
        return Box(self.x0 - by, self.z0 - by, self.x1 + by, self.z1 + by)

    def overlaps(self, other: "Box") -> bool:
        return self.x0 < other.x1 and other.x0 < self.x1 and self.z0 < other.z1 and other.z0 < self.z1

    def contains(self, other: "Box") -> bool:
        return self.x0 <= other.x0 and self.z0 <= other.z0 and self.x1 >= other.x1 and self.z1 >= other.z1

    def holds(self, x: float, z: float) -> bool:
        return self.x0 <= x <= self.x1 and self.z0 <= z <= self.z1

    def distance(self, x: float, z: float) -> float:
        """From a point to the nearest point of the rectangle; 0 inside."""
        dx = max(self.x0 - x, 0.0, x - self.x1)
        dz = max(self.z0 - z, 0.0, z - self.z1)
        return float((dx * dx + dz * dz) ** 0.5)


@dataclass(frozen=True)
class Room:
    name: str
    """What it is for; no two rooms of a house have the same name."""
    box: Box
    """Its floor, between the inner faces of its walls."""


@dataclass(frozen=True)
class Opening:
    """A way through the wall between two rooms, without a leaf: nothing to open."""

    rooms: tuple[str, str]
    box: Box
    """The floor inside the wall."""

    @property
    def along_x(self) -> bool:
        """Whether the wall it is in runs along x."""
        return self.box.width > self.box.depth


@dataclass(frozen=True)
class Window:
    room: str
    side: Side
    low: float
    """Where it begins along its wall: a coordinate, x or z."""
    high: float


@dataclass(frozen=True)
class Plan:
    rooms: tuple[Room, ...]
    doors: tuple[Opening, ...]
    windows: tuple[Window, ...]

    def room(self, name: str) -> Room:
        return next(room for room in self.rooms if room.name == name)

    def room_at(self, x: float, z: float) -> Room | None:
        """The room around a point; None inside a wall or a door."""
        return next((room for room in self.rooms if room.box.holds(x, z)), None)

    def doors_of(self, name: str) -> list[Opening]:
        return [door for door in self.doors if name in door.rooms]

    @property
    def bounds(self) -> Box:
        boxes = [room.box for room in self.rooms]
        return Box(
            min(b.x0 for b in boxes), min(b.z0 for b in boxes), max(b.x1 for b in boxes), max(b.z1 for b in boxes)
        )


SINGLE = ("living room", "bedroom", "dining room", "guest room", "office", "playroom", "kitchen")
"""What the one room of a goto scene may be."""
FEW = ("kitchen", "bedroom", "dining room", "office", "playroom", "guest room", "bathroom")
"""What joins the living room in a scene of a few rooms."""
MANY = ("kitchen", "bathroom", "bedroom", "dining room", "office", "guest room", "playroom", "laundry room")
"""What joins the living room in a house with a hallway, the indispensable first."""
SMALL = ("bathroom", "laundry room")
LEAST_SIDE = 2.3
"""No room is narrower, except the hallway."""


def draw_plan(level: Level, random: Random) -> Plan:
    """A plan of one room (goto), three or four (rooms), or six to eight (houses)."""
    if level == "goto":
        name = random.choice(SINGLE)
        plan = Plan((Room(name, Box(0, 0, random.uniform(4.2, 6.2), random.uniform(4.0, 5.4))),), (), ())
    elif level == "rooms":
        count = random.choice((3, 3, 4))
        side = (7.6 if count == 3 else 9.0) * random.uniform(0.92, 1.1)
        outline = Box(0, 0, side, 42 * count / 3 / side * random.uniform(0.92, 1.1))
        boxes = _split(outline, count, random)
        while min(min(box.width, box.depth) for box in boxes) < LEAST_SIDE:
            boxes = _split(outline, count, random)
        plan = _connect(_name_rooms(boxes, FEW, random), random)
    else:
        boxes, hallway = _around_hallway(random.choice((5, 6, 7)), random)
        rooms = [*_name_rooms(boxes, MANY, random), Room("hallway", hallway)]
        plan = _connect(rooms, random)
    plan = _mirrored(plan, random)
    return replace(plan, windows=tuple(_windows(plan, random)))


def _split(box: Box, count: int, random: Random) -> list[Box]:
    """Cut a rectangle into `count` smaller ones, always across its longer side."""
    if count == 1:
        return [box]
    first = count // 2 if count % 2 == 0 else random.choice((count // 2, count // 2 + 1))
    share = first / count * random.uniform(0.9, 1.1)
    if box.width >= box.depth:
        cut = box.x0 + box.width * share
        parts = Box(box.x0, box.z0, cut - WALL / 2, box.z1), Box(cut + WALL / 2, box.z0, box.x1, box.z1)
    else:
        cut = box.z0 + box.depth * share
        parts = Box(box.x0, box.z0, box.x1, cut - WALL / 2), Box(box.x0, cut + WALL / 2, box.x1, box.z1)
    return [*_split(parts[0], first, random), *_split(parts[1], count - first, random)]


def _around_hallway(count: int, random: Random) -> tuple[list[Box], Box]:
    """Two rows of rooms with a hallway between them; the rows may end at different places."""
    above = count // 2 if random.random() < 0.5 else count - count // 2
    wide = random.uniform(1.5, 1.9)
    boxes: list[Box] = []
    ends: list[float] = []
    for number, z0, z1 in (
        (above, -random.uniform(3.4, 4.6) - WALL, -WALL),
        (count - above, wide + WALL, wide + WALL + random.uniform(3.4, 4.6)),
    ):
        x = 0.0
        small = random.randrange(number)  # one narrow room in each row: a bathroom fits there
        for i in range(number):
            width = random.uniform(2.3, 2.9) if i == small else random.uniform(3.4, 4.8)
            boxes.append(Box(x, z0, x + width, z1))
            x += width + WALL
        ends.append(x - WALL)
    # The hallway ends with the shorter row if it touches every room by more than a door's width even so.
    end = random.choice(ends) if all(min(box.x1, min(ends)) - box.x0 > 1.4 for box in boxes) else max(ends)
    return boxes, Box(0, 0, end, wide)


def _name_rooms(boxes: list[Box], purposes: tuple[str, ...], random: Random) -> list[Room]:
    """Purposes to rectangles: the largest is the living room, the smallest ones become bathroom and laundry."""
    others = list(purposes)
    if purposes is FEW:
        random.shuffle(others)
    else:
        tail = others[3:]
        random.shuffle(tail)
        others = others[:3] + tail
    chosen = others[: len(boxes) - 1]
    small = [name for name in SMALL if name in chosen]
    large = [name for name in chosen if name not in small]
    random.shuffle(large)
    by_area = sorted(boxes, key=lambda box: box.area)
    names = [*small, *large, "living room"]
    return [Room(name, box) for name, box in zip(names, by_area, strict=True)]


def _connect(rooms: list[Room], random: Random) -> Plan:
    """Put doors into shared walls: from the hallway to everywhere; else a tree that reaches all, and a few more."""
    walls = [
        (a, b, shared)
        for i, a in enumerate(rooms)
        for b in rooms[i + 1 :]
        if (shared := _shared(a.box, b.box)) is not None
    ]
    random.shuffle(walls)
    walls.sort(key=lambda wall: "hallway" not in (wall[0].name, wall[1].name))
    group = {room.name: room.name for room in rooms}
    doors = []
    for a, b, shared in walls:
        joins = group[a.name] != group[b.name]
        public = not {a.name, b.name} & {"bathroom", "bedroom", "guest room", "laundry room"}
        if not joins and not (public and random.random() < 0.5):
            continue
        if joins:
            old, new = group[a.name], group[b.name]
            group = {name: new if of == old else of for name, of in group.items()}
        doors.append(_door(a, b, shared, public, random))
    if len(set(group.values())) > 1:
        raise AssertionError("rooms of a cut rectangle always share walls that are wide enough for a door")
    return Plan(tuple(rooms), tuple(doors), ())


def _shared(a: Box, b: Box) -> Box | None:
    """The piece of wall between two rooms, if a door fits into it."""
    x0, x1 = max(a.x0, b.x0), min(a.x1, b.x1)
    z0, z1 = max(a.z0, b.z0), min(a.z1, b.z1)
    if abs(x0 - x1 - WALL) < 1e-6 and z1 - z0 > 1.3:
        return Box(x1, z0, x0, z1)
    if abs(z0 - z1 - WALL) < 1e-6 and x1 - x0 > 1.3:
        return Box(x0, z1, x1, z0)
    return None


def _door(a: Room, b: Room, wall: Box, public: bool, random: Random) -> Opening:
    along_x = wall.width > wall.depth
    length = wall.width if along_x else wall.depth
    wide = random.uniform(1.4, 1.8) if public and length > 2.6 and random.random() < 0.4 else 0.95
    room = length - wide - 0.3
    low = (wall.x0 if along_x else wall.z0) + 0.15 + room * random.choice((0.08, 0.3, 0.5, 0.7, 0.92))
    box = Box(low, wall.z0, low + wide, wall.z1) if along_x else Box(wall.x0, low, wall.x1, low + wide)
    return Opening((a.name, b.name), box)


def _mirrored(plan: Plan, random: Random) -> Plan:
    """Flip and turn the plan at random, and move its corner to the origin."""
    flip_x, flip_z, swap = (random.random() < 0.5 for _ in range(3))

    def turn(box: Box) -> Box:
        x0, z0, x1, z1 = box
        if flip_x:
            x0, x1 = -x1, -x0
        if flip_z:
            z0, z1 = -z1, -z0
        return Box(z0, x0, z1, x1) if swap else Box(x0, z0, x1, z1)

    rooms = [turn(room.box) for room in plan.rooms]
    x, z = min(box.x0 for box in rooms), min(box.z0 for box in rooms)

    def move(box: Box) -> Box:
        return Box(*(round(v, 4) for v in (box.x0 - x, box.z0 - z, box.x1 - x, box.z1 - z)))

    return Plan(
        tuple(Room(room.name, move(box)) for room, box in zip(plan.rooms, rooms, strict=True)),
        tuple(Opening(door.rooms, move(turn(door.box))) for door in plan.doors),
        (),
    )


def _windows(plan: Plan, random: Random) -> list[Window]:
    """One or two for every room with an outer wall that is long enough."""
    windows = []
    for room in plan.rooms:
        sides = [side for side in SIDES if _is_outer(plan, room, side)]
        random.shuffle(sides)
        for side in sides[: 1 if room.name in (*SMALL, "hallway") else 2]:
            low, high = span(room.box, side)
            wide = min(random.uniform(1.0, 1.6), high - low - 0.6)
            if wide < 0.5:
                continue
            middle = (low + high) / 2 + random.uniform(-0.5, 0.5) * (high - low - wide - 0.4)
            windows.append(Window(room.name, side, round(middle - wide / 2, 4), round(middle + wide / 2, 4)))
    return windows


def span(box: Box, side: Side) -> tuple[float, float]:
    """Where the wall at this side begins and ends: x for north and south, z for east and west."""
    return (box.x0, box.x1) if side in ("north", "south") else (box.z0, box.z1)


def _is_outer(plan: Plan, room: Room, side: Side) -> bool:
    strip = side_strip(room.box, side, WALL * 1.5, outside=True)
    return not any(other.box.overlaps(strip) for other in plan.rooms if other is not room)


def side_strip(box: Box, side: Side, depth: float, *, outside: bool = False) -> Box:
    """The strip of this depth along one wall, inside the room or outside."""
    x0, z0, x1, z1 = box
    out = depth if outside else 0.0
    inn = 0.0 if outside else depth
    match side:
        case "north":
            return Box(x0, z0 - out, x1, z0 + inn)
        case "south":
            return Box(x0, z1 - inn, x1, z1 + out)
        case "west":
            return Box(x0 - out, z0, x0 + inn, z1)
        case "east":
            return Box(x1 - inn, z0, x1 + out, z1)
