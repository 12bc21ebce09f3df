"""A house as triangles: rooms with textures, door frames, windows and furniture, in one GLB file (y up, metres).

The scene is meant to be shown without lamps, so light from above is painted on: each face of a plain colour is shaded
by its direction, and walls by the side they stand on.
"""

import io
from collections.abc import Iterable, Sequence
from random import Random
from typing import Any

import numpy as np

from dynalang_py.envs.contract import require
from dynalang_py.envs.vln.houses import textures
from dynalang_py.envs.vln.houses.catalogue import RGB
from dynalang_py.envs.vln.houses.furnish import Piece, Supplier
from dynalang_py.envs.vln.houses.plan import DOOR_HEIGHT, HEIGHT, SIDES, Box, Opening, Plan, Room, Side, Window, span
from dynalang_py.envs.vln.houses.solids import Solid, box

TILE = 1.6
"""Metres that one picture of a floor or wall covers."""
CEILING: RGB = (244, 243, 238)
FRAME: RGB = (236, 234, 226)
LIGHT: dict[Side, float] = {"north": 1.0, "south": 0.96, "west": 0.88, "east": 0.91}
WALL_COLOURS: tuple[RGB, ...] = (
    (236, 226, 204),
    (214, 228, 236),
    (224, 236, 214),
    (240, 216, 206),
    (228, 220, 238),
    (246, 236, 186),
    (206, 226, 220),
    (232, 206, 184),
    (220, 220, 220),
)
FLOORS: dict[str, tuple[tuple[str, RGB], ...]] = {
    "wet": (("tiles", (206, 214, 218)), ("checker", (214, 208, 196)), ("tiles", (170, 196, 206))),
    "dry": (
        ("planks", (184, 138, 92)),
        ("planks", (146, 104, 68)),
        ("parquet", (198, 156, 104)),
        ("carpet", (158, 150, 140)),
        ("carpet", (120, 132, 150)),
    ),
}
WET = ("bathroom", "kitchen", "laundry room")


class Palette:
    """All plain colours of a house in one small picture: one material serves every piece."""

    BLOCK, COLUMNS = 4, 64

    def __init__(self) -> None:
        self._at: dict[RGB, int] = {}

    def uv(self, colours: np.ndarray) -> np.ndarray:
        """(N, 3) uint8 → (N, 2): where each colour lies."""
        unique, inverse = np.unique(colours, axis=0, return_inverse=True)
        limit = self.COLUMNS**2
        at = np.array([self._at.setdefault((int(r), int(g), int(b)), len(self._at)) for r, g, b in unique])
        if len(self._at) > limit:
            raise AssertionError(f"a house has at most {limit} shades")
        row, column = np.divmod(at, self.COLUMNS)
        centre = np.stack([column + 0.5, self.COLUMNS - row - 0.5], 1) / self.COLUMNS
        return centre[inverse.reshape(-1)]

    def picture(self) -> np.ndarray:
        """(256, 256, 3) uint8"""
        cells = np.zeros((self.COLUMNS**2, 3), np.uint8)
        cells[: len(self._at)] = list(self._at)
        return cells.reshape(self.COLUMNS, self.COLUMNS, 3).repeat(self.BLOCK, 0).repeat(self.BLOCK, 1)


def build_glb(plan: Plan, pieces: Sequence[Piece], supplier: Supplier, seed: str) -> bytes:
    """The house as a GLB file; the same arguments give the same bytes."""
    trimesh = require("trimesh", extra="vln", task="building houses")
    scene = trimesh.Scene()
    palette = Palette()
    pictures: dict[bytes, Any] = {}
    plain: list[tuple[str, list[Solid]]] = []
    random = Random(seed)
    wall_colours = random.sample(WALL_COLOURS, len(plan.rooms))
    for room, colour in zip(plan.rooms, wall_colours, strict=True):
        style, paint = random.choice(FLOORS["wet" if room.name in WET else "dry"])
        rng = np.random.default_rng([ord(letter) for letter in seed + room.name])
        wallpaper = random.choice(textures.WALLS)
        name = room.name.replace(" ", "_")
        _add(
            trimesh,
            scene,
            f"{name}.floor",
            _floor(plan, room),
            textures.png(textures.floor(style, paint, rng)),
            pictures,
        )
        _add(trimesh, scene, f"{name}.ceiling", [_ceiling(room)], textures.png(textures.plain(CEILING)), pictures)
        for side in SIDES:
            picture = textures.png(textures.wall(wallpaper, colour, LIGHT[side]))
            _add(trimesh, scene, f"{name}.wall.{side}", _wall(plan, room, side), picture, pictures)
        plain.append((f"{name}.frames", [part for door in plan.doors_of(room.name) for part in _frame(room, door)]))
    for i, door in enumerate(plan.doors):
        plain.append((f"door_{i}.lining", _lining(door)))
    view = textures.png(textures.window())
    for i, window in enumerate(plan.windows):
        pane, frame = _window(plan.room(window.room).box, window)
        _add(trimesh, scene, f"window_{i}", [pane], view, pictures)
        plain.append((f"window_{i}.frame", frame))
    for piece in pieces:
        solids = [_placed(solid, piece) for solid in supplier.solids(piece)]
        plain.append((piece.name, [solid for solid in solids if solid.picture is None]))
        painted = [solid for solid in solids if solid.picture is not None]
        for i, solid in enumerate(painted):
            assert solid.picture is not None
            assert solid.uv is not None
            _add(
                trimesh, scene, f"{piece.name}.{i}", [(solid.vertices, solid.faces, solid.uv)], solid.picture, pictures
            )
    parts = [(name, _shaded(solids, palette)) for name, solids in plain if solids]
    picture = textures.png(palette.picture())
    for name, part in parts:
        _add(trimesh, scene, name, [part], picture, pictures)
    return scene.export(file_type="glb")


Part = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Vertices (N, 3), faces (M, 3), texture coordinates (N, 2)."""


def _add(
    trimesh: Any, scene: Any, name: str, parts: Iterable[Part], picture: bytes, pictures: dict[bytes, Any]
) -> None:
    """Put a mesh with one picture into the scene; equal pictures share one material."""
    vertices, faces, uvs, count = [], [], [], 0
    for v, f, uv in parts:
        vertices.append(v)
        faces.append(f + count)
        uvs.append(uv)
        count += len(v)
    if not vertices:
        return
    if picture not in pictures:
        from PIL import Image

        pictures[picture] = trimesh.visual.material.PBRMaterial(
            name=f"material_{len(pictures)}",
            baseColorTexture=Image.open(io.BytesIO(picture)),
            metallicFactor=0.0,
            roughnessFactor=1.0,
        )
    visual = trimesh.visual.TextureVisuals(uv=np.concatenate(uvs), material=pictures[picture])
    corners, triangles = np.concatenate(vertices).astype(np.float32), np.concatenate(faces)
    mesh = trimesh.Trimesh(corners, triangles[_area(corners[triangles]) > 1e-9], visual=visual, process=False)
    scene.add_geometry(mesh, node_name=name, geom_name=name)


def _quad(corners: Sequence[tuple[float, float, float]], uv: Sequence[tuple[float, float]]) -> Part:
    """Four corners counter-clockwise, as seen from where it shall be seen."""
    return np.array(corners, float), np.array([[0, 1, 2], [0, 2, 3]]), np.array(uv, float)


def _floor(plan: Plan, room: Room) -> list[Part]:
    """The floor of a room and of the half doorways that lead out of it."""
    boxes = [room.box]
    for door in plan.doors_of(room.name):
        (x0, z0, x1, z1), (cx, cz) = door.box, door.box.centre
        if door.along_x:
            boxes.append(Box(x0, z0, x1, cz) if room.box.z1 <= cz else Box(x0, cz, x1, z1))
        else:
            boxes.append(Box(x0, z0, cx, z1) if room.box.x1 <= cx else Box(cx, z0, x1, z1))
    parts = []
    for x0, z0, x1, z1 in boxes:
        corners = [(x0, z1), (x1, z1), (x1, z0), (x0, z0)]
        parts.append(_quad([(x, 0.0, z) for x, z in corners], [(x / TILE, -z / TILE) for x, z in corners]))
    return parts


def _ceiling(room: Room) -> Part:
    x0, z0, x1, z1 = room.box
    return _quad(
        [(x0, HEIGHT, z0), (x1, HEIGHT, z0), (x1, HEIGHT, z1), (x0, HEIGHT, z1)], [(0, 0), (1, 0), (1, 1), (0, 1)]
    )


def _wall(plan: Plan, room: Room, side: Side) -> list[Part]:
    """The inner face of one wall, around the doors in it."""
    low, high = span(room.box, side)
    gaps = sorted(
        span(door.box, side)
        for door in plan.doors_of(room.name)
        if door.along_x == (side in ("north", "south")) and _touches(room.box, door.box, side)
    )
    pieces = []
    at = low
    for begin, end in gaps:
        pieces += [(at, begin, 0.0), (begin, end, DOOR_HEIGHT)]
        at = end
    pieces.append((at, high, 0.0))
    return [_upright(room.box, side, a, b, y, HEIGHT, 0.0) for a, b, y in pieces if b - a > 1e-6]


def _touches(room: Box, door: Box, side: Side) -> bool:
    a, b = {
        "north": (room.z0, door.z1),
        "south": (room.z1, door.z0),
        "west": (room.x0, door.x1),
        "east": (room.x1, door.x0),
    }[side]
    return abs(a - b) < 1e-3


def _upright(room: Box, side: Side, low: float, high: float, y0: float, y1: float, inward: float) -> Part:
    """A piece of the wall at this side, seen from inside the room."""
    (ax, az), (bx, bz) = _ends(room, side, low, high, inward)
    corners = [(ax, y0, az), (bx, y0, bz), (bx, y1, bz), (ax, y1, az)]
    length, v = (high - low) / TILE, (0.01 + 0.98 * y0 / HEIGHT, 0.01 + 0.98 * y1 / HEIGHT)
    return _quad(corners, [(0, v[0]), (length, v[0]), (length, v[1]), (0, v[1])])


def _ends(room: Box, side: Side, low: float, high: float, inward: float) -> tuple[tuple[float, float], ...]:
    """Left and right end of a piece of wall, (x, z), seen from inside the room."""
    match side:
        case "north":
            return (low, room.z0 + inward), (high, room.z0 + inward)
        case "south":
            return (high, room.z1 - inward), (low, room.z1 - inward)
        case "west":
            return (room.x0 + inward, high), (room.x0 + inward, low)
        case "east":
            return (room.x1 - inward, low), (room.x1 - inward, high)


def _lining(door: Opening) -> list[Solid]:
    """The inside of a doorway: two cheeks and a lintel, flush with the walls' ends."""
    x0, z0, x1, z1 = door.box
    top = DOOR_HEIGHT
    thin = 0.004
    lintel = box((x0, x1), (top, top + thin), (z0, z1), FRAME)
    if door.along_x:
        cheeks = [box((x - thin * s, x + thin * (1 - s)), (0, top), (z0, z1), FRAME) for x, s in ((x0, 1), (x1, 0))]
    else:
        cheeks = [box((x0, x1), (0, top), (z - thin * s, z + thin * (1 - s)), FRAME) for z, s in ((z0, 1), (z1, 0))]
    return [*cheeks, lintel]


def _frame(room: Room, door: Opening) -> list[Solid]:
    """A flat frame around a doorway on the room's side of the wall."""
    side = next(
        side for side in SIDES if door.along_x == (side in ("north", "south")) and _touches(room.box, door.box, side)
    )
    low, high = span(door.box, side)
    wide, out, top = 0.07, 0.012, DOOR_HEIGHT
    bars = ((low - wide, low, 0.0, top + wide), (high, high + wide, 0.0, top + wide), (low, high, top, top + wide))
    return [_bar(room.box, side, *bar, out, FRAME) for bar in bars]


def _bar(room: Box, side: Side, low: float, high: float, y0: float, y1: float, out: float, colour: RGB) -> Solid:
    """A flat box on the inner face of a wall."""
    (ax, az), (bx, bz) = _ends(room, side, low, high, 0.0)
    (cx, cz), _ = _ends(room, side, low, high, out)
    x, z = sorted((ax, bx, cx)), sorted((az, bz, cz))
    return box((x[0], x[-1]), (y0, y1), (z[0], z[-1]), colour)


def _window(room: Box, window: Window) -> tuple[Part, list[Solid]]:
    """The view out of a window, painted just before its wall, and its frame."""
    y0, y1, wide, out = 0.95, 2.05, 0.06, 0.025
    low, high, side = window.low, window.high, window.side
    vertices, faces, _ = _upright(room, side, low, high, y0, y1, 0.01)
    pane = vertices, faces, np.array([(0.0, 0.02), (1.0, 0.02), (1.0, 0.98), (0.0, 0.98)])
    middle = (low + high) / 2
    bars = (
        (low - wide, high + wide, y0 - wide, y0),
        (low - wide, high + wide, y1, y1 + wide),
        (low - wide, low, y0, y1),
        (high, high + wide, y0, y1),
        (middle - 0.02, middle + 0.02, y0, y1),
    )
    return pane, [_bar(room, side, *bar, out, FRAME) for bar in bars]


def _placed(solid: Solid, piece: Piece) -> Solid:
    """From a piece's own axes to the house's."""
    turn = piece.turn * np.pi / 2
    c, s = round(np.cos(turn)), round(np.sin(turn))
    x, y, z = solid.vertices.T
    vertices = np.stack([c * x + s * z + piece.x, y + piece.elevation, c * z - s * x + piece.z], 1)
    return Solid(vertices, solid.faces, solid.colour, solid.picture, solid.uv)


def _shaded(solids: Sequence[Solid], palette: Palette) -> Part:
    """One mesh of plain colours, each face with the light of its direction."""
    triangles = np.concatenate([solid.vertices[solid.faces] for solid in solids])  # (M, 3 corners, 3)
    colours = np.concatenate([np.tile(solid.colour, (len(solid.faces), 1)) for solid in solids])
    normal = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-12)
    light = 0.83 + 0.17 * normal[:, 1] + 0.06 * normal[:, 2] - 0.05 * np.abs(normal[:, 0])
    light = np.round(light * 16) / 16  # few shades, so that the palette holds them all
    shades = (colours * light[:, None]).clip(0, 255).astype(np.uint8)
    corners = np.concatenate([triangles.reshape(-1, 3), np.repeat(palette.uv(shades), 3, axis=0)], 1).astype(np.float32)
    unique, index = np.unique(corners, axis=0, return_inverse=True)  # neighbours of one shade share their corners
    return unique[:, :3], index.reshape(-1, 3), unique[:, 3:]


def _area(triangles: np.ndarray) -> np.ndarray:
    """(M, 3 corners, 3) → (M,): twice the area. The tips of cones and careless models have triangles without any."""
    return np.linalg.norm(np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0]), axis=1)
