"""Arrays of scenes in the user's cache folder, each by a hash of all files that its scene reads.

They are mapped into memory from there: a second start reads nothing, and processes share the pages.
"""

import hashlib
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TypeAlias, TypeVar

import numpy as np

from dynalang_py.envs.vln.readers import reader
from dynalang_py.envs.vln.stage import stage_file, stage_frame
from dynalang_py.errors import UserError
from dynalang_py.files import user_cache
from dynalang_py.reading import read_bytes

logger = logging.getLogger("dynalang.envs")

VERSION = 3
"""Of the cached arrays; to be raised with every change of what they mean."""

Arrays = TypeVar("Arrays")
State: TypeAlias = tuple[tuple[Path, int, int, int], ...]
"""Of files: path, time of the last change, size, number; zeros for one that isn't there."""

_known: dict[Path, State] = {}
"""Scenes that were opened, and what their files were like when it was found out which these are."""


def scene_state(scene: Path) -> State:
    """The files that a scene reads, itself first, as they are now. Raises UserError if it isn't there or damaged."""
    if not scene.is_file():
        raise UserError(f"Scene {scene} does not exist.")
    known = _known.get(scene)
    if known is None or known != _state([path for path, *_ in known]):
        known = _known[scene] = _state([scene, stage_file(scene), *reader(scene).linked(scene)])
    return known


def content_key(state: State) -> str:
    """A hash of what lies in the files of a scene. Raises UserError if one can't be read."""
    (scene, *_), _, *linked = state
    frame = np.round(stage_frame(scene), 6).tolist()  # all that counts of the stage configuration
    digest = hashlib.blake2b(f"{VERSION} {scene.suffix.lower()} {frame}".encode(), digest_size=16)
    digest.update(read_bytes(scene, "Scene"))
    for path, *_ in linked:
        content = read_bytes(path, f"Scene {scene}: its file") if path.is_file() else b"none"
        digest.update(f" {os.path.relpath(path, scene.parent)} {len(content)} ".encode(errors="surrogateescape"))
        digest.update(content)
    return digest.hexdigest()


def cached(kind: type[Arrays], key: str, make: Callable[[], Arrays]) -> Arrays:
    """The dataclass of arrays that lies in the cache under `key`, mapped into memory; made and put there if need be.

    Processes share what they only read; what one of them writes stays its own. An entry that is damaged is made anew.
    """
    folder = user_cache() / "scenes" / key
    found = _mapped(kind, folder)
    if found is not None:
        return found
    shutil.rmtree(folder, ignore_errors=True)
    arrays = make()
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, ignore_cleanup_errors=True) as unfinished:
            for item in fields(kind):  # type: ignore[arg-type]
                np.save(Path(unfinished) / f"{item.name}.npy", getattr(arrays, item.name))
            os.rename(unfinished, folder)
    except OSError as error:  # a full or read-only disk, or another process was quicker
        logger.debug("Not put into the cache: %s", error)
    return _mapped(kind, folder) or arrays


def _mapped(kind: type[Arrays], folder: Path) -> Arrays | None:
    names = [item.name for item in fields(kind)]  # type: ignore[arg-type]
    try:
        # Plain arrays on the same memory: numpy is slower with its own class of mapped ones.
        return kind(**{name: np.asarray(np.load(folder / f"{name}.npy", mmap_mode="c")) for name in names})
    except (OSError, EOFError, ValueError) as error:
        if folder.is_dir():
            logger.debug("Damaged in the cache: %s", error)
        return None


def _state(files: Sequence[Path]) -> State:
    def state(path: Path) -> tuple[Path, int, int, int]:
        try:
            here = path.stat()
        except OSError:
            return path, 0, 0, 0
        return path, here.st_mtime_ns, here.st_size, here.st_ino

    return tuple(map(state, files))
