"""Which reader opens a scene, by the ending of its name."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from dynalang_py.envs.vln import gltf, obj
from dynalang_py.envs.vln.parts import Part, read_other


class Reader(NamedTuple):
    """All raise UserError for what they can't read."""

    read: Callable[[Path], list[Part]]
    linked: Callable[[Path], list[Path]]
    """The other files that `read` reads."""


GLTF = Reader(gltf.read_gltf, gltf.linked_files)
READERS = {".glb": GLTF, ".gltf": GLTF, ".obj": Reader(obj.read_obj, obj.linked_files)}
OTHERS = Reader(read_other, lambda _: [])


def reader(path: Path) -> Reader:
    """Of a file; one whose name ends otherwise goes to trimesh, which may refuse it."""
    return READERS.get(path.suffix.lower(), OTHERS)
