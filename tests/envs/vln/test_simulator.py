import sys
from pathlib import Path

import numpy as np
import pytest

from dynalang_py.envs.vln.simulator import Body, Camera, Pose, make_simulator
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


def test_habitat_is_said_to_be_missing_and_what_does_the_same() -> None:
    with pytest.raises(UserError, match=r"^Simulator 'habitat' is not part of this version .*'embree' opens the same"):
        make_simulator("habitat", Camera(), Body())


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


def test_a_missing_scene_is_one_sentence(tmp_path: Path) -> None:
    pytest.importorskip("embreex")
    with pytest.raises(UserError, match=r"^Scene .*house\.glb does not exist\.$"):
        make_simulator("embree", Camera(), Body()).load(tmp_path / "house.glb")


def test_what_is_not_installed_is_named_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "embreex.rtcore_scene", None)
    monkeypatch.setitem(sys.modules, "embreex.mesh_construction", None)
    monkeypatch.delitem(sys.modules, "dynalang_py.envs.vln.embree", raising=False)
    with pytest.raises(UserError, match=r"^Simulator 'embree' needs the vln extra: pip install 'dynalang_py\[vln\]'"):
        make_simulator("embree", Camera(), Body())
