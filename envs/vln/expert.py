"""An expert who knows the way: yields the actions of the shortest path, one by one.

Greedy on the distance by foot, as Habitat's own follower is: of all directions it takes the one in which a step brings
it nearest to the goal. The step is tried in the simulator, so that walls, sliding and stairs count.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from dynalang_py.envs.vln.episodes import FORWARD, LEFT, RIGHT, STOP, Episode, GroundTruth
from dynalang_py.envs.vln.fields import Point
from dynalang_py.envs.vln.goals import nearest_goal
from dynalang_py.envs.vln.simulator import Pose, Simulator
from dynalang_py.errors import UserError

TURN_COST = 0.01
"""Metres that a turn counts as: of directions that are equally good, the one that is nearer is taken."""


@dataclass(frozen=True, kw_only=True)
class Expert:
    """Steps as long, and turns as wide, as the agent's."""

    forward: float = 0.25
    """Metres of a step."""
    turn: float = 15.0
    """Degrees of a turn."""
    near: float = 0.5
    """Metres from the goal at which it stops; VLN-CE's ground truth ends within this distance."""

    def act(self, simulator: Simulator, goals: ArrayLike) -> int:
        """The next action on the way to the nearest of `goals`, (3,) or (G, 3).

        It is STOP at a goal, and where no step in any direction comes nearer to one.
        """
        here = simulator.pose
        _, distance = nearest_goal(simulator, here.position, goals)
        if not self.near <= distance < np.inf:
            return STOP
        turns, best = 0, 0.0
        for number in self._directions():
            simulator.set_pose(here.turned(number * self.turn))
            simulator.forward(self.forward)
            gain = distance - nearest_goal(simulator, simulator.pose.position, goals)[1] - TURN_COST * abs(number)
            if gain > best + 1e-6:
                turns, best = number, gain
            if gain > 0.99 * self.forward - TURN_COST * abs(number):
                break  # no direction is much better
        simulator.set_pose(here)
        if best == 0:
            return STOP
        return FORWARD if turns == 0 else LEFT if turns > 0 else RIGHT

    def move(self, simulator: Simulator, action: int) -> None:
        """Do what an action says; STOP does nothing."""
        if action == FORWARD:
            simulator.forward(self.forward)
        elif action in (LEFT, RIGHT):
            simulator.turn(self.turn if action == LEFT else -self.turn)

    def _directions(self) -> list[int]:
        """Turns to the left (positive) or right before a step, the fewest first, all the way round."""
        return sorted(range(-int(179 // self.turn), int(180 // self.turn) + 1), key=abs)


def demonstrate(
    simulator: Simulator, episode: Episode, expert: Expert | None = None, max_steps: int = 500
) -> GroundTruth:
    """Walk an episode in a simulator that has its scene loaded, from its start to the nearest of its goals.

    Raises:
        UserError: The episode has no goal, or the expert didn't reach it in `max_steps` actions.
    """
    expert = expert or Expert()
    if not episode.goals:
        raise UserError(f"episode {episode.episode_id} has no goal that an expert could walk to")
    goals = [goal.position for goal in episode.goals]
    simulator.set_pose(Pose(position=episode.start_position, rotation=episode.start_rotation))
    actions: list[int] = []
    locations = [_point(simulator)]
    while not actions or actions[-1] != STOP:
        if len(actions) == max_steps:
            raise UserError(f"the expert walked {max_steps} steps in episode {episode.episode_id} without arriving")
        actions.append(expert.act(simulator, goals))
        expert.move(simulator, actions[-1])
        if actions[-1] == FORWARD:
            locations.append(_point(simulator))
    _, distance = nearest_goal(simulator, simulator.pose.position, goals)
    if distance >= expert.near:
        raise UserError(f"the expert stopped {distance:.2f} m before the goal of episode {episode.episode_id}")
    return GroundTruth(actions=tuple(actions), locations=tuple(locations), forward_steps=actions.count(FORWARD))


def _point(simulator: Simulator) -> Point:
    x, y, z = simulator.pose.position.tolist()
    return (x, y, z)
