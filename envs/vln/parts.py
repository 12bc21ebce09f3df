"""What every reader of scenes makes: parts, each of one look; and the reader of what is left to trimesh: PLY, ..."""

import io
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dynalang_py.envs.contract import require
from dynalang_py.errors import UserError, shown
from dynalang_py.reading import parse_picture, read_bytes

OTHERS = ("ply", "stl", "off")
"""Kinds of files that are left to trimesh: it knows more, archives and whole programs' formats, without any bounds."""
WHITE = (255, 255, 255)
REPEAT, CLAMP, MIRROR = range(3)
"""What a texture shows beyond its edge: itself again, its last texel, itself reversed."""


class Picture:
    """A picture as it lies in a file. Its pixels are decoded whenever they are asked for, and kept by nobody.

    Raises:
        UserError: It is none, or too large; `name` says whose it is.
    """

    def __init__(self, content: bytes, name: str) -> None:
        self._content = content
        self._name = name
        parse_picture(content, name, load=False)

    def pixels(self) -> Image.Image:
        """Raises UserError if the picture is damaged."""
        return parse_picture(self._content, self._name)


@dataclass(frozen=True, kw_only=True)
class Part:
    """N corners, F triangles, in the axes of the file."""

    positions: NDArray[Any]
    """(N, 3)"""
    triangles: NDArray[Any]
    """(F, 3) indices of corners."""
    matrix: NDArray[np.float64]
    """(3, 4) where the part stands: what to multiply positions by, and what to add then."""
    uv: NDArray[Any] | None = None
    """(N, 2) where in the picture corners lie, from its left and its top edge; needed if there is one."""
    picture: Picture | None = None
    factor: tuple[int, ...] = WHITE
    """Red, green, blue that multiply the picture, or are the colour if there is none; 255 is 1."""
    colors: NDArray[np.uint8] | None = None
    """(F, 3, 3) red, green, blue that multiply the corners of triangles."""
    wrap: tuple[int, int] = (REPEAT, REPEAT)
    """What lies left and right of the picture, and above and below."""


def read_other(path: Path) -> list[Part]:
    """A file of a kind that trimesh reads. Raises UserError for others, what it can't, and files beside it."""
    kind = path.suffix[1:].lower()
    if kind not in OTHERS:
        allowed = ", ".join(f".{other}" for other in ("glb", "gltf", "obj", *OTHERS))
        raise UserError(f"Scene {path} can't be read: its name must end in one of {allowed}.")
    trimesh = require("trimesh", extra="vln", task=f"Scene {path}")
    neighbours = _Neighbours()
    content = io.BytesIO(read_bytes(path, "Scene"))
    try:
        loaded = trimesh.load_scene(content, kind, neighbours, process=False)
        neighbours.refuse()
        placed = [loaded.graph.get(node) for node in loaded.graph.nodes_geometry]
        meshes = [(matrix[:3], loaded.geometry[name]) for matrix, name in placed]
        return [_part(mesh, matrix) for matrix, mesh in meshes if isinstance(mesh, trimesh.Trimesh)]
    except Exception as error:  # trimesh's readers raise whatever their formats bring up
        raise UserError(f"Scene {path} can't be read: {str(error) or type(error).__name__}.") from error


logging.getLogger("trimesh").setLevel(logging.CRITICAL)  # what went wrong, the UserError says


class _Neighbours(Mapping[str, bytes]):
    """The files beside a scene, as trimesh's readers may have them: none. It remembers what they wanted."""

    def __init__(self) -> None:
        self.wanted = list[str]()

    def __getitem__(self, name: str) -> bytes:
        self.wanted.append(name)
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0

    def refuse(self) -> None:
        """Raise UserError if a reader wanted one."""
        if self.wanted:
            raise UserError(f"it shows {shown(self.wanted[0])}, and only GLB, glTF and OBJ may have files beside them")


def _part(mesh: Any, matrix: NDArray[np.float64]) -> Part:
    visual, look, colors = mesh.visual, dict[str, Any](), None
    if visual.kind == "texture":
        look["factor"] = _factor(visual.material)  # there can be no picture, as there are no neighbours
        colors = visual.vertex_attributes.get("color")
    elif visual.kind == "vertex":
        colors = visual.vertex_colors
    if colors is not None:
        colors = np.asarray(colors)[:, :3]
        colors = (colors if colors.dtype == np.uint8 else np.rint(colors * 255).astype(np.uint8))[mesh.faces]
    elif visual.kind == "face":
        colors = np.repeat(visual.face_colors[:, None, :3], 3, 1)
    return Part(positions=mesh.vertices, triangles=mesh.faces, matrix=matrix, colors=colors, **look)


def _factor(material: Any) -> tuple[int, ...]:
    """The colour (red, green, blue, 0 to 255) of either kind of material that trimesh has."""
    color = getattr(material, "baseColorFactor", getattr(material, "diffuse", None))
    if color is None:
        return WHITE
    color = np.asarray(color)
    color = color if color.dtype.kind in "ui" else np.rint(color * 255)
    return tuple(int(value) for value in color[:3])
