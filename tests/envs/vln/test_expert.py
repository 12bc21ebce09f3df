"""The expert walks in the real simulator; its demonstrations are VLN-CE's ground truth."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from dynalang_py.envs.vln.episodes import FORWARD, LEFT, RIGHT, STOP, Episode, Goal, read_episodes
from dynalang_py.envs.vln.expert import Expert, demonstrate
from dynalang_py.envs.vln.simulator import Body, Camera, Pose, Simulator, make_simulator
from dynalang_py.errors import UserError


@pytest.fixture
def simulator(world: Any) -> Iterator[Simulator]:
    simulator = make_simulator("embree", Camera(width=8, height=8), Body())
    simulator.load(world.scene)
    yield simulator
    simulator.close()


@pytest.fixture
def episode(world: Any) -> Episode:
    """From one room to the other."""
    return read_episodes(world.data / "train" / "train.json.gz").episodes[0]


def test_straight_ahead_it_goes_straight(simulator: Simulator) -> None:
    simulator.set_pose(Pose.at((-2, 0, 1)))
    assert Expert().act(simulator, (-2, 0, -1)) == FORWARD


@pytest.mark.parametrize(("yaw", "action"), [(60, RIGHT), (-60, LEFT), (-150, LEFT), (150, RIGHT)])
def test_it_turns_the_short_way_round(simulator: Simulator, yaw: float, action: int) -> None:
    simulator.set_pose(Pose.at((-2, 0, 1), yaw))
    assert Expert().act(simulator, (-2, 0, -1)) == action


def test_it_stops_near_the_goal_and_where_no_way_leads_on(simulator: Simulator) -> None:
    simulator.set_pose(Pose.at((-2, 0, -0.7)))
    assert Expert().act(simulator, (-2, 0, -1)) == STOP
    assert Expert(near=0.2).act(simulator, (-2, 0, -1)) == FORWARD
    assert Expert().act(simulator, (-2, 30, -1)) == STOP


def test_a_thought_moves_nobody(simulator: Simulator) -> None:
    simulator.set_pose(Pose.at((-2, 0, 1), 100))
    Expert().act(simulator, (3, 0, -1))
    assert simulator.pose.position.tolist() == [-2, 0, 1]
    assert simulator.pose.yaw == pytest.approx(100)


def test_a_demonstration_reaches_the_goal_step_by_step(simulator: Simulator, episode: Episode) -> None:
    truth = demonstrate(simulator, episode)
    assert episode.goals
    assert truth.actions[-1] == STOP
    assert truth.forward_steps == truth.actions.count(FORWARD) == len(truth.locations) - 1
    assert truth.locations[0] == episode.start_position
    assert np.linalg.norm(np.subtract(truth.locations[-1], episode.goals[0].position)) < 0.5
    steps = np.linalg.norm(np.diff(truth.locations, axis=0), axis=1)
    assert steps.max() < 0.251
    assert steps.sum() < 6.5  # the shortest way is 6.1 m


def test_its_actions_can_be_walked_again(simulator: Simulator, episode: Episode) -> None:
    truth, expert = demonstrate(simulator, episode), Expert()
    simulator.set_pose(Pose(position=np.array(episode.start_position), rotation=np.array(episode.start_rotation)))
    for action in truth.actions:
        expert.move(simulator, action)
    assert simulator.pose.position == pytest.approx(np.array(truth.locations[-1]))


def test_from_anywhere_to_anywhere(simulator: Simulator, episode: Episode) -> None:
    """Greedy steps of the distance by foot get stuck nowhere: around a box, through a doorway, out of corners."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        start, goal = (tuple(simulator.random_point(rng).tolist()) for _ in range(2))
        pose = Pose.at(start, rng.uniform(-180, 180))
        shortest = simulator.geodesic(start, goal)
        walk = replace(
            episode,
            start_position=start,
            start_rotation=tuple(pose.rotation.tolist()),
            goals=(Goal(position=goal),),
        )
        truth = demonstrate(simulator, walk)
        assert len(truth.actions) < 26 + 6 * shortest / 0.25
        assert 0.25 * truth.actions.count(FORWARD) < 1.15 * shortest + 0.5


def test_an_episode_without_a_goal_or_a_way_is_told(simulator: Simulator, episode: Episode) -> None:
    with pytest.raises(UserError, match="episode 1 has no goal"):
        demonstrate(simulator, replace(episode, goals=None))
    with pytest.raises(UserError, match="episode 1"):
        demonstrate(simulator, replace(episode, goals=(Goal(position=(0.0, 30.0, 0.0)),)))
    with pytest.raises(UserError, match="walked 3 steps in episode 1 without arriving"):
        demonstrate(simulator, episode, max_steps=3)
