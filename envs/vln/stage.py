"""How the file of a scene lies: habitat-sim's rule for the axes of what it opens."""

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dynalang_py.errors import UserError


def stage_file(scene: Path) -> Path:
    """Where the file lies, if there is one, that says which way a scene is up."""
    return scene.with_name(f"{scene.stem}.stage_config.json")


def stage_frame(scene: Path) -> NDArray[np.float64]:
    """(3, 3) rotation of the file's axes to x right, y up, z backward.

    A bare .glb is taken as z up, as Matterport3D's files are, all else as y up; if NAME.stage_config.json stands beside
    NAME.glb, its "up" and "front" say how it lies ([0, 1, 0] and [0, 0, −1] if they are not there).

    Raises:
        UserError: The stage configuration can't be read, or tells no axes.
    """
    up, front = [0.0, 1.0, 0.0], [0.0, 0.0, -1.0]
    config = stage_file(scene)
    if config.is_file():
        try:
            said = json.loads(config.read_text("utf-8"))
            up, front = said.get("up", up), said.get("front", front)
            given = np.array([up, front], np.float64)
        except (OSError, ValueError, AttributeError, TypeError) as error:
            raise UserError(f"{config} can't be read as a stage configuration: {error}.") from error
        if given.shape != (2, 3) or not np.allclose(given @ given.T, np.eye(2), atol=1e-3):
            raise UserError(f"{config}: up {up} and front {front} must be unit vectors at right angles.")
        return np.array([np.cross(given[1], given[0]), given[0], -given[1]])
    if scene.suffix.lower() == ".glb":
        up, front = [0.0, 0.0, 1.0], [0.0, 1.0, 0.0]
    return np.array([np.cross(front, up), up, np.negative(front)])
