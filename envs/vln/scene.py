"""Files with triangles → the arrays that rays and feet need: GLB, OBJ and whatever else trimesh reads.

Arrays are kept in a cache folder by a hash of the file's content, and mapped into memory from there: a second start
reads nothing, and processes share the pages.
"""

import hashlib
import logging
import math
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from dynalang_py.envs.vln.atlas import LEVELS, Atlas
from dynalang_py.envs.vln.gltf import inspect_gltf, read_gltf
from dynalang_py.envs.vln.obj import read_obj
from dynalang_py.envs.vln.parts import Part, read_other
from dynalang_py.envs.vln.stage import stage_frame
from dynalang_py.errors import UserError
from dynalang_py.files import user_cache

logger = logging.getLogger("dynalang.envs")

MOST_TRIANGLES = 1 << 23
"""What a scene may hold, as often as its parts stand in it."""
VERSION = 2
"""Of the cached arrays; to be raised with every change of what they mean."""

Arrays = TypeVar("Arrays")


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
    frame = stage_frame(path)
    read = read_gltf if _is_gltf(path) else read_obj if path.suffix.lower() == ".obj" else read_other
    parts = [part for part in read(path) if len(part.triangles)]
    count = sum(len(part.triangles) for part in parts)
    if not count:
        raise UserError(f"Scene {path} holds no triangles.")
    if count > MOST_TRIANGLES:
        raise UserError(f"Scene {path} holds {count:,} triangles; {MOST_TRIANGLES:,} are allowed.")
    try:
        return _arrays(parts, frame)
    except UserError as error:
        raise UserError(f"Scene {path} can't be read: {error}.") from error


def inspect(path: Path) -> None:
    """Look whether a scene can be read, without the pixels of its pictures. Raises UserError as `read_scene` does."""
    stage_frame(path)
    if _is_gltf(path):
        inspect_gltf(path)
    elif not path.is_file():
        raise UserError(f"Scene {path} does not exist.")


def _is_gltf(path: Path) -> bool:
    return path.suffix.lower() in (".glb", ".gltf")


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
        matrix = frame @ part.matrix
        with np.errstate(over="ignore", invalid="ignore"):
            vertices.append((part.positions @ matrix[:, :3].T + matrix[:, 3]).astype(np.float32))
        if not np.isfinite(vertices[-1]).all():
            raise UserError("it has corners farther away than 32 bits can tell")
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


def _laid(uv: NDArray[np.float64], texels: int) -> NDArray[np.float64]:
    """Corners' places in a picture, (F, 3, 2), as `SceneArrays.surface` begins: (F, 7)."""
    edges = uv[:, 1:] - uv[:, :1]  # (F, 2, 2)
    area = np.abs(edges[:, 0, 0] * edges[:, 1, 1] - edges[:, 0, 1] * edges[:, 1, 0]) * (texels if texels > 1 else 0)
    return np.concatenate([uv[:, 0], edges.reshape(-1, 4), area[:, None]], 1)


def content_key(path: Path) -> str:
    """A hash of everything that `read_scene` would look at.

    Raises:
        UserError: The file isn't there.
    """
    if not path.is_file():
        raise UserError(f"Scene {path} does not exist.")
    digest = hashlib.blake2b(f"{VERSION} {np.round(stage_frame(path), 6).tolist()}".encode(), digest_size=16)
    digest.update(path.read_bytes())
    if path.suffix.lower() != ".glb":  # its materials and textures are files of their own
        for other in sorted(path.parent.iterdir()):
            state = other.stat()
            digest.update(f"{other.name} {state.st_size} {state.st_mtime_ns}".encode())
    return digest.hexdigest()


def cached(kind: type[Arrays], key: str, make: Callable[[], Arrays]) -> Arrays:
    """The dataclass of arrays that lies in the cache under `key`, mapped into memory; made and put there if need be.

    Processes share what they only read; what one of them writes stays its own.
    """
    folder = user_cache() / "scenes" / key
    names = [item.name for item in fields(kind)]  # type: ignore[arg-type]
    if not folder.is_dir():
        arrays = make()
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=folder.parent, ignore_cleanup_errors=True) as unfinished:
                for name in names:
                    np.save(Path(unfinished) / f"{name}.npy", getattr(arrays, name))
                os.rename(unfinished, folder)
        except OSError as error:  # a full or read-only disk, or another process was quicker
            logger.debug("Not put into the cache: %s", error)
        if not folder.is_dir():
            return arrays
    # Plain arrays on the same memory: numpy is slower with its own class of mapped ones.
    return kind(**{name: np.asarray(np.load(folder / f"{name}.npy", mmap_mode="c")) for name in names})
