"""The driver against a world that says at each step exactly where it is."""

from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from numpy.typing import NDArray

from dynalang_py.contract import StepSpec
from dynalang_py.envs import VectorEnv
from dynalang_py.envs.contract import observation_space
from dynalang_py.replay import Replay
from dynalang_py.run.clock import Clock
from dynalang_py.run.counters import Counters
from dynalang_py.run.driver import Driver, GuidedPolicy, RandomPolicy
from dynalang_py.run.episodes import Episode


class Counting(gymnasium.Env[dict[str, Any], Any]):
    """Episodes of `length` actions. The image holds the step number, the reward is ten times it; the first is read."""

    vocabulary = ("<pad>", "go")

    def __init__(self, length: int, truncates: bool = False, breaks_at: int | None = None) -> None:
        self.observation_space = observation_space((1, 1, 3), 2, "log_success")
        self.action_space = spaces.Discrete(5)
        self._length, self._truncates, self._breaks_at = length, truncates, breaks_at
        self._lived = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        super().reset(seed=seed)
        self._age = 0
        return self._observe(), {}

    def step(self, action: Any) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        self._age += 1
        self._lived += 1
        if self._lived == self._breaks_at:
            raise RuntimeError("the world broke")
        over = self._age == self._length
        return self._observe(), 10.0 * self._age, over and not self._truncates, over and self._truncates, {}

    def _observe(self) -> dict[str, Any]:
        return {
            "image": np.full((1, 1, 3), self._age, np.uint8),
            "token": 1,
            "is_read_step": int(self._age == 0),
            "log_text": "go",
            "log_success": np.float32(self._age == self._length),
        }


class Reciting:
    """Acts 1, 2, 3, 4, 1, ... and remembers when it was told that an episode begins."""

    def __init__(self) -> None:
        self.begun: list[list[bool]] = []

    def initial(self, n: int) -> int:
        return 0

    def act(
        self, obs: dict[str, NDArray[Any]], is_first: NDArray[np.bool_], state: int
    ) -> tuple[NDArray[Any], int, dict[str, NDArray[Any]]]:
        assert not [name for name in obs if name.startswith("log_")]
        self.begun.append(is_first.tolist())
        return np.full((len(is_first), 1), 1 + state % 4, np.uint8), state + 1, {}


ROWS = 64


def _drive(
    path: Path, worlds: list[dict[str, Any]], steps: int, *, timeout_is_terminal: bool = False
) -> tuple[Counters, list[dict[str, list[Any]]], list[Episode], Reciting]:
    """Step some worlds; returns the counters, what each stream of replay holds, the ended episodes, and the policy."""
    waiting = iter([worlds[0], *worlds, *[{"length": 9}] * 9])  # the vector makes one more, to look at its spaces
    envs = VectorEnv(lambda: Counting(**next(waiting)), len(worlds), processes=False)
    spec = StepSpec.from_spaces(envs.single_observation_space, envs.single_action_space)
    replay = Replay(path, spec.fields(), streams=len(worlds), capacity=ROWS * len(worlds), length=steps)
    counters = Counters()
    driver = Driver(
        envs, spec, replay, seed=0, timeout_is_terminal=timeout_is_terminal, clock=Clock(), counters=counters
    )
    policy = Reciting()
    ended = [episode for _ in range(steps) for episode in driver.step(policy)]
    envs.close()
    return counters, _held(path, spec, len(worlds)), ended, policy


def _held(path: Path, spec: StepSpec, streams: int) -> list[dict[str, list[Any]]]:
    """The first number of each field, in order, of the steps in each stream."""
    tail, head = np.fromfile(path / "counters.raw", np.int64).reshape(2, streams)
    rows = {
        name: np.fromfile(path / f"{name}.raw", dtype).reshape(streams, ROWS, -1)[..., 0]
        for name, (_, dtype) in spec.fields().items()
    }
    return [{name: row[i, tail[i] : head[i]].tolist() for name, row in rows.items()} for i in range(streams)]


def test_each_step_is_stored_with_what_belongs_to_it(tmp_path: Path) -> None:
    counters, (stream,), ended, policy = _drive(tmp_path, [{"length": 3}], steps=6)
    assert stream == {
        "image": [0, 1, 2, 3, 0, 1],
        "token": [1] * 6,
        "action": [1, 2, 3, 0, 1, 2],  # taken here; at a last step nothing is done
        "reward": [0, 10, 20, 30, 0, 10],  # received on arriving here
        "is_first": [True, False, False, False, True, False],
        "is_last": [False, False, False, True, False, False],
        "is_terminal": [False, False, False, True, False, False],
    }
    assert policy.begun == [[True], [False], [False], [False], [True], [False]]
    assert ended == [{"return": 60.0, "length": 3, "acting_length": 2, "text": "go", "success": 1.0}]
    assert (counters.steps, counters.acting_steps, counters.episodes) == (6, 4, 1)


@pytest.mark.parametrize("timeout_is_terminal", [False, True])
def test_running_out_of_time_is_terminal_only_if_asked_for(tmp_path: Path, timeout_is_terminal: bool) -> None:
    world = {"length": 2, "truncates": True}
    _, (stream,), _, _ = _drive(tmp_path, [world], steps=4, timeout_is_terminal=timeout_is_terminal)
    assert stream["is_last"] == [False, False, True, False]
    assert stream["is_terminal"] == [False, False, timeout_is_terminal, False]


def test_a_broken_episode_is_forgotten_and_the_others_go_on(tmp_path: Path) -> None:
    worlds = [{"length": 2, "breaks_at": 4}, {"length": 3}]
    counters, (broken, whole), ended, policy = _drive(tmp_path, worlds, steps=8)
    # First episode: 3 steps. The second breaks on its second action, after 2 stored steps. A new world begins then.
    assert broken["image"] == [0, 1, 2, 0, 1, 2]
    assert broken["is_first"] == [True, False, False, True, False, False]
    assert whole["image"] == [0, 1, 2, 3, 0, 1, 2, 3]
    assert [first for first, _ in policy.begun] == [True, False, False, True, False, True, False, False]
    assert sorted(episode["length"] for episode in ended) == [2, 3, 3]
    assert counters.steps == 16


def test_a_new_policy_begins_with_a_state_of_its_own(tmp_path: Path) -> None:
    envs = VectorEnv(partial(Counting, 9), 1, processes=False)
    spec = StepSpec.from_spaces(envs.single_observation_space, envs.single_action_space)
    replay = Replay(tmp_path, spec.fields(), streams=1, capacity=ROWS, length=4)
    counters = Counters()
    driver = Driver(envs, spec, replay, seed=0, timeout_is_terminal=False, clock=Clock(), counters=counters)
    for policy in (first := Reciting(), first, Reciting()):
        driver.step(policy)
    envs.close()
    assert _held(tmp_path, spec, 1)[0]["action"] == [1, 2, 1]


class Stubborn:
    """Always wants action 3, and remembers what was done instead."""

    def __init__(self) -> None:
        self.done: list[list[int]] = []

    def initial(self, n: int) -> int:
        return 0

    def act(
        self, obs: dict[str, NDArray[Any]], is_first: NDArray[np.bool_], state: int
    ) -> tuple[NDArray[Any], int, dict[str, NDArray[Any]]]:
        return np.full((len(is_first), 1), 3, np.uint8), state + 1, {}

    def did(self, state: int, action: NDArray[Any]) -> int:
        self.done.append(action[:, 0].tolist())
        return state


@pytest.mark.parametrize(("share", "expected"), [(0.0, {3}), (1.0, {1}), (0.5, {1, 3})])
def test_an_expert_leads_a_share_of_the_episodes_from_start_to_end(share: float, expected: set[int]) -> None:
    inner = Stubborn()
    policy = GuidedPolicy(inner, share, seed=0)
    state, n, length = policy.initial(50), 50, 4
    actions = []
    for t in range(3 * length):
        obs = {"expert": np.ones(n, np.int64)}
        action, state, _ = policy.act(obs, np.full(n, t % length == 0), state)
        actions.append(action[:, 0].tolist())
        assert action.dtype == np.uint8
    assert inner.done == actions
    episodes = np.array(actions).reshape(3, length, n)
    assert (episodes == episodes[:, :1]).all()  # whoever began an episode ends it
    assert set(episodes.flatten().tolist()) == expected
    led = (episodes[:, 0] == 1).mean()
    assert led == pytest.approx(share, abs=0.15)


@pytest.mark.parametrize(
    "spec", [StepSpec(vocab=2, actions=(5,)), StepSpec(vocab=2, actions=(3, 2)), StepSpec(vocab=2, continuous=2)]
)
def test_chance_tries_every_action_and_keeps_zeros_for_the_agent(spec: StepSpec) -> None:
    policy = RandomPolicy(spec, seed=0, keep={"deter": ((7,), np.dtype(np.float16))})
    action, _, kept = policy.act({}, np.zeros(500, bool), None)
    assert action.shape == (500, *spec.action_field[0])
    if spec.continuous:
        assert action.min() < -0.9
        assert action.max() > 0.9
        assert np.abs(action).max() <= 1
    else:
        assert len(np.unique(action, axis=0)) == np.prod(spec.actions)
        assert all(action[:, k].max() == n - 1 for k, n in enumerate(spec.actions))
    assert kept["deter"].shape == (500, 7)
    assert not kept["deter"].any()
