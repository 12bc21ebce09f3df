"""Built-in shapes of what is connected to water, power or a chimney; see `shapes`."""

from random import Random

import numpy as np

from dynalang_py.envs.vln.houses.catalogue import RGB
from dynalang_py.envs.vln.houses.solids import CERAMIC, DARK, STEEL, Size, Solid, box, cylinder, drawers, tint

WATER: RGB = (150, 205, 225)


def bathtub(c: RGB, size: Size, _: Random) -> list[Solid]:
    w, d, h = size
    x, z = w / 2, d / 2
    rim = 0.08
    return [
        box((-x, x), (0, h - 0.3), (-z, z), c),
        box((-x, x), (h - 0.3, h), (-z, -z + rim), c),
        box((-x, x), (h - 0.3, h), (z - rim, z), c),
        box((-x, -x + rim), (h - 0.3, h), (-z + rim, z - rim), c),
        box((x - rim, x), (h - 0.3, h), (-z + rim, z - rim), c),
        box((-x + rim, x - rim), (h - 0.3, h - 0.1), (-z + rim, z - rim), WATER),
        cylinder((-x + 0.04, 0), (h, h + 0.12), 0.025, STEEL, 8),
    ]


def fireplace(c: RGB, size: Size, _: Random) -> list[Solid]:
    w, d, h = size
    x, z = w / 2, d / 2
    return [
        box((-x, -x + 0.28), (0, h - 0.12), (-z, z - 0.05), c),
        box((x - 0.28, x), (0, h - 0.12), (-z, z - 0.05), c),
        box((-x + 0.28, x - 0.28), (0.72, h - 0.12), (-z, z - 0.05), c),
        box((-x + 0.28, x - 0.28), (0, 0.72), (-z, -z + 0.05), DARK),
        box((-x, x), (h - 0.12, h), (-z, z), tint(c, 0.8)),
        box((-0.28, 0.28), (0, 0.1), (-z + 0.1, z - 0.1), (92, 60, 36)),
        cylinder((-0.1, 0), (0.1, 0.42), (0.1, 0.0), (250, 150, 30), 8),
        cylinder((0.1, 0.02), (0.1, 0.34), (0.09, 0.0), (250, 200, 50), 8),
    ]


def fridge(c: RGB, size: Size, _: Random) -> list[Solid]:
    w, d, h = size
    x, z, split = w / 2, d / 2, h * 0.64
    return [
        box((-x, x), (0.04, h), (-z, z - 0.07), tint(c, 0.9)),
        box((-x, x), (0.06, split - 0.01), (z - 0.07, z - 0.03), c),
        box((-x, x), (split + 0.01, h), (z - 0.07, z - 0.03), c),
        box((-x + 0.05, -x + 0.08), (split - 0.5, split - 0.08), (z - 0.03, z), STEEL),
        box((-x + 0.05, -x + 0.08), (split + 0.08, split + 0.38), (z - 0.03, z), STEEL),
    ]


def sink(c: RGB, size: Size, random: Random) -> list[Solid]:
    w, d, h = size
    x, z, top = w / 2, d / 2, h - 0.1
    return [
        *drawers(1, 2, 0.08)(c, (w, d, top - 0.04), random),
        box((-x, x), (top - 0.04, top), (-z, z), STEEL),
        box((-0.24, 0.24), (top, top + 0.02), (-0.18, 0.2), CERAMIC),
        box((-0.2, 0.2), (top + 0.02, top + 0.022), (-0.14, 0.16), WATER),
        cylinder((0, -z + 0.08), (top, h), 0.02, STEEL, 8),
        box((-0.015, 0.015), (h - 0.03, h), (-z + 0.08, -z + 0.24), STEEL),
    ]


def stove(c: RGB, size: Size, _: Random) -> list[Solid]:
    w, d, h = size
    x, z, top = w / 2, d / 2, h - 0.07
    return [
        box((-x, x), (0.04, top), (-z, z - 0.03), c),
        box((-x + 0.06, x - 0.06), (0.2, top - 0.24), (z - 0.03, z - 0.02), DARK),
        box((-x + 0.06, x - 0.06), (top - 0.21, top - 0.18), (z - 0.03, z), STEEL),
        box((-x, x), (top, top + 0.01), (-z, z - 0.03), DARK),
        box((-x, x), (top, h), (-z, -z + 0.04), tint(c, 0.9)),
        *(
            cylinder((sx, sz), (top + 0.01, top + 0.025), 0.085, (190, 60, 40), 12)
            for sx in (-w / 4, w / 4)
            for sz in (-d / 5, d / 5)
        ),
    ]


def television(c: RGB, size: Size, random: Random) -> list[Solid]:
    w, d, h = size
    x = w / 2
    return [
        *drawers(1, 3, 0.06)(c, (w, d, 0.46), random),
        box((-0.15, 0.15), (0.46, 0.5), (-0.1, 0.1), DARK),
        box((-x + 0.06, x - 0.06), (0.5, h), (-0.03, 0.03), DARK),
        box((-x + 0.1, x - 0.1), (0.54, h - 0.04), (0.03, 0.035), (74, 104, 140)),
    ]


def toilet(c: RGB, size: Size, _: Random) -> list[Solid]:
    w, d, h = size
    x, z = w / 2, d / 2
    return [
        box((-x, x), (0.36, h), (-z, -z + 0.2), c),
        box((-x * 0.6, x * 0.6), (0, 0.36), (-z, z - 0.22), tint(c, 0.92)),
        cylinder((0, z - x * 0.95), (0.2, 0.42), (x * 0.6, x * 0.95), c, 14),
        cylinder((0, z - x * 0.95), (0.42, 0.44), x * 0.7, WATER, 14),
        box((-x * 0.95, x * 0.95), (0.3, 0.42), (-z + 0.2, z - x), c),
    ]


def washer(c: RGB, size: Size, _: Random) -> list[Solid]:
    w, d, h = size
    x, z, middle = w / 2, d / 2, h * 0.46
    turn = np.arange(16) * 2 * np.pi / 16
    ring = np.stack([np.cos(turn), np.sin(turn), np.zeros(16)], 1)
    faces = np.array([[0, i, i + 1] for i in range(1, 15)])

    def disc(radius: float, depth: float, colour: RGB) -> Solid:
        return Solid(ring * radius + np.array([0.0, middle, depth]), faces, colour)

    return [
        box((-x, x), (0, h), (-z, z - 0.02), c),
        box((-x, x), (h - 0.13, h - 0.02), (z - 0.02, z - 0.01), tint(c, 0.7)),
        disc(0.21, z - 0.01, STEEL),
        disc(0.16, z, (90, 130, 160)),
    ]
