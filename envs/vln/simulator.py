"""What a simulator of houses is: a scene, a body that walks in it, a camera on the body, and distances by foot.

Units and axes are Habitat's: metres, y up, quaternions (x, y, z, w). At yaw 0 the agent looks along −z, and its left is
−x; positive angles turn left. A position is where the feet are.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dynalang_py.envs.contract import check_choice, check_range, require

SimulatorName: TypeAlias = Literal["embree", "habitat"]
"""embree: rays on the CPU, needs nothing but pip. habitat: habitat-sim, in whatever Python has it."""

Floats: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, init=False, eq=False)
class Pose:
    """Where the feet are and where the agent looks."""

    position: Floats
    """(3,) metres, y up."""
    rotation: Floats
    """(4,) unit quaternion x, y, z, w."""

    def __init__(self, *, position: ArrayLike = (0, 0, 0), rotation: ArrayLike = (0, 0, 0, 1)) -> None:
        object.__setattr__(self, "position", np.array(position, np.float64).reshape(3))
        turned = np.array(rotation, np.float64).reshape(4)
        object.__setattr__(self, "rotation", turned / np.linalg.norm(turned))

    @classmethod
    def at(cls, position: ArrayLike, yaw: float = 0.0) -> "Pose":
        """Standing upright at `position`, turned to the left by `yaw` degrees."""
        half = np.radians(yaw) / 2
        return cls(position=position, rotation=(0.0, np.sin(half), 0.0, np.cos(half)))

    @property
    def yaw(self) -> float:
        """Degrees from −z to the direction looked at, seen from above, in (−180, 180]; positive is left."""
        x, _, z = self.ahead
        return float(np.degrees(np.arctan2(-x, -z)))

    @property
    def ahead(self) -> Floats:
        """(3,) unit vector of the direction looked at."""
        return -self.matrix[:, 2]

    @property
    def matrix(self) -> Floats:
        """(3, 3) rotation from the agent's axes (right, up, backward) to the world's."""
        x, y, z, w = self.rotation
        return np.array(
            [
                [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
                [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
                [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
            ]
        )

    def moved(self, position: ArrayLike) -> "Pose":
        """Elsewhere, looking in the same direction."""
        return Pose(position=position, rotation=self.rotation)

    def turned(self, degrees: float) -> "Pose":
        """In the same place, turned about the vertical; positive is left."""
        half = np.radians(degrees) / 2
        s, c = np.sin(half), np.cos(half)
        x, y, z, w = self.rotation
        turned = (c * x + s * z, c * y + s * w, c * z - s * x, c * w - s * y)
        return Pose(position=self.position, rotation=turned)


@dataclass(frozen=True, kw_only=True)
class Camera:
    """A pinhole camera that looks straight ahead; its values are those of R2R in continuous environments."""

    width: int = 64
    """Pixels per row."""
    height: int = 64
    """Pixels per column."""
    hfov: float = 90.0
    """Horizontal field of view in degrees."""
    above_floor: float = 1.25
    """Metres from the floor to the camera."""
    depth: bool = True
    """Whether observations have depth."""

    def __post_init__(self) -> None:
        check_range("camera", "width", self.width, 1, 4096)
        check_range("camera", "height", self.height, 1, 4096)
        check_range("camera", "hfov", self.hfov, 1, 175)
        check_range("camera", "above_floor", self.above_floor, 0, 10)


@dataclass(frozen=True, kw_only=True)
class Body:
    """An upright cylinder; its values are those of R2R in continuous environments."""

    radius: float = 0.1
    """Metres."""
    height: float = 1.5
    """Metres of free space that it needs above a floor."""
    climb: float = 0.2
    """Metres up or down that one step takes, as on stairs."""
    sliding: bool = True
    """Whether it slides along a wall that it walks into; without, it stops there."""

    def __post_init__(self) -> None:
        check_range("body", "radius", self.radius, 0.02, 0.5)
        check_range("body", "height", self.height, 0.1, 10)
        check_range("body", "climb", self.climb, 0, 2)


class Simulator(Protocol):
    """A scene must be loaded before anything else is asked."""

    def load(self, scene: Path) -> None:
        """Open a scene; nothing happens if it is the one that is open.

        Raises:
            UserError: The file is missing or unreadable, or nobody could stand anywhere in it.
        """

    @property
    def pose(self) -> Pose:
        """Where the agent is. After `load` of another scene: wherever, until it is set."""

    def set_pose(self, pose: Pose) -> None:
        """Put the agent exactly there, also where it could not walk; `snap` finds a place where it can."""

    def observe(self) -> dict[str, NDArray[Any]]:
        """What the camera sees.

        `rgb`: uint8 (H, W, 3). `depth`: float32 (H, W), metres along the viewing axis, 0 where nothing was hit; absent
        if the camera has no depth.
        """

    def forward(self, metres: float) -> bool:
        """Walk straight ahead, uphill and downhill; True if something was in the way, whether or not it slid on."""

    def turn(self, degrees: float) -> None:
        """Turn about the vertical; positive is left."""

    def geodesic(self, a: ArrayLike, b: ArrayLike) -> float:
        """Metres on foot from `a` to `b`; inf if there is no way.

        Cheap if `b` stays the same from call to call, as the goal of an episode does.
        """

    def shortest_path(self, a: ArrayLike, b: ArrayLike) -> Floats:
        """(N, 3): `a`, the corners of the shortest way, `b`; (0, 3) if there is no way."""

    def random_point(self, rng: np.random.Generator) -> Floats:
        """(3,) where one can stand, evenly over the largest connected area: there is a way from each to each."""

    def snap(self, point: ArrayLike) -> Floats | None:
        """(3,) the nearest place where one can stand; None if there is none near."""

    def close(self) -> None:
        """Let go of the scene. A closed simulator can load again."""


def make_simulator(
    name: str,
    camera: Camera,
    body: Body,
    *,
    shade: bool = True,
    habitat_python: Path | None = None,
    habitat_gpu: int = -1,
) -> Simulator:
    """The simulator of that name, with no scene yet.

    shade: light surfaces by their direction, so that shape is seen (embree); without, and by habitat, colours are the
    textures' own. habitat_python, habitat_gpu: which interpreter runs habitat-sim, and what draws (`Habitat`).

    Raises:
        UserError: There is none of that name, or what it needs isn't installed.
    """
    check_choice("vln", "simulator", name, get_args(SimulatorName))
    if name == "habitat":
        from dynalang_py.envs.vln.habitat import Habitat  # which needs this module

        return Habitat(camera, body, python=habitat_python, gpu=habitat_gpu)
    return require("dynalang_py.envs.vln.embree", extra="vln", task="Simulator 'embree'").Embree(camera, body, shade)
