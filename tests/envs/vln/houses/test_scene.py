"""The files of a scene, and what a simulator makes of them."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("embreex")
trimesh: Any = pytest.importorskip("trimesh")

from dynalang_py.envs.vln.houses.builtin import BuiltIn  # noqa: E402
from dynalang_py.envs.vln.houses.house import House, describe, make_house, write_scene  # noqa: E402
from dynalang_py.envs.vln.houses.mesh import build_glb  # noqa: E402
from dynalang_py.envs.vln.houses.paths import free_places, snapped  # noqa: E402
from dynalang_py.envs.vln.houses.picture import SCALE, draw_picture  # noqa: E402
from dynalang_py.envs.vln.houses.plan import HEIGHT  # noqa: E402
from dynalang_py.envs.vln.simulator import Body, Camera, Pose, Simulator, make_simulator  # noqa: E402


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def folder(houses: list[House], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Scenes of the first two houses of each level."""
    folder = tmp_path_factory.mktemp("scenes")
    for house in few(houses):
        write_scene(house, BuiltIn(), folder / house.name)
    return folder


def few(houses: list[House]) -> list[House]:
    return [house for house in houses if house.name.endswith(("_0", "_1"))]


def simulator(folder: Path, house: House, radius: float) -> Simulator:
    made = make_simulator("embree", Camera(width=65, height=65), Body(radius=radius))
    made.load(folder / house.name / f"{house.name}.glb")
    return made


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_scene(make_house("house", "rooms", "seed", BuiltIn()), BuiltIn(), tmp_path / name)
    files = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert files == ["house.glb", "house.json", "house.png", "house.stage_config.json"]
    for name in files:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name


def test_another_seed_gives_another_house() -> None:
    a, b = (make_house("house", "rooms", seed, BuiltIn()) for seed in ("1", "2"))
    assert a.plan != b.plan
    assert a.pieces != b.pieces


def test_the_stage_file_tells_habitat_how_to_show_it(folder: Path) -> None:
    stage = json.loads((folder / "goto_0" / "goto_0.stage_config.json").read_text())
    assert stage == {
        "render_asset": "goto_0.glb",
        "collision_asset": "goto_0.glb",
        "up": [0, 1, 0],
        "front": [0, 0, -1],
        "requires_lighting": False,
    }


def test_the_metadata_tell_where_everything_is(houses: list[House], folder: Path) -> None:
    for house in few(houses):
        told = json.loads((folder / house.name / f"{house.name}.json").read_text())
        assert told == describe(house)
        assert len(told["objects"]) == len(house.pieces)
        rooms = {room["name"]: room["box"] for room in told["rooms"]}
        for thing in told["objects"]:
            x0, y0, z0, x1, y1, z1 = thing["box"]
            a0, b0, c0, a1, b1, c1 = rooms[thing["room"]]
            assert a0 <= x0 < x1 <= a1
            assert b0 <= y0 < y1 <= b1
            assert c0 <= z0 < z1 <= c1


def test_objects_are_in_the_mesh_where_the_metadata_say(houses: list[House], folder: Path) -> None:
    for house in few(houses):
        scene = trimesh.load(folder / house.name / f"{house.name}.glb")
        for thing in describe(house)["objects"]:
            low, high = scene.geometry[thing["name"]].bounds
            assert (low >= np.array(thing["box"][:3]) - 0.01).all()
            assert (high - thing["box"][3:] <= (0.01, 0.13, 0.01)).all()
        bounds = house.plan.bounds
        assert scene.bounds[:, 1] == pytest.approx([0, HEIGHT], abs=1e-4)
        assert scene.bounds[0, [0, 2]] == pytest.approx([bounds.x0, bounds.z0], abs=1e-4)


def test_rooms_are_seen_from_inside(houses: list[House]) -> None:
    house = houses[0]
    scene = trimesh.load(io.BytesIO(build_glb(house.plan, house.pieces, BuiltIn(), house.seed)), file_type="glb")
    room = house.plan.rooms[0]
    middle = np.array([room.box.centre[0], HEIGHT / 2, room.box.centre[1]])
    name = room.name.replace(" ", "_")
    for part in ("floor", "ceiling", "wall.north", "wall.east", "wall.south", "wall.west"):
        mesh = scene.geometry[f"{name}.{part}"]
        inwards = middle - mesh.triangles_center
        assert ((mesh.face_normals * inwards).sum(1) > 0).all(), part


def test_no_triangle_is_without_area(houses: list[House], folder: Path) -> None:
    for house in few(houses):
        mesh = trimesh.load(folder / house.name / f"{house.name}.glb").to_geometry()
        assert mesh.area_faces.min() > 0


def test_every_room_can_be_walked_to_by_a_wide_agent(houses: list[House], folder: Path) -> None:
    for house in few(houses):
        agent = simulator(folder, house, 0.2)
        spots = [
            next(spot for place in free_places(house, room.name) if (spot := snapped(agent, *place)) is not None)
            for room in house.plan.rooms
        ]
        assert all(np.isfinite(agent.geodesic(spots[0], spot)) for spot in spots)


def test_walls_are_where_the_plan_has_them(houses: list[House], folder: Path) -> None:
    house = houses[0]  # one room
    box = house.plan.rooms[0].box
    agent = simulator(folder, house, 0.1)
    x, z = box.centre
    agent.set_pose(Pose.at((x, 1.3, z)))  # at the height of 2.55 m there is no furniture
    for yaw, distance in ((0, z - box.z0), (90, x - box.x0), (180, box.z1 - z), (-90, box.x1 - x)):
        agent.set_pose(Pose.at((x, 1.3, z), yaw))
        depth = np.asarray(agent.observe()["depth"])
        assert depth[32, 32] == pytest.approx(distance, abs=0.01)


def test_the_floor_plan_shows_furniture_in_its_colours(houses: list[House]) -> None:
    house = houses[-1]
    image = np.asarray(Image.open(io.BytesIO(draw_picture(house.plan, house.pieces))))
    bounds = house.plan.bounds
    assert image.shape[1] > bounds.width * SCALE
    assert image.shape[0] > bounds.depth * SCALE
    assert len(np.unique(image.reshape(-1, 3), axis=0)) > 10
