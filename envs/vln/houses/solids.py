"""Boxes and cylinders, the bricks of walls and furniture, and what is often made of them."""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import TypeAlias

import numpy as np

from dynalang_py.envs.vln.houses.catalogue import RGB

WOOD: RGB = (146, 100, 58)
STEEL: RGB = (168, 172, 178)
CERAMIC: RGB = (240, 240, 238)
DARK: RGB = (44, 44, 48)

Size: TypeAlias = tuple[float, float, float]
"""Width (x), depth (z) and height (y) in metres."""


@dataclass(frozen=True)
class Solid:
    """Triangles of one colour, or with one picture on them."""

    vertices: np.ndarray
    """(N, 3) metres."""
    faces: np.ndarray
    """(M, 3) indices, counter-clockwise seen from outside."""
    colour: RGB
    picture: bytes | None = None
    """A PNG or JPEG file that is painted over it; `uv` then says where."""
    uv: np.ndarray | None = None
    """(N, 2) with the origin at the picture's lower left corner."""


_CORNERS = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], float)
_SIDES = np.array([[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]])  # −x +x −y …
_BOX_FACES = np.concatenate([[[4 * i, 4 * i + 1, 4 * i + 2], [4 * i, 4 * i + 2, 4 * i + 3]] for i in range(6)])


def box(x: tuple[float, float], y: tuple[float, float], z: tuple[float, float], colour: RGB) -> Solid:
    """A box between these limits."""
    low, high = np.array([x[0], y[0], z[0]]), np.array([x[1], y[1], z[1]])
    return Solid((low + _CORNERS * (high - low))[_SIDES.ravel()], _BOX_FACES, colour)


def cylinder(
    centre: tuple[float, float],
    y: tuple[float, float],
    radius: float | tuple[float, float],
    colour: RGB,
    sides: int = 12,
) -> Solid:
    """An upright cylinder around (x, z), or a cone with two radii, the lower one first."""
    low, high = radius if isinstance(radius, tuple) else (radius, radius)
    turn = np.arange(sides) * 2 * np.pi / sides
    ring = np.stack([np.sin(turn), np.zeros(sides), np.cos(turn)], 1)
    shift = np.array([centre[0], 0.0, centre[1]])
    rings = [ring * r + shift + np.array([0.0, h, 0.0]) for r, h in ((low, y[0]), (high, y[1]))]
    caps = [shift + np.array([[0.0, h, 0.0]]) for h in y]
    i, j = np.arange(sides), (np.arange(sides) + 1) % sides
    bottom, top = np.full(sides, 2 * sides), np.full(sides, 2 * sides + 1)
    triples = ((i, j, j + sides), (i, j + sides, i + sides), (bottom, j, i), (top, i + sides, j + sides))
    return Solid(np.concatenate([*rings, *caps]), np.concatenate([np.stack(t, 1) for t in triples]), colour)


def tint(colour: RGB, factor: float) -> RGB:
    """Darker below 1, lighter above."""
    r, g, b = (round(min(255.0, c * factor)) for c in colour)
    return r, g, b


def legs(w: float, d: float, h: float, thick: float, colour: RGB) -> list[Solid]:
    """Four legs at the corners."""
    x, z = w / 2, d / 2
    return [box((sx, sx + thick), (0, h), (sz, sz + thick), colour) for sx in (-x, x - thick) for sz in (-z, z - thick)]


def drawers(rows: int, columns: int, base: float) -> Callable[[RGB, Size, Random], list[Solid]]:
    """A body with so many fronts, each with a knob."""

    def draw(c: RGB, size: Size, _: Random) -> list[Solid]:
        w, d, h = size
        x, z = w / 2, d / 2
        parts = [
            box((-x + 0.03, x - 0.03), (0, base), (-z, z - 0.06), DARK),
            box((-x, x), (base, h), (-z, z - 0.03), c),
            box((-x, x), (h - 0.03, h), (-z, z), tint(c, 0.8)),
        ]
        wide, tall = w / columns, (h - 0.03 - base) / rows
        for row in range(rows):
            for column in range(columns):
                left, low = -x + column * wide, base + row * tall
                parts.append(
                    box(
                        (left + 0.015, left + wide - 0.015),
                        (low + 0.015, low + tall - 0.015),
                        (z - 0.03, z - 0.012),
                        tint(c, 1.12),
                    )
                )
                middle, knob = left + wide / 2, low + tall / 2
                if columns > 1 and tall > 0.6:  # doors have their knobs side by side
                    middle = left + (wide - 0.07 if column % 2 == 0 else 0.07)
                parts.append(
                    box((middle - 0.02, middle + 0.02), (knob - 0.02, knob + 0.02), (z - 0.012, z), tint(c, 0.45))
                )
        return parts

    return draw
