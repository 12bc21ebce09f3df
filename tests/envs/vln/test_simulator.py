"""Poses, and what every simulator must do; each of those tests runs in all of them that are here."""

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

from dynalang_py.envs.vln.simulator import Body, Camera, Pose, Simulator, SimulatorName, make_simulator
from dynalang_py.errors import UserError


def test_at_yaw_0_the_agent_looks_along_minus_z_and_turns_left_towards_minus_x() -> None:
    np.testing.assert_allclose(Pose().ahead, [0, 0, -1])
    np.testing.assert_allclose(Pose().turned(90).ahead, [-1, 0, 0], atol=1e-12)
    np.testing.assert_allclose(Pose.at([0, 0, 0], yaw=-90).ahead, [1, 0, 0], atol=1e-12)


@pytest.mark.parametrize("yaw", [0, 15, 90, 179, -15, -120])
def test_yaw_is_what_was_turned(yaw: float) -> None:
    assert Pose.at([1, 2, 3], yaw).yaw == pytest.approx(yaw)
    assert Pose.at([1, 2, 3], yaw - 40).turned(40).yaw == pytest.approx(yaw)


def test_a_turn_of_a_tilted_pose_is_about_the_vertical() -> None:
    half = np.radians(30) / 2
    looking_up = Pose(rotation=(np.sin(half), 0, 0, np.cos(half)))
    np.testing.assert_allclose(looking_up.ahead, [0, 0.5, -np.sqrt(0.75)], atol=1e-12)
    np.testing.assert_allclose(looking_up.turned(90).ahead, [-np.sqrt(0.75), 0.5, 0], atol=1e-12)


def test_a_quaternion_is_read_as_x_y_z_w_and_normalised() -> None:
    pose = Pose(position=[1, 2, 3], rotation=[0, 2, 0, 2])
    assert pose.yaw == pytest.approx(90)
    np.testing.assert_allclose(pose.matrix @ pose.matrix.T, np.eye(3), atol=1e-12)


def test_moved_keeps_the_direction() -> None:
    moved = Pose.at([1, 2, 3], 30).moved([4, 5, 6])
    assert moved.yaw == pytest.approx(30)
    np.testing.assert_array_equal(moved.position, [4, 5, 6])


def test_a_mistyped_simulator_gets_the_nearest_name() -> None:
    with pytest.raises(UserError, match=r"vln.simulator must be 'embree' or 'habitat', got 'embre'. Did you mean 'emb"):
        make_simulator("embre", Camera(), Body())


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Camera(width=0), "camera.width must be from 1 to 4096, got 0."),
        (lambda: Camera(hfov=180), "camera.hfov must be from 1 to 175, got 180."),
        (lambda: Body(radius=0), "body.radius must be from 0.02 to 0.5, got 0."),
    ],
)
def test_impossible_cameras_and_bodies_are_refused(make: object, sentence: str) -> None:
    assert callable(make)
    with pytest.raises(UserError) as error:
        make()
    assert str(error.value) == sentence


def test_what_is_not_installed_is_named_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "embreex.rtcore_scene", None)
    monkeypatch.setitem(sys.modules, "embreex.mesh_construction", None)
    monkeypatch.delitem(sys.modules, "dynalang_py.envs.vln.embree", raising=False)
    with pytest.raises(UserError, match=r"^Simulator 'embree' needs the vln extra: pip install 'dynalang_py\[vln\]'"):
        make_simulator("embree", Camera(), Body())


Make = Callable[..., Simulator]
INSIDE, BEHIND_THE_WALL = [-2.0, 0.0, 0.0], [2.0, 0.0, -1.5]


@pytest.fixture(params=get_args(SimulatorName))
def make(request: pytest.FixtureRequest, world: Any) -> Iterator[Make]:
    """Makes simulators of one kind, without lights and with `world` loaded."""
    if request.param == "habitat":
        request.getfixturevalue("habitat")
    made: list[Simulator] = []

    def make_one(camera: Camera | None = None, body: Body | None = None) -> Simulator:
        simulator = make_simulator(request.param, camera or Camera(), body or Body(), shade=False)
        made.append(simulator)
        simulator.load(world.scene)
        return simulator

    yield make_one
    for simulator in made:
        simulator.close()


def test_a_pose_is_kept_as_it_was_set_and_turns_about_the_vertical(make: Make) -> None:
    simulator = make()
    simulator.set_pose(Pose.at([-1.25, 0.5, 0.125], yaw=30))
    simulator.turn(15)
    np.testing.assert_array_equal(simulator.pose.position, [-1.25, 0.5, 0.125])
    assert simulator.pose.yaw == pytest.approx(45)


def test_a_camera_sees_in_metres_along_its_axis_and_in_the_files_colours(make: Make) -> None:
    simulator = make(Camera(width=64, height=48, hfov=90, above_floor=0.7))
    simulator.set_pose(Pose.at([1.0, 0, 1.4], yaw=-90))  # the red box is 2 m ahead, the outer wall 2.95 m
    seen = simulator.observe()
    assert seen["rgb"].shape == (48, 64, 3)
    assert seen["rgb"].dtype == np.uint8
    assert seen["depth"].shape == (48, 64)
    assert seen["depth"].dtype == np.float32
    np.testing.assert_allclose(seen["depth"][22:26, 30:34], 2.0, atol=1e-3)
    np.testing.assert_array_equal(seen["rgb"][22:26, 30:34], np.broadcast_to([220, 30, 30], (4, 4, 3)))
    # To the left, past the box, is the outer wall; depth is no distance, which would grow towards the edge.
    np.testing.assert_allclose(seen["depth"][22:26, :2], 2.95, atol=1e-3)
    assert tuple(seen["rgb"][24, 0]) == (180, 180, 190)
    np.testing.assert_allclose(seen["depth"][47, :40], 0.7 / (23.5 / 32), atol=1e-3)  # the floor


def test_nothing_is_black_and_has_depth_0(make: Make) -> None:
    simulator = make()
    simulator.set_pose(Pose.at([0, 20, 0]))
    seen = simulator.observe()
    assert not seen["rgb"][:32].any()
    assert not seen["depth"][:32].any()


def test_a_camera_without_depth_has_none(make: Make) -> None:
    assert set(make(Camera(width=9, height=7, depth=False)).observe()) == {"rgb"}


def test_what_was_seen_stays_as_it_was(make: Make) -> None:
    simulator = make()
    simulator.set_pose(Pose.at([1.0, 0, 1.4], yaw=-90))
    first = simulator.observe()
    kept = {name: image.copy() for name, image in first.items()}
    simulator.set_pose(Pose.at(INSIDE))
    assert (simulator.observe()["depth"] != kept["depth"]).any()
    for name, image in kept.items():
        np.testing.assert_array_equal(first[name], image)


def test_a_free_step_goes_all_the_way_in_the_direction_looked_at(make: Make) -> None:
    simulator = make()
    simulator.set_pose(Pose.at(INSIDE, yaw=-60))
    assert not simulator.forward(0.25)
    moved = simulator.pose.position - INSIDE
    np.testing.assert_allclose(moved[[0, 2]], [0.25 * np.sin(np.pi / 3), -0.125], atol=1e-4)
    assert -1e-6 <= moved[1] < 0.05
    assert simulator.pose.yaw == pytest.approx(-60)


@pytest.mark.parametrize("sliding", [True, False])
def test_a_wall_stops_or_turns_aside(make: Make, sliding: bool) -> None:
    simulator = make(body=Body(sliding=sliding))
    simulator.set_pose(Pose.at([-0.5, 0, -1.2], yaw=-60))
    hits = [simulator.forward(0.25) for _ in range(4)]
    x, _, z = simulator.pose.position
    assert hits[-1]
    assert x == pytest.approx(-0.05 - 0.1, abs=0.06)  # the wall's side, less the radius
    assert (z < -1.6) == sliding  # four steps take it 0.5 m to the side


def test_ways_lead_through_the_doorway(make: Make) -> None:
    simulator = make()
    start = [-2.0, 0.0, -1.5]
    path = simulator.shortest_path(start, BEHIND_THE_WALL)
    by_hand = 2 * np.hypot(1.85, 1.1) + 0.3  # round the corners at z = −0.4, a radius off the doorway's wall
    assert simulator.geodesic(start, BEHIND_THE_WALL) == pytest.approx(by_hand, rel=0.04)
    assert np.linalg.norm(np.diff(path, axis=0), axis=1).sum() == pytest.approx(by_hand, rel=0.04)
    np.testing.assert_allclose(path[[0, -1]], [start, BEHIND_THE_WALL], atol=0.06)
    assert simulator.geodesic(start, start) == pytest.approx(0, abs=1e-3)


def test_where_no_way_leads_the_distance_is_infinite_and_the_path_empty(make: Make) -> None:
    simulator = make()
    for point in ([100.0, 0.0, 100.0], [0.0, 30.0, 0.0]):
        assert simulator.geodesic(INSIDE, point) == np.inf
        assert simulator.shortest_path(INSIDE, point).shape == (0, 3)
        assert simulator.snap(point) is None


def test_a_point_in_a_wall_is_snapped_beside_it(make: Make) -> None:
    snapped = make().snap([0.0, 0.1, -1.5])
    assert snapped is not None
    assert 0.12 <= abs(snapped[0]) <= 0.25
    assert snapped[2] == pytest.approx(-1.5, abs=0.05)


def test_random_points_are_repeatable_spread_and_connected(make: Make) -> None:
    simulator = make()
    draws = [[simulator.random_point(rng) for _ in range(60)] for rng in map(np.random.default_rng, (5, 5, 6))]
    np.testing.assert_array_equal(draws[0], draws[1])
    assert (np.array(draws[0]) != draws[2]).any()
    points = np.array(draws[0])
    assert 15 < (points[:, 0] > 0).sum() < 45  # two rooms of the same size
    assert all(np.isfinite(simulator.geodesic(point, points[0])) for point in points)


def test_another_scene_replaces_the_open_one(make: Make, world: Any, tmp_path: Path) -> None:
    simulator = make()
    turned = tmp_path / "turned.glb"
    shutil.copy(world.scene, turned)
    stage = {"render_asset": turned.name, "up": [0, 1, 0], "front": [-1, 0, 0]}  # the file's −x is ahead
    turned.with_name("turned.stage_config.json").write_text(json.dumps(stage))
    simulator.load(turned)
    simulator.set_pose(Pose.at([0, 0, 0]))
    assert simulator.observe()["depth"][32, 32] == pytest.approx(3.95, abs=0.01)
    simulator.load(world.scene)
    assert simulator.observe()["depth"][32, 32] == pytest.approx(0.5, abs=0.01)  # inside of the wall with the doorway


def test_a_scene_that_was_written_anew_is_read_anew(make: Make, world: Any, tmp_path: Path) -> None:
    import trimesh

    simulator, path = make(), tmp_path / "house.glb"
    shutil.copy(world.scene.with_name("house.stage_config.json"), tmp_path)
    for height in (3, 4):
        trimesh.creation.box(bounds=[(-3, 0, -3), (3, height, 3)]).export(path)
        simulator.load(path)
        simulator.set_pose(Pose.at([0, height, 0]))
        landed = simulator.snap([0, height, 0])
        assert landed is not None
        assert landed[1] == pytest.approx(height, abs=0.05)


def test_a_bare_glb_is_z_up(make: Make, world: Any, tmp_path: Path) -> None:
    import trimesh

    simulator = make()
    simulator.set_pose(Pose.at(INSIDE, yaw=-60))
    seen = simulator.observe()
    house = trimesh.load_scene(world.scene)
    house.apply_transform(trimesh.transformations.rotation_matrix(np.pi / 2, [1, 0, 0]))  # y to z
    house.export(tmp_path / "bare.glb")
    simulator.load(tmp_path / "bare.glb")
    again = simulator.observe()
    np.testing.assert_allclose(again["depth"], seen["depth"], atol=1e-3)
    assert (again["rgb"] == seen["rgb"]).mean() > 0.99
    assert simulator.snap(INSIDE) is not None


def test_a_closed_simulator_loads_again(make: Make, world: Any) -> None:
    simulator = make()
    simulator.close()
    simulator.load(world.scene)
    assert simulator.snap(INSIDE) is not None


def test_a_missing_scene_is_one_sentence_and_leaves_all_as_it_was(make: Make, tmp_path: Path) -> None:
    simulator = make()
    with pytest.raises(UserError, match=r"^Scene .*house\.glb does not exist\.$"):
        simulator.load(tmp_path / "house.glb")
    assert simulator.snap(INSIDE) is not None


def test_a_broken_scene_is_one_sentence(make: Make, tmp_path: Path) -> None:
    (tmp_path / "broken.glb").write_bytes(b"not a scene")
    with pytest.raises(UserError, match=r"^Scene .*broken\.glb .*\.$"):
        make().load(tmp_path / "broken.glb")
