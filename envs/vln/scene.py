"""Files with triangles → the arrays that rays and feet need: GLB, OBJ and some others."""

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dynalang_py.envs.vln.atlas import LEVELS, Atlas
from dynalang_py.envs.vln.parts import Part
from dynalang_py.envs.vln.readers import reader
from dynalang_py.envs.vln.stage import stage_frame
from dynalang_py.errors import UserError

MOST_TRIANGLES = 1 << 23
"""What a scene may hold, as often as its parts stand in it."""


@dataclass(frozen=True, kw_only=True)
class SceneArrays:
    """V vertices, F triangles, T textures, L levels, X texels."""

    vertices: NDArray[np.float32]
    """(V, 3) metres, y up."""
    faces: NDArray[np.int32]
    """(F, 3) indices of vertices."""
    surface: NDArray[np.float32]
    """(F, 8) u and v (downwards) of the first corner, what to add to them on the way to the second and to the third,
    twice the area in texels of level 0 (0 for a plain colour), and which of the T textures. One row is one read."""
    texels: NDArray[np.uint32]
    """(X,) red, green, blue and 255, as bytes in this order."""
    pyramids: NDArray[np.int32]
    """(T·L, 3) first texel, width, height."""
    tints: NDArray[np.float32]
    """(F, 9) factors of red, green, blue at the three corners; (0, 9) if no corners differ in colour."""
    wraps: NDArray[np.int32]
    """(T, 2) what lies beyond the edges of textures, along u and along v; (0, 2) if all repeat."""


def read_scene(path: Path) -> SceneArrays:
    """Read a file, place its parts, turn it y up.

    How it lies, `stage_frame` says.

    Raises:
        UserError: It can't be read or holds no triangles.
    """
    parts, frame = _parts(path)
    with _naming(path):
        return _arrays(parts, frame)


def inspect(path: Path) -> None:
    """Look whether a scene can be read, without the pixels of its pictures. Raises UserError as `read_scene` does."""
    parts, frame = _parts(path)
    with _naming(path):
        for part in parts:
            _standing(part, frame)


def _parts(path: Path) -> tuple[list[Part], NDArray[np.float64]]:
    """What a file holds, and how it lies."""
    if not path.is_file():
        raise UserError(f"Scene {path} does not exist.")
    frame = stage_frame(path)
    parts = [part for part in reader(path).read(path) if len(part.triangles)]
    count = sum(len(part.triangles) for part in parts)
    if not count:
        raise UserError(f"Scene {path} holds no triangles.")
    if count > MOST_TRIANGLES:
        raise UserError(f"Scene {path} holds {count:,} triangles; {MOST_TRIANGLES:,} are allowed.")
    return parts, frame


@contextlib.contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Puts the scene into sentences about what it holds."""
    try:
        yield
    except UserError as error:
        raise UserError(f"Scene {path} can't be read: {error}.") from error


def _arrays(parts: list[Part], frame: NDArray[np.float64]) -> SceneArrays:
    """The arrays of parts, in whose axes x right, y up and z backward are the rows of `frame`."""
    ends = np.cumsum([len(part.triangles) for part in parts])
    surface = np.empty((ends[-1], 8), np.float32)
    faces = np.empty((ends[-1], 3), np.int32)
    tints: NDArray[np.float32] | None = None
    vertices: list[NDArray[np.float32]] = []
    corners = 0
    atlas = Atlas()
    for part, end in zip(parts, ends.tolist(), strict=True):
        rows = slice(end - len(part.triangles), end)
        texture, tint = atlas.paint(part)
        surface[rows, 7] = texture
        if part.picture is None or part.uv is None:
            surface[rows, :7] = [0.5, 0.5, 0, 0, 0, 0, 0]
        else:
            _, *size = atlas.pyramids[texture[0] * LEVELS]
            surface[rows, :7] = _laid(part.uv[part.triangles].astype(np.float64), math.prod(size))
        if tint is not None:
            tints = np.ones((len(faces), 9), np.float32) if tints is None else tints
            tints[rows] = tint
        faces[rows] = part.triangles + corners
        vertices.append(_standing(part, frame))
        corners += len(part.positions)
    wraps = np.array(atlas.wraps, np.int32)
    return SceneArrays(
        vertices=np.concatenate(vertices),
        faces=faces,
        surface=surface,
        texels=atlas.texels(),
        pyramids=np.array(atlas.pyramids, np.int32).reshape(-1, 3),
        tints=np.zeros((0, 9), np.float32) if tints is None else tints,
        wraps=wraps if wraps.any() else wraps[:0],
    )


def _standing(part: Part, frame: NDArray[np.float64]) -> NDArray[np.float32]:
    """(N, 3) corners where they stand in the scene."""
    with np.errstate(over="ignore", invalid="ignore"):
        matrix = frame @ part.matrix
        found = (part.positions @ matrix[:, :3].T + matrix[:, 3]).astype(np.float32)
    if not np.isfinite(found).all():
        raise UserError("it has corners farther away than 32 bits can tell")
    return found


def _laid(uv: NDArray[np.float64], texels: int) -> NDArray[np.float64]:
    """Corners' places in a picture, (F, 3, 2), as `SceneArrays.surface` begins: (F, 7)."""
    edges = uv[:, 1:] - uv[:, :1]  # (F, 2, 2)
    area = np.abs(edges[:, 0, 0] * edges[:, 1, 1] - edges[:, 0, 1] * edges[:, 1, 0]) * (texels if texels > 1 else 0)
    return np.concatenate([uv[:, 0], edges.reshape(-1, 4), area[:, None]], 1)
