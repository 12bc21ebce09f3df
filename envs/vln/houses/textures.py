"""Small procedural pictures for floors, walls and windows, made from a colour and a generator."""

import io

import numpy as np
from PIL import Image

from dynalang_py.envs.vln.houses.catalogue import RGB

SIZE = 64
"""Pixels of a side."""
FLOORS = ("planks", "parquet", "tiles", "checker", "carpet")
WALLS = ("plain", "stripes", "panel", "dots")


def floor(style: str, colour: RGB, rng: np.random.Generator) -> np.ndarray:
    """A floor that tiles in both directions. → (SIZE, SIZE, 3) uint8"""
    shade = np.ones((SIZE, SIZE))
    row, column = np.indices((SIZE, SIZE))
    if style == "planks":
        plank = row // 16
        shift = np.array([0, 37, 13, 51])[plank]
        shade = 0.9 + 0.14 * rng.random((4, 2))[plank, ((column + shift) % SIZE) // 32]
        shade = np.where((row % 16 == 0) | ((column + shift) % 32 == 0), 0.74, shade)
        shade += 0.05 * rng.standard_normal((SIZE, 1))
    elif style == "parquet":
        block = (row // 16 + column // 16) % 2
        stripe = np.where(block == 0, row % 16 // 4, column % 16 // 4)
        shade = 0.84 + 0.12 * rng.random((4, 4, 2))[row // 16, stripe, block]
    elif style == "tiles":
        shade = 0.94 + 0.08 * rng.random((2, 2))[row // 32, column // 32]
        shade = np.where((row % 32 < 2) | (column % 32 < 2), 0.72, shade)
    elif style == "checker":
        shade = np.where((row // 32 + column // 32) % 2 == 0, 1.04, 0.8)
    else:
        shade = 0.95 + 0.06 * rng.standard_normal((SIZE // 2, SIZE // 2)).repeat(2, 0).repeat(2, 1)
    return _paint(shade, colour)


def wall(style: str, colour: RGB, light: float) -> np.ndarray:
    """A wall from skirting board to ceiling, which tiles sideways. → (SIZE, SIZE, 3) uint8

    light: how much of it falls on this wall, so that corners can be seen without lamps.
    """
    row, column = np.indices((SIZE, SIZE))
    shade = np.ones((SIZE, SIZE))
    if style == "stripes":
        shade = np.where(column // 16 % 2 == 0, 1.0, 0.9)
    elif style == "panel":
        shade = np.where(row > 40, 0.8, 1.0)
        shade = np.where((row == 40) | ((row > 40) & (column % 32 < 2)), 0.66, shade)
    elif style == "dots":
        centre = np.hypot((column + 8 * (row // 16 % 2)) % 16 - 8, row % 16 - 8)
        shade = np.where(centre < 3, 0.86, 1.0)
    image = _paint(shade * light, colour)
    image[-2:] = np.uint8(225 * light)  # the skirting board
    return image


def plain(colour: RGB) -> np.ndarray:
    """One colour. → (8, 8, 3) uint8"""
    return np.full((8, 8, 3), colour, np.uint8)


def window() -> np.ndarray:
    """A garden under a sky. → (SIZE, SIZE, 3) uint8"""
    row, column = np.indices((SIZE, SIZE))
    sky = np.array([150, 200, 245]) + np.stack([row, row, row * 0.2], -1) * 1.2
    hill = row > 44 + 4 * np.sin(column * 2 * np.pi / SIZE)
    green = np.array([104, 160, 84]) - (row[..., None] - 44) * np.array([1.5, 1.2, 1.2])
    tree = np.hypot(column - 46, (row - 36) * 0.8) < 10
    image = np.where(hill[..., None], green, sky)
    image = np.where(tree[..., None], np.array([72, 124, 62]), image)
    return image.clip(0, 255).astype(np.uint8)


def png(image: np.ndarray) -> bytes:
    """The picture as a file; the same picture gives the same bytes."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def _paint(shade: np.ndarray, colour: RGB) -> np.ndarray:
    return (shade[..., None] * np.array(colour)).clip(0, 255).astype(np.uint8)
