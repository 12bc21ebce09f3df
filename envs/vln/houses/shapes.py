"""Built-in furniture: recognisable shapes of coloured boxes and cylinders, so that nothing has to be downloaded.

A shape is drawn in its own box: x from −w/2 to w/2 along the wall, y up from 0 to h, z from −d/2 (back, at the wall)
to d/2 (front). Its parts are `Solid`s.
"""

from collections.abc import Callable
from random import Random

import numpy as np

from dynalang_py.envs.vln.houses import fixtures
from dynalang_py.envs.vln.houses.catalogue import COLOURS, PAINTS, RGB
from dynalang_py.envs.vln.houses.solids import CERAMIC, DARK, WOOD, Size, Solid, box, cylinder, drawers, legs, tint

LEAF: RGB = (46, 128, 52)


def build(kind: str, colour: str, size: tuple[float, float, float], seed: str) -> list[Solid]:
    """The parts of a piece of furniture; the same arguments give the same parts."""
    return _SHAPES[kind](COLOURS[colour], size, Random(seed))


def _armchair(c: RGB, size: Size, _: Random) -> list[Solid]:
    w, d, h = size
    x, z = w / 2, d / 2
    arm = min(0.18, w * 0.2)
    seats = 2 if w > 1.4 else 1
    inner = w - 2 * arm
    cushions = [
        box(
            (-inner / 2 + i * inner / seats + 0.015, -inner / 2 + (i + 1) * inner / seats - 0.015),
            (0.34, 0.47),
            (-z + 0.2, z),
            tint(c, 1.12),
        )
        for i in range(seats)
    ]
    return [
        *legs(w, d, 0.1, 0.06, DARK),
        box((-x, x), (0.1, 0.34), (-z, z - 0.02), c),
        box((-x, x), (0.34, h), (-z, -z + 0.2), c),
        box((-x, -x + arm), (0.34, 0.62), (-z + 0.2, z), tint(c, 0.88)),
        box((x - arm, x), (0.34, 0.62), (-z + 0.2, z), tint(c, 0.88)),
        *cushions,
    ]


def _basket(c: RGB, size: Size, _: Random) -> list[Solid]:
    w, d, h = size
    r = min(w, d) / 2
    return [
        cylinder((0, 0), (0, h * 0.85), (r * 0.75, r * 0.95), c, 14),
        cylinder((0, 0), (h * 0.85, h), r, tint(c, 0.75), 14),
    ]


def _bed(c: RGB, size: Size, _: Random) -> list[Solid]:
    w, d, h = size
    x, z = w / 2, d / 2
    pillow = w / 2 - 0.12
    return [
        *legs(w, d, 0.12, 0.08, WOOD),
        box((-x, x), (0.12, 0.32), (-z, z), tint(c, 0.7)),
        box((-x, x), (0.32, h), (-z, -z + 0.07), tint(c, 0.7)),
        box((-x + 0.03, x - 0.03), (0.32, 0.5), (-z + 0.07, z - 0.03), CERAMIC),
        box((-x + 0.01, x - 0.01), (0.26, 0.54), (-z + 0.62, z - 0.01), c),
        box((-x + 0.01, x - 0.01), (0.54, 0.56), (-z + 0.62, -z + 0.85), tint(c, 1.2)),
        *(box((s - pillow / 2, s + pillow / 2), (0.5, 0.62), (-z + 0.14, -z + 0.5), CERAMIC) for s in (-w / 4, w / 4)),
    ]


def _bench(c: RGB, size: Size, _: Random) -> list[Solid]:
    w, d, h = size
    return [
        *legs(w, d, h - 0.1, 0.07, WOOD),
        box((-w / 2, w / 2), (h - 0.1, h), (-d / 2, d / 2), c),
    ]


def _bookshelf(c: RGB, size: Size, random: Random) -> list[Solid]:
    w, d, h = size
    x, z, t = w / 2, d / 2, 0.035
    parts = [
        box((-x, -x + t), (0, h), (-z, z), c),
        box((x - t, x), (0, h), (-z, z), c),
        box((-x + t, x - t), (0, h), (-z, -z + 0.02), tint(c, 0.7)),
    ]
    levels = max(2, round(h / 0.38))
    step = (h - t) / levels
    for level in range(levels + 1):
        y = level * step
        parts.append(box((-x + t, x - t), (y, y + t), (-z + 0.02, z), c))
        at = -x + t + 0.02
        while level < levels and at < x - t - 0.12:
            thick, tall = random.uniform(0.06, 0.14), step * random.uniform(0.55, 0.8)
            if random.random() < 0.85:
                book = COLOURS[random.choice((*PAINTS, "brown", "white"))]
                parts.append(
                    box((at, at + thick - 0.008), (y + t, y + t + tall), (-z + 0.02, z - 0.06), tint(book, 0.8))
                )
            at += thick
    return parts


def _chair(c: RGB, size: Size, _: Random) -> list[Solid]:
    w, d, h = size
    x, z, seat = w / 2, d / 2, 0.46
    return [
        *legs(w, d, seat - 0.06, 0.045, tint(c, 0.7)),
        box((-x, x), (seat - 0.06, seat), (-z, z), c),
        box((-x, -x + 0.045), (seat, h), (-z, -z + 0.045), tint(c, 0.7)),
        box((x - 0.045, x), (seat, h), (-z, -z + 0.045), tint(c, 0.7)),
        box((-x + 0.045, x - 0.045), (seat + 0.12, h), (-z, -z + 0.04), c),
    ]


def _chest(c: RGB, size: Size, _: Random) -> list[Solid]:
    w, d, h = size
    x, z = w / 2, d / 2
    return [
        box((-x, x), (0, h * 0.65), (-z, z - 0.02), c),
        box((-x, x), (h * 0.65, h), (-z, z - 0.02), tint(c, 0.75)),
        *(box((s - 0.03, s + 0.03), (0, h), (z - 0.02, z - 0.01), (206, 168, 60)) for s in (-x + 0.12, x - 0.12)),
        box((-0.06, 0.06), (h * 0.52, h * 0.72), (z - 0.02, z), (206, 168, 60)),
    ]


def _desk(c: RGB, size: Size, _: Random) -> list[Solid]:
    w, d, h = size
    x, z = w / 2, d / 2
    return [
        box((-x, x), (h - 0.04, h), (-z, z), c),
        box((-x, -x + 0.04), (0, h - 0.04), (-z, z), tint(c, 0.8)),
        box((x - 0.4, x), (0.05, h - 0.04), (-z, z - 0.02), tint(c, 0.85)),
        *(
            box((x - 0.38, x - 0.02), (low, low + 0.18), (z - 0.02, z - 0.005), tint(c, 1.1))
            for low in (0.09, 0.3, 0.51)
        ),
    ]


def _lamp(c: RGB, size: Size, _: Random) -> list[Solid]:
    w, d, h = size
    r = min(w, d) / 2
    return [
        cylinder((0, 0), (0, 0.03), r * 0.75, DARK, 14),
        cylinder((0, 0), (0.03, h - 0.36), 0.022, DARK, 8),
        cylinder((0, 0), (h - 0.42, h), (r, r * 0.6), c, 14),
    ]


def _mirror(c: RGB, size: Size, _: Random) -> list[Solid]:
    w, d, h = size
    x, z = w / 2, d / 2
    return [
        box((-x, x), (0, h), (-z, z - 0.02), c),
        box((-x + 0.06, x - 0.06), (0.06, h - 0.06), (z - 0.02, z), (196, 220, 230)),
    ]


def _piano(c: RGB, size: Size, _: Random) -> list[Solid]:
    w, d, h = size
    x, z = w / 2, d / 2
    keys = [
        box((k - 0.013, k + 0.013), (0.735, 0.75), (z - 0.25, z - 0.1), DARK)
        for k in np.arange(-x + 0.12, x - 0.1, 0.08)
    ]
    return [
        box((-x, x), (0, h), (-z, z - 0.28), c),
        box((-x, x), (0.6, 0.7), (z - 0.28, z), c),
        box((-x + 0.06, x - 0.06), (0.7, 0.735), (z - 0.27, z - 0.02), CERAMIC),
        box((-x, -x + 0.06), (0, 0.78), (z - 0.28, z), tint(c, 0.85)),
        box((x - 0.06, x), (0, 0.78), (z - 0.28, z), tint(c, 0.85)),
        *keys,
    ]


def _picture(c: RGB, size: Size, random: Random) -> list[Solid]:
    w, d, h = size
    x, z = w / 2, d / 2
    inner = [box((-x + 0.05, x - 0.05), (0.05, h - 0.05), (z - 0.015, z - 0.01), c)]
    for _ in range(3):
        left, low = random.uniform(-x + 0.08, x - 0.38), random.uniform(0.08, h - 0.34)
        inner.append(
            box(
                (left, left + random.uniform(0.1, 0.3)),
                (low, low + random.uniform(0.08, 0.24)),
                (z - 0.01, z),
                tint(c, random.choice((0.55, 0.75, 1.3))),
            )
        )
    return [box((-x, x), (0, h), (-z, z - 0.015), (70, 50, 36)), *inner]


def _plant(c: RGB, size: Size, random: Random) -> list[Solid]:
    w, d, h = size
    r, pot = min(w, d) / 2, h * 0.36
    parts = [
        cylinder((0, 0), (0, pot), (r * 0.62, r * 0.9), c, 14),
        cylinder((0, 0), (pot, pot + 0.01), r * 0.8, (72, 48, 30), 14),
        cylinder((0, 0), (pot, h * 0.7), 0.02, WOOD, 6),
    ]
    for i in range(7):
        turn = 2 * np.pi * i / 7 + random.uniform(-0.3, 0.3)
        reach, base = r * random.uniform(0.35, 0.55), h * random.uniform(0.42, 0.62)
        parts.append(
            cylinder(
                (reach * np.sin(turn), reach * np.cos(turn)),
                (base, base + h * random.uniform(0.25, 0.38)),
                (r * 0.42, 0.0),
                tint(LEAF, random.uniform(0.75, 1.25)),
                6,
            )
        )
    return parts


def _rug(c: RGB, size: Size, _: Random) -> list[Solid]:
    w, d, h = size
    x, z = w / 2, d / 2
    return [
        box((-x, x), (0, h * 0.6), (-z, z), tint(c, 0.65)),
        box((-x + 0.12, x - 0.12), (h * 0.6, h * 0.8), (-z + 0.12, z - 0.12), c),
        box((-x / 3, x / 3), (h * 0.8, h), (-z / 3, z / 3), tint(c, 1.3)),
    ]


def _stool(c: RGB, size: Size, _: Random) -> list[Solid]:
    w, d, h = size
    side = min(w, d)
    return [
        *legs(side * 0.75, side * 0.75, h - 0.06, 0.04, tint(c, 0.65)),
        cylinder((0, 0), (h - 0.07, h), side / 2, c, 16),
    ]


def _table(c: RGB, size: Size, _: Random) -> list[Solid]:
    w, d, h = size
    return [
        *legs(w - 0.06, d - 0.06, h - 0.05, 0.07, tint(c, 0.75)),
        box((-w / 2, w / 2), (h - 0.05, h), (-d / 2, d / 2), c),
    ]


_SHAPES: dict[str, Callable[[RGB, Size, Random], list[Solid]]] = {
    "armchair": _armchair,
    "basket": _basket,
    "bathtub": fixtures.bathtub,
    "bed": _bed,
    "bench": _bench,
    "bookshelf": _bookshelf,
    "cabinet": drawers(1, 2, 0.06),
    "chair": _chair,
    "chest": _chest,
    "desk": _desk,
    "dresser": drawers(3, 2, 0.08),
    "fireplace": fixtures.fireplace,
    "fridge": fixtures.fridge,
    "lamp": _lamp,
    "mirror": _mirror,
    "nightstand": drawers(2, 1, 0.06),
    "piano": _piano,
    "picture": _picture,
    "plant": _plant,
    "rug": _rug,
    "sink": fixtures.sink,
    "sofa": _armchair,
    "stool": _stool,
    "stove": fixtures.stove,
    "table": _table,
    "television": fixtures.television,
    "toilet": fixtures.toilet,
    "wardrobe": drawers(1, 2, 0.08),
    "washer": fixtures.washer,
}
