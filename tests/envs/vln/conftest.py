"""A house to walk in: two rooms and a doorway between them, with episodes in VLN-CE's format."""

import base64
import importlib.util
import io
import json
import os
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from dynalang_py.envs.vln.episodes import Episode, EpisodeFile, Goal, Instruction, write_episodes
from dynalang_py.envs.vln.habitat import VARIABLE, Habitat
from dynalang_py.envs.vln.simulator import Body, Camera
from dynalang_py.errors import UserError

SCENE = "house/house.glb"


class World(NamedTuple):
    """data: the folder of episodes. They lie in its split "train", three of them, and in "test", without goals."""

    data: Path
    scene: Path


def quaternion(yaw: float) -> tuple[float, float, float, float]:
    """Turned to the left by so many degrees, from -z."""
    half = np.radians(yaw) / 2
    return (0.0, float(np.sin(half)), 0.0, float(np.cos(half)))


def episode(number: int, start: tuple[float, float], goal: tuple[float, float], yaw: float, text: str) -> Episode:
    return Episode(
        episode_id=number,
        scene_id=SCENE,
        start_position=(start[0], 0.0, start[1]),
        start_rotation=quaternion(yaw),
        goals=(Goal(position=(goal[0], 0.0, goal[1]), radius=1.0),),
        instruction=Instruction(text=text),
    )


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Floor 8 × 4 m around the origin; the wall at x = 0 has a doorway from z = -0.5 to 0.5. A red box is inside."""
    for package in ("trimesh", "embreex", "scipy"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    import trimesh

    def box(low: tuple[float, ...], high: tuple[float, ...], colour: tuple[int, ...]) -> trimesh.Trimesh:
        mesh = trimesh.creation.box(bounds=[low, high])
        mesh.visual = trimesh.visual.TextureVisuals(
            material=trimesh.visual.material.PBRMaterial(baseColorFactor=[*colour, 255])
        )
        return mesh

    grey, red, brown = (180, 180, 190), (220, 30, 30), (150, 110, 70)
    house = trimesh.Scene(
        [
            box((-4, -0.1, -2), (4, 0, 2), brown),
            box((-4, 2.5, -2), (4, 2.6, 2), grey),
            *(box((x - 0.05, 0, -2), (x + 0.05, 2.5, 2), grey) for x in (-4, 4)),
            *(box((-4, 0, z - 0.05), (4, 2.5, z + 0.05), grey) for z in (-2, 2)),
            *(box((-0.05, 0, low), (0.05, 2.5, high), grey) for low, high in ((-2, -0.5), (0.5, 2))),
            box((3, 0, 1), (3.8, 1.4, 1.8), red),
        ]
    )
    data = tmp_path_factory.mktemp("world")
    scene = data / "scenes" / SCENE
    scene.parent.mkdir(parents=True)
    house.export(scene)
    # Without this file a GLB counts as z-up, as Matterport3D's are.
    stage = {"render_asset": scene.name, "up": [0, 1, 0], "front": [0, 0, -1], "requires_lighting": False}
    scene.with_name("house.stage_config.json").write_text(json.dumps(stage))
    episodes = (
        episode(1, (-3.0, -1.0), (3.0, -1.0), 0.0, "Leave the room and turn right."),
        episode(2, (-2.0, 1.0), (-2.0, -1.0), 0.0, "Go straight, then stop."),
        episode(3, (3.0, -1.5), (-3.0, 1.5), 90.0, "Walk to the other room."),
    )
    write_episodes(EpisodeFile(episodes=episodes), data / "train" / "train.json.gz")
    hidden = EpisodeFile(episodes=tuple(replace(item, goals=None) for item in episodes))
    write_episodes(hidden, data / "test" / "test.json.gz")
    return World(data, scene)


@pytest.fixture(scope="session")
def habitat() -> None:
    """For tests that need habitat-sim: in the interpreter that the environment variable names, or in this one."""
    try:
        Habitat(Camera(width=8, height=8), Body()).close()
    except UserError as error:
        if VARIABLE in os.environ:
            raise
        pytest.skip(str(error))


class Gltf:
    """A glTF document that is being built: `json` may be changed at will until it is written."""

    KINDS = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "float32")
    TYPES = ("", "SCALAR", "VEC2", "VEC3", "VEC4")
    CORNERS = ((0, 0, 0), (2, 0, 0), (2, 1, 0), (0, 1, 0))
    """Of a wall: bottom left, bottom right, top right, top left."""
    UV = ((0, 1), (1, 1), (1, 0), (0, 0))
    ORDER = (0, 1, 2, 0, 2, 3)

    def __init__(self) -> None:
        self.json: dict[str, Any] = {"asset": {"version": "2.0"}, "scene": 0, "scenes": [{"nodes": [0]}]}
        self.bytes = b""

    def add(self, kind: str, **values: Any) -> int:
        self.json.setdefault(kind, []).append(values)
        return len(self.json[kind]) - 1

    def view(self, content: bytes, **values: Any) -> int:
        start = len(self.bytes)
        self.bytes += content + bytes(-len(content) % 4)
        return self.add("bufferViews", buffer=0, byteOffset=start, byteLength=len(content), **values)

    def accessor(self, rows: ArrayLike, kind: str = "float32", **values: Any) -> int:
        array: NDArray[Any] = np.asarray(rows, kind)
        array = array[:, None] if array.ndim == 1 else array
        shape: dict[str, Any] = {"componentType": 5120 + self.KINDS.index(kind), "count": len(array)}
        shape |= {"bufferView": self.view(array.tobytes()), "type": self.TYPES[array.shape[1]]}
        return self.add("accessors", **(shape | values))

    def wall(self, **primitive: Any) -> dict[str, Any]:
        """Node 0 with mesh 0. Returns its primitive, to be changed."""
        made = {"attributes": {"POSITION": self.accessor(self.CORNERS)}, "indices": self.accessor(self.ORDER, "uint16")}
        made |= primitive
        self.add("nodes", mesh=self.add("meshes", primitives=[made]))
        return made

    def textured(self, *pixels: tuple[int, ...], **info: Any) -> dict[str, Any]:
        """A wall with material 0, whose picture is one row of pixels. Returns its primitive."""
        made = self.wall(material=0)
        made["attributes"]["TEXCOORD_0"] = self.accessor(self.UV)
        texture = self.add("textures", source=self.add("images", bufferView=self.view(self.png(*pixels))))
        self.add("materials", pbrMetallicRoughness={"baseColorTexture": {"index": texture, **info}})
        return made

    @staticmethod
    def png(*pixels: tuple[int, ...], kind: str = "png") -> bytes:
        file = io.BytesIO()
        Image.fromarray(np.array([pixels], np.uint8)).save(file, kind, **({"lossless": True} if kind == "webp" else {}))
        return file.getvalue()

    def save(self, path: Path) -> Path:
        """As .glb, or as .gltf with its buffer in it; y up."""
        path.with_name(f"{path.stem}.stage_config.json").write_text(json.dumps({"up": [0, 1, 0], "front": [0, 0, -1]}))
        buffer: dict[str, Any] = {"byteLength": len(self.bytes)}
        if path.suffix == ".gltf":
            buffer["uri"] = "data:application/octet-stream;base64," + base64.b64encode(self.bytes).decode()
        text = json.dumps({"buffers": [buffer], **self.json})
        path.write_bytes(text.encode() if path.suffix == ".gltf" else self.packed(text.encode(), self.bytes))
        return path

    @staticmethod
    def packed(text: bytes, content: bytes) -> bytes:
        """A GLB file."""
        text += b" " * (-len(text) % 4)
        chunks = struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(content), b"BIN\0") + content
        return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks


@pytest.fixture
def gltf() -> Gltf:
    return Gltf()
