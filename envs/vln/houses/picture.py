"""A floor plan as a picture: rooms with their names, doors, windows, and furniture in its colours."""

import io
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from dynalang_py.envs.vln.houses.catalogue import COLOURS, RGB
from dynalang_py.envs.vln.houses.furnish import Piece
from dynalang_py.envs.vln.houses.plan import WALL, Box, Plan, side_strip
from dynalang_py.envs.vln.houses.solids import tint

SCALE = 80
"""Pixels per metre."""
MARGIN = 0.4
INK: RGB = (52, 52, 58)
FLOOR: RGB = (246, 242, 232)
GLASS: RGB = (120, 190, 235)


def draw_picture(plan: Plan, pieces: Sequence[Piece]) -> bytes:
    """A PNG file: x to the right, z downwards."""
    bounds = plan.bounds.grow(WALL + MARGIN)
    image = Image.new("RGB", (round(bounds.width * SCALE), round(bounds.depth * SCALE)), (255, 255, 255))
    draw = ImageDraw.Draw(image)
    font, small = (ImageFont.load_default(size) for size in (20, 12))

    def corners(box: Box) -> tuple[float, float, float, float]:
        x0, z0, x1, z1 = box
        return (x0 - bounds.x0) * SCALE, (z0 - bounds.z0) * SCALE, (x1 - bounds.x0) * SCALE, (z1 - bounds.z0) * SCALE

    for room in plan.rooms:
        draw.rectangle(corners(room.box.grow(WALL)), fill=INK)
    for room in plan.rooms:
        draw.rectangle(corners(room.box), fill=FLOOR)
    for door in plan.doors:
        draw.rectangle(corners(door.box.grow(0.01)), fill=(214, 196, 160))
    for window in plan.windows:
        strip = side_strip(plan.room(window.room).box, window.side, WALL * 0.6, outside=True)
        along_x = window.side in ("north", "south")
        strip = strip._replace(
            **({"x0": window.low, "x1": window.high} if along_x else {"z0": window.low, "z1": window.high})
        )
        draw.rectangle(corners(strip), fill=GLASS)
    for piece in sorted(pieces, key=lambda piece: (piece.solid, piece.elevation, piece.size[2])):
        fill = COLOURS[piece.colour]
        place = corners(piece.box)
        draw.rectangle(place, fill=fill, outline=tint(fill, 0.5), width=2)
        if piece.solid and piece.size[0] > 0.3:
            _front_line(draw, place, piece.turn, tint(fill, 0.5))
        if piece.solid:
            x, z = (place[0] + place[2]) / 2, (place[1] + place[3]) / 2
            draw.text((x, z), piece.kind, _readable(fill), small, anchor="mm")
    for room in plan.rooms:
        x0, z0, x1, z1 = corners(room.box)
        at = ((x0 + x1) / 2, (z0 + z1) / 2)
        draw.text(at, room.name, INK, font, anchor="mm", stroke_width=3, stroke_fill=FLOOR)
    x0, z0, x1, z1 = corners(plan.bounds)
    draw.line((x0, z1 + 22, x0 + SCALE, z1 + 22), fill=INK, width=3)
    draw.text((x0 + SCALE + 6, z1 + 22), "1 m", INK, small, anchor="lm")
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def _front_line(draw: ImageDraw.ImageDraw, place: tuple[float, float, float, float], turn: int, fill: RGB) -> None:
    """A line inside the front edge, so that one sees where a piece looks."""
    x0, z0, x1, z1 = place
    inset = 5
    line = (
        (x0 + inset, z1 - inset, x1 - inset, z1 - inset),
        (x1 - inset, z0 + inset, x1 - inset, z1 - inset),
        (x0 + inset, z0 + inset, x1 - inset, z0 + inset),
        (x0 + inset, z0 + inset, x0 + inset, z1 - inset),
    )[turn]
    draw.line(line, fill=fill, width=2)


def _readable(fill: RGB) -> RGB:
    return (0, 0, 0) if sum(fill) > 380 else (255, 255, 255)
