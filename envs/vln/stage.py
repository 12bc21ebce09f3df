"""How the file of a scene lies: habitat-sim's rule for the axes of what it opens."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dynalang_py.errors import UserError, shown
from dynalang_py.reading import is_finite, read_json

PLAIN = {"scale": ([1, 1, 1],), "units_to_meters": (1,), "origin": ([0, 0, 0],)}
"""What else would move a stage, and the values of it that don't."""


def stage_file(scene: Path) -> Path:
    """Where the file lies, if there is one, that says which way a scene is up."""
    return scene.with_name(f"{scene.stem}.stage_config.json")


def stage_frame(scene: Path) -> NDArray[np.float64]:
    """(3, 3) rotation of the file's axes to x right, y up, z backward.

    A bare .glb is taken as z up, as Matterport3D's files are, all else as y up; if NAME.stage_config.json stands beside
    NAME.glb, its "up" and "front" say how it lies ([0, 1, 0] and [0, 0, −1] if they are not there).

    Raises:
        UserError: The stage configuration can't be read, tells no axes, or wants more than another orientation.
    """
    config = stage_file(scene)
    if config.is_file():
        up, front = _axes(config)
    elif scene.suffix.lower() == ".glb":
        up, front = np.array([0.0, 0.0, 1.0]), np.array([0.0, 1.0, 0.0])
    else:
        up, front = np.array([0.0, 1.0, 0.0]), np.array([0.0, 0.0, -1.0])
    return np.array([np.cross(front, up), up, -front])


def _axes(config: Path) -> NDArray[np.float64]:
    """(2, 3) up and front, as a stage configuration says."""
    said = read_json(config, "Stage configuration")
    if not isinstance(said, dict):
        raise UserError(f"{config} is no stage configuration: it holds {shown(said)}; it must be an object.")
    for key, values in PLAIN.items():
        if key in said and said[key] not in values:
            raise UserError(f"{config}: {key} is {shown(said[key])}; it can only be {values[0]}.")
    up, front = said.get("up", [0.0, 1.0, 0.0]), said.get("front", [0.0, 0.0, -1.0])
    if all(isinstance(axis, list) and len(axis) == 3 and all(map(is_finite, axis)) for axis in (up, front)):
        given = np.array([up, front], np.float64)
        if np.abs(given).max() < 2 and np.allclose(given @ given.T, np.eye(2), atol=1e-3):
            return given
    raise UserError(f"{config}: up {shown(up)} and front {shown(front)} must be unit vectors at right angles.")
