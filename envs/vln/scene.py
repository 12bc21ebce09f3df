"""Files with triangles → the arrays that rays and feet need: GLB, OBJ and whatever else trimesh reads.

Every colour becomes a texture: a plain one is a texture of one texel. Textures lie one after the other in one array,
each as a pyramid of halves, so that a distant pixel finds a texel that is already the mean of what it covers.

Arrays are kept in a cache folder by a hash of the file's content, and mapped into memory from there: a second start
reads nothing, and processes share the pages.
"""

import hashlib
import logging
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import trimesh
from numpy.typing import NDArray
from PIL import Image

from dynalang_py.envs.vln.stage import stage_frame
from dynalang_py.errors import UserError
from dynalang_py.files import user_cache

logger = logging.getLogger("dynalang.envs")

LEVELS = 11
"""Levels of a texture's pyramid."""
MAX_SIDE = 1 << (LEVELS - 1)
"""Larger textures are scaled down to this side: a scan has hundreds of them."""
VERSION = 1
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


def read_scene(path: Path) -> SceneArrays:
    """Read a file, place its parts, turn it y up.

    How it lies, `stage_frame` says.

    Raises:
        UserError: It can't be read or holds no triangles.
    """
    frame = stage_frame(path)
    try:
        loaded = trimesh.load_scene(path, process=False)
        parts = [loaded.graph.get(node) for node in loaded.graph.nodes_geometry]
        meshes = [(matrix, loaded.geometry[name]) for matrix, name in parts]
    except Exception as error:  # trimesh's readers raise whatever their formats bring up
        raise UserError(f"Scene {path} can't be read: {error or type(error).__name__}.") from error
    meshes = [(frame @ matrix[:3], mesh) for matrix, mesh in meshes if isinstance(mesh, trimesh.Trimesh)]
    meshes = [(matrix, mesh) for matrix, mesh in meshes if len(mesh.faces)]
    if not meshes:
        raise UserError(f"Scene {path} holds no triangles.")
    atlas = _Atlas()
    painted = [atlas.paint(mesh) for _, mesh in meshes]
    vertices = [mesh.vertices @ matrix[:, :3].T + matrix[:, 3] for matrix, mesh in meshes]
    starts = np.cumsum([0, *map(len, vertices)])
    faces = [mesh.faces + start for (_, mesh), start in zip(meshes, starts, strict=False)]
    uv = np.concatenate([u for _, u, _ in painted])  # (F, 3, 2)
    texture = np.concatenate([t for t, _, _ in painted])
    tinted = any(tint is not None for _, _, tint in painted)
    ones = [
        np.ones((len(mesh.faces), 9)) if tint is None else tint
        for (_, mesh), (_, _, tint) in zip(meshes, painted, strict=True)
    ]
    pyramids = np.array(atlas.pyramids, np.int32).reshape(-1, LEVELS, 3)
    edges = uv[:, 1:] - uv[:, :1]  # (F, 2, 2)
    size = pyramids[texture, 0, 1:].prod(-1)
    area = np.abs(edges[:, 0, 0] * edges[:, 1, 1] - edges[:, 0, 1] * edges[:, 1, 0]) * np.where(size > 1, size, 0)
    return SceneArrays(
        vertices=np.concatenate(vertices).astype(np.float32),
        faces=np.concatenate(faces).astype(np.int32),
        surface=np.concatenate([uv[:, 0], edges.reshape(-1, 4), area[:, None], texture[:, None]], 1).astype(np.float32),
        texels=np.concatenate(atlas.texels),
        pyramids=pyramids.reshape(-1, 3),
        tints=np.concatenate(ones).astype(np.float32) if tinted else np.zeros((0, 9), np.float32),
    )


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


class _Atlas:
    """Collects textures, each once, and tells which of them paints each triangle."""

    def __init__(self) -> None:
        self.texels: list[NDArray[np.uint32]] = []
        self.pyramids: list[list[tuple[int, int, int]]] = []
        self._texels = 0
        self._known: dict[Any, int] = {}
        self._images: list[Image.Image] = []  # keeps them alive, so that no id is given twice

    def paint(self, mesh: Any) -> tuple[NDArray[np.intp], NDArray[np.float64], NDArray[np.float64] | None]:
        """(F,) textures, (F, 3, 2) u and v of the corners, and (F, 9) tints or None."""
        count = len(mesh.faces)
        texture = np.zeros(count, np.intp)
        uv = np.full((count, 3, 2), 0.5)
        if mesh.visual.kind == "texture":
            image, factor = _material(mesh.visual.material)
            if image is not None and mesh.visual.uv is not None:
                texture[:] = self._add_image(image, factor)
                uv = mesh.visual.uv[mesh.faces] * [1, -1] + [0, 1]  # trimesh counts v from below, images from above
            else:
                texture[:] = self._add_color(factor)
            colors = mesh.visual.vertex_attributes.get("color")
        else:
            texture[:] = self._add_color((255, 255, 255))
            colors = mesh.visual.vertex_colors if mesh.visual.kind == "vertex" else None
        if mesh.visual.kind == "face":
            corners = np.repeat(mesh.visual.face_colors[:, None, :3], 3, 1)
        elif colors is not None:
            colors = np.asarray(colors)[:, :3]
            corners = (colors if colors.dtype == np.uint8 else np.rint(colors * 255).astype(np.uint8))[mesh.faces]
        else:
            return texture, uv, None
        palette, which = np.unique(corners[:, 0], axis=0, return_inverse=True)
        painted = (texture != self._add_color((255, 255, 255))).any() or (corners != corners[:, :1]).any()
        if not painted and len(palette) <= 256:  # one colour per triangle, and few of them: textures are quicker
            return np.array([self._add_color(tuple(color)) for color in palette])[which.ravel()], uv, None
        return texture, uv, corners.reshape(-1, 9) / 255

    def _add_color(self, color: tuple[int, ...]) -> int:
        return self._add(tuple(map(int, color)), lambda: Image.new("RGB", (1, 1), tuple(map(int, color))))

    def _add_image(self, image: Image.Image, factor: tuple[int, ...]) -> int:
        def painted() -> Image.Image:
            self._images.append(image)
            plain = image.convert("RGB")
            if factor == (255, 255, 255):
                return plain
            return Image.fromarray(np.rint(np.asarray(plain) * (np.array(factor) / 255)).astype(np.uint8))

        return self._add((id(image), factor), painted)

    def _add(self, key: Any, make: Callable[[], Image.Image]) -> int:
        if key not in self._known:
            self._known[key] = len(self.pyramids)
            image = make()
            shrink = MAX_SIDE / max(image.size)
            if shrink < 1:
                image = image.resize([max(1, round(side * shrink)) for side in image.size], Image.Resampling.BOX)
            levels = []
            for _ in range(LEVELS):
                levels.append((self._texels, *image.size))
                bytes_ = np.asarray(image.convert("RGBA"), np.uint8)
                self.texels.append(np.ascontiguousarray(bytes_).view(np.uint32).ravel())
                self._texels += self.texels[-1].size
                image = image.resize([max(1, side // 2) for side in image.size], Image.Resampling.BOX)
            self.pyramids.append(levels)
        return self._known[key]


def _material(material: Any) -> tuple[Image.Image | None, tuple[int, ...]]:
    """Image and base colour (red, green, blue, 0 to 255) of glTF's or OBJ's kind of material."""
    is_gltf = hasattr(material, "baseColorFactor")
    image = material.baseColorTexture if is_gltf else getattr(material, "image", None)
    color = material.baseColorFactor if is_gltf else getattr(material, "diffuse", None)
    if color is None:
        return image, (255, 255, 255)
    color = np.asarray(color)
    color = color if color.dtype.kind in "ui" else np.rint(color * 255)
    return image, tuple(int(value) for value in color[:3])
