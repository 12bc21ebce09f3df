"""The simulator that needs nothing but pip: rays by Intel Embree (package embreex), ways by `navgrid`."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from embreex.mesh_construction import TriangleMesh
from embreex.rtcore_scene import EmbreeScene
from numpy.typing import ArrayLike, NDArray

from dynalang_py.envs.vln.atlas import LEVELS
from dynalang_py.envs.vln.cache import State, cached, content_key, scene_state
from dynalang_py.envs.vln.floors import FloorArrays, find_floors
from dynalang_py.envs.vln.navgrid import NavGrid
from dynalang_py.envs.vln.scene import SceneArrays, read_scene
from dynalang_py.envs.vln.simulator import Body, Camera, Floats, Pose
from dynalang_py.errors import UserError

LIGHT = (0.78, 1.0, 0.9)
"""Brightness of surfaces that face x, y or z; others lie between, so that edges and shape are seen."""
SCENES = 16
"""Scenes that a process keeps ready, for all its environments together."""


@dataclass(frozen=True, kw_only=True)
class OpenScene:
    """What all environments of a process that look at one scene share."""

    arrays: SceneArrays
    rays: EmbreeScene
    light: NDArray[np.uint16]
    """(F,) brightness of triangles, 256 is full."""
    grid: NavGrid


def open_scene(path: Path, body: Body) -> OpenScene:
    """The scene of a file, for this body; from memory if all that it reads is as it was last time.

    Raises:
        UserError: The file is missing or unreadable, or nobody could stand anywhere in it.
    """
    return _open(scene_state(path.absolute()), body)  # not resolved: a link's neighbours say how the scene lies


@lru_cache(maxsize=SCENES)
def _open(state: State, body: Body) -> OpenScene:
    (path, *_), *_ = state
    key = content_key(state)
    arrays = cached(SceneArrays, key, lambda: read_scene(path))
    size = f"{body.radius:g}-{body.height:g}-{body.climb:g}"
    try:
        floors = cached(FloorArrays, f"{key}-{size}", lambda: find_floors(arrays.vertices, arrays.faces, body))
    except UserError as error:
        raise UserError(f"Scene {path}: {error}.") from error
    rays = EmbreeScene()
    TriangleMesh(rays, arrays.vertices, arrays.faces)
    corners = arrays.vertices[arrays.faces]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-12)
    light = np.rint(256 * (normal**2 @ np.array(LIGHT))).astype(np.uint16)
    return OpenScene(arrays=arrays, rays=rays, light=light, grid=NavGrid(floors, body))


class Embree:
    """A `Simulator` without a display, a GPU or a system library.

    Pixels show the nearest texel of the level of the texture's pyramid that fits their distance. Everything is opaque
    and seen from both sides. Colours are the file's own, as shown by habitat-sim without lights; `shade` dims surfaces
    by their direction. What no ray hits is black and has depth 0.
    """

    def __init__(self, camera: Camera, body: Body, shade: bool = True) -> None:
        self.camera = camera
        self.body = body
        self.shade = shade
        self._scene: OpenScene | None = None
        self._pose = Pose()
        half = np.tan(np.radians(camera.hfov) / 2)
        x = ((np.arange(camera.width) + 0.5) / camera.width * 2 - 1) * half
        y = (1 - (np.arange(camera.height) + 0.5) / camera.height * 2) * half * camera.height / camera.width
        # One metre along the viewing axis, so that the distance along a ray is the planar depth.
        self._rays = np.stack(np.broadcast_arrays(x[None], y[:, None], -1.0), -1).reshape(-1, 3)  # (H·W, 3)
        self._pixel = (2 * half / camera.width) ** 2  # its area at one metre
        self._eye = np.array([0.0, camera.above_floor, 0.0])

    def load(self, scene: Path) -> None:
        self._scene = open_scene(scene, self.body)

    @property
    def pose(self) -> Pose:
        return self._pose

    def set_pose(self, pose: Pose) -> None:
        self._pose = pose

    def observe(self) -> dict[str, NDArray[Any]]:
        scene, camera = self._loaded, self.camera
        directions = (self._rays @ self._pose.matrix.T).astype(np.float32)
        origins = np.empty_like(directions)
        origins[:] = self._pose.position + self._eye
        hits = scene.rays.run(origins, directions, query="INTERSECT", output=True)
        missed = hits["primID"] < 0
        depth = np.where(missed, np.float32(0), hits["tfar"])
        rgb = self._colors(scene, hits, directions, depth)
        rgb[missed] = 0
        seen: dict[str, NDArray[Any]] = {"rgb": rgb.reshape(camera.height, camera.width, 3)}
        if camera.depth:
            seen["depth"] = depth.reshape(camera.height, camera.width)
        return seen

    def forward(self, metres: float) -> bool:
        before = self._pose.position
        after = self._loaded.grid.walk(before, self._pose.ahead, metres)
        self._pose = self._pose.moved(after)
        return bool(np.hypot(*(after - before)[[0, 2]]) < metres - 0.001)

    def turn(self, degrees: float) -> None:
        self._pose = self._pose.turned(degrees)

    def geodesic(self, a: ArrayLike, b: ArrayLike) -> float:
        return self._loaded.grid.geodesic(a, b)

    def shortest_path(self, a: ArrayLike, b: ArrayLike) -> Floats:
        return self._loaded.grid.path(a, b)

    def random_point(self, rng: np.random.Generator) -> Floats:
        return self._loaded.grid.random_point(rng)

    def snap(self, point: ArrayLike) -> Floats | None:
        return self._loaded.grid.snap(point)

    def close(self) -> None:
        self._scene = None

    @property
    def _loaded(self) -> OpenScene:
        assert self._scene is not None, "load a scene first"
        return self._scene

    def _colors(
        self,
        scene: OpenScene,
        hits: dict[str, NDArray[Any]],
        directions: NDArray[np.float32],
        depth: NDArray[np.float32],
    ) -> NDArray[np.uint8]:
        """(H·W, 3) what each ray hit; anything where it hit nothing."""
        arrays = scene.arrays
        triangle = np.maximum(hits["primID"], 0)
        second, third = hits["u"], hits["v"]  # weights of the second and the third corner
        surface = np.ascontiguousarray(arrays.surface.take(triangle, 0).T)
        u0, v0, u_second, v_second, u_third, v_third, area, texture = surface  # (H·W,) each
        u = u0 + second * u_second + third * u_third
        v = v0 + second * v_second + third * v_third
        # How many texels a pixel covers: their area per area of the triangle (Ng has twice that as its length), times
        # the pixel's area there. Seen at a slant a pixel covers a long strip; this takes the square of its area.
        facing = np.abs(np.einsum("ij,ij->i", hits["Ng"], directions))
        covered = depth * depth * np.float32(self._pixel) * area / np.maximum(facing, 1e-12)
        level = (0.5 * np.log2(np.clip(covered, 1, 4 ** (LEVELS - 1))) + 0.5).astype(np.int32)
        pyramid = texture.astype(np.int32) * LEVELS + level
        first, width, height = arrays.pyramids.take(pyramid, 0).T
        if len(arrays.wraps):
            along_u, along_v = arrays.wraps.take(texture.astype(np.int32), 0).T
            u, v = _within(u, along_u), _within(v, along_v)
        else:
            u, v = u - np.floor(u), v - np.floor(v)
        column = np.minimum((u * width).astype(np.int32), width - 1)
        row = np.minimum((v * height).astype(np.int32), height - 1)
        rgb = arrays.texels.take(first + row * width + column).view(np.uint8).reshape(-1, 4)[:, :3]
        if len(arrays.tints):
            tint = arrays.tints.take(triangle, 0).reshape(-1, 3, 3)
            weights = np.stack([1 - second - third, second, third], 1)
            rgb = np.rint(rgb * np.einsum("ij,ijk->ik", weights, tint)).astype(np.uint8)
        if self.shade:
            rgb = (rgb * scene.light.take(triangle)[:, None] >> 8).astype(np.uint8)
        return np.ascontiguousarray(rgb)


def _within(place: NDArray[np.float32], wrap: NDArray[np.int32]) -> NDArray[np.float32]:
    """Places along a texture, brought to where it shows what lies there: 0 to 1."""
    turn = place - 2 * np.floor(place / 2)  # 0 to 2: there and back
    return np.choose(wrap, [place - np.floor(place), np.clip(place, 0, 1), np.minimum(turn, 2 - turn)])
