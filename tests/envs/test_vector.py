"""Environments that step together, and what happens to the others when one of them dies."""

import json
import logging
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pytest

from dynalang_py import envs
from dynalang_py.envs import BabyAIConfig, DummyConfig, EnvConfig, HomeGridConfig, LangRoomConfig, VectorEnv
from dynalang_py.envs.contract import Info, Observation
from dynalang_py.envs.dummy import Dummy
from dynalang_py.envs.vector import fingerprint
from dynalang_py.envs.worker import episode_seed
from dynalang_py.errors import UserError

# Worker processes can't import this module by its name.
cloudpickle.register_pickle_by_value(sys.modules[__name__])

FATAL = 3
"""The action that `Fragile` doesn't survive."""


class StrangeError(Exception):
    """One that can't be pickled, as it holds a function."""

    def __init__(self) -> None:
        super().__init__("a strange error")
        self.function = lambda: None


class Fragile(Dummy):
    """A dummy that breaks in a chosen way when the fatal action is taken, and otherwise takes any for right."""

    def __init__(self, how: str, max_steps: int = 1000) -> None:
        if how == "hang when made":
            time.sleep(1000)
        if how == "die when made":
            os._exit(9)
        if how == "raise when made":
            raise ValueError("no such house")
        super().__init__(DummyConfig(max_steps=max_steps))
        self.how = how

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Observation, Info]:
        if self.how == "hang at reset":
            time.sleep(1000)
        if self.how == "raise at reset":
            raise ValueError("no such house")
        return super().reset(seed=seed)

    def step(self, action: Any) -> tuple[Observation, float, bool, bool, Info]:
        if action == FATAL:
            if self.how == "raise":
                raise ValueError("the roof fell in")
            if self.how == "raise strangely":
                raise StrangeError
            if self.how == "exit":
                os._exit(7)
            if self.how == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            if self.how == "hang":
                time.sleep(1000)
        return super().step(self._goal)

    def close(self) -> None:
        if self.how == "hang at close" and self.np_random_seed == 0:
            time.sleep(1000)


def assert_same(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert one.keys() == other.keys()
    for name in one:
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)


def record(vector: VectorEnv, seed: int, actions: np.ndarray) -> list[tuple[Any, ...]]:
    log: list[tuple[Any, ...]] = [(vector.reset(seed),)]
    log += [vector.step(action) for action in actions]
    return log


@pytest.mark.parametrize("processes", [False, True])
@pytest.mark.parametrize(
    ("config", "module"),
    [
        (DummyConfig(max_steps=2), "numpy"),
        (DummyConfig(task="dummy-multi"), "numpy"),
        (DummyConfig(task="dummy-continuous", language="shuffled"), "numpy"),
        (BabyAIConfig(), "minigrid"),
        (HomeGridConfig(task="homegrid-dynamics", max_steps=15), "homegrid"),
        (HomeGridConfig(tokens="embed", max_steps=15), "homegrid"),
        (LangRoomConfig(max_steps=40), "langroom"),
    ],
    ids=lambda value: getattr(value, "task", ""),
)
def test_steps_like_the_single_environments(config: EnvConfig, module: str, processes: bool) -> None:
    pytest.importorskip(module)
    singles = [envs.make(config) for _ in range(3)]
    with envs.make_vector(config, 3, processes) as vector:
        vector.single_action_space.seed(0)
        actions = np.array([[vector.single_action_space.sample() for _ in range(3)] for _ in range(60)])
        log = record(vector, 5, actions)
        assert vector.vocabulary == singles[0].get_wrapper_attr("vocabulary")
        assert vector.single_observation_space == singles[0].observation_space
    ends = 0
    for i, env in enumerate(singles):
        expected: tuple[Any, ...] = (env.reset(seed=5 + i)[0], 0.0, False, False)
        episode = 0
        for t, (obs, *rest) in enumerate(log):
            assert_same({name: value[i] for name, value in obs.items()}, expected[0])
            if rest:
                reward, terminated, truncated, crashed = rest
                assert (reward[i], terminated[i], truncated[i]) == (np.float32(expected[1]), *expected[2:])
                assert not crashed[i]
                assert reward.dtype == np.float32
            if t < len(actions):
                done = expected[2] or expected[3]
                ends += done
                episode += done
                if done:
                    expected = (env.reset(seed=episode_seed(5 + i, episode))[0], 0.0, False, False)
                else:
                    expected = env.step(actions[t][i])[:4]
    assert ends >= 3 or config.task == "BabyAI-GoToLocalS5N2-v0"


def _walked(log: list[tuple[Any, ...]], actions: np.ndarray, i: int) -> np.ndarray:
    """The actions in the running episode of an environment: those since its last beginning."""
    begins = [0] + [t + 1 for t, (_, _, over, cut, _) in enumerate(log[1:-1], 1) if over[i] or cut[i]]
    return actions[begins[-1] : len(log) - 1, i]


@pytest.mark.parametrize(
    ("config", "module", "processes", "stop"),
    [
        (DummyConfig(max_steps=2), "numpy", False, 0),
        (DummyConfig(max_steps=2), "numpy", False, 12),
        (DummyConfig(max_steps=2), "numpy", False, 13),
        (DummyConfig(max_steps=2), "numpy", False, 14),
        (DummyConfig(max_steps=2), "numpy", True, 14),
        (DummyConfig(task="dummy-multi"), "numpy", False, 13),
        (DummyConfig(task="dummy-continuous", language="shuffled"), "numpy", False, 13),
        (BabyAIConfig(language="shuffled"), "minigrid", False, 29),
        (HomeGridConfig(task="homegrid-dynamics", max_steps=15, language="shuffled"), "homegrid", False, 29),
        (LangRoomConfig(max_steps=40, language="shuffled"), "langroom", False, 41),
    ],
    ids=lambda value: getattr(value, "task", ""),
)
def test_environments_come_back_to_where_others_were(
    config: EnvConfig, module: str, processes: bool, stop: int
) -> None:
    pytest.importorskip(module)
    with envs.make_vector(config, 3, processes) as vector:
        vector.single_action_space.seed(0)
        actions = np.array([[vector.single_action_space.sample() for _ in range(3)] for _ in range(60)])
        before = record(vector, 5, actions[:stop])
        state, last = json.loads(json.dumps(vector.state())), before[-1][0]
        expected = [vector.step(action) for action in actions[stop:]]
    with envs.make_vector(config, 3, processes) as vector:
        walked = [_walked(before, actions, i) for i in range(3)]
        obs, back = vector.resume(state, walked, [fingerprint(last, i) for i in range(3)])
        assert back.all()
        assert_same(obs, last)
        for action, there in zip(actions[stop:], expected, strict=True):
            here = vector.step(action)
            assert_same(here[0], there[0])
            np.testing.assert_array_equal(here[1:], there[1:])


class Forgetful(Dummy):
    """A dummy whose seeds decide nothing."""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Observation, Info]:
        return super().reset(seed=None if seed is None else time.monotonic_ns() % 2**31)

    def _observe(self, success: float) -> Observation:
        obs = super()._observe(success)
        obs["image"][:] = self.np_random.integers(256, size=obs["image"].shape)
        return obs


@pytest.mark.parametrize("known", [True, False])
def test_an_environment_that_cannot_come_back_begins_its_next_episode(known: bool) -> None:
    build = partial(Forgetful, DummyConfig(max_steps=9)) if known else partial(Dummy, DummyConfig(max_steps=9))
    actions = np.zeros((5, 2), int)
    with VectorEnv(build, 2, False) as vector:
        last = record(vector, 0, actions)[-1][0]
        state = vector.state()
    with VectorEnv(build, 2, False) as vector:
        walked = [actions[:, 0] if known else None] * 2
        obs, back = vector.resume(state, walked, [fingerprint(last, i) for i in range(2)])
        assert not back.any()
        assert [
            number - was for (_, number), (_, was) in zip(vector.state()["series"], state["series"], strict=True)
        ] == [1, 1]
        assert known or not obs["image"].any(), "a dummy is dark when its episode begins"
        vector.step(actions[0])


@pytest.mark.parametrize("processes", [False, True])
def test_observations_keep_their_values(processes: bool) -> None:
    with envs.make_vector(DummyConfig(), 2, processes) as vector:
        first = vector.reset(0)
        copy = {name: np.copy(value) for name, value in first.items()}
        for _ in range(5):
            vector.step(np.array([0, 1]))
        assert_same(first, copy)
        assert_same(vector.reset(0), copy)
        assert isinstance(first["log_text"], tuple)


@pytest.mark.parametrize(
    ("how", "processes", "reason"),
    [
        ("raise", False, "ValueError: the roof fell in"),
        ("raise", True, "ValueError: the roof fell in"),
        ("raise strangely", True, "StrangeError: a strange error"),
        ("exit", True, "exit code 7"),
        ("kill", True, "signal SIGKILL"),
        ("hang", True, "no answer for 3 seconds"),
    ],
)
def test_one_crash_leaves_the_others_alone(
    how: str, processes: bool, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    actions = np.zeros((12, 3), int)
    patience = 3 if how == "hang" else 100
    build = partial(Fragile, how, max_steps=5)
    with VectorEnv(build, 3, processes, step_timeout=patience) as vector:
        undisturbed = record(vector, 0, actions)
    actions[2, 1] = FATAL
    caplog.set_level(logging.WARNING, "dynalang.envs")
    with VectorEnv(build, 3, processes, step_timeout=patience) as vector:
        disturbed = record(vector, 0, actions)
    for t, (before, after) in enumerate(zip(undisturbed, disturbed, strict=True)):
        for i in (0, 2):
            assert_same({k: v[i] for k, v in after[0].items()}, {k: v[i] for k, v in before[0].items()})
            assert [part[i] for part in after[1:]] == [part[i] for part in before[1:]]
        if t > 0:
            obs, reward, terminated, truncated, crashed = after
            assert crashed.tolist() == [False, t == 3, False]
            if t == 3:
                assert (reward[1], terminated[1], truncated[1]) == (0, False, False)
            # The image of a dummy tells the age of its episode in fifths.
            age = t - 3 if t >= 3 else t
            assert obs["image"][1].max() == 255 * (age % 6) // 5
            assert vector.vocabulary[obs["token"][1]] in ("<pad>", obs["log_text"][1])
    assert len(caplog.records) == 1
    assert re.search(rf"environment 1 crashed.*{reason}", caplog.text)


def test_restarts_are_repeatable() -> None:
    actions = np.zeros((8, 2), int)
    actions[1::3, 0] = FATAL
    logs = []
    for processes in (False, True):
        with VectorEnv(partial(Fragile, "raise"), 2, processes) as vector:
            logs.append(record(vector, 3, actions))
    for one, other in zip(*logs, strict=True):
        assert_same(one[0], other[0])


def test_a_worker_that_dies_between_two_steps_is_replaced() -> None:
    with VectorEnv(partial(Fragile, "not at all"), 2, processes=True) as vector:
        vector.reset(0)
        worker = multiprocessing.active_children()[0]
        worker.kill()
        worker.join()
        *_, crashed = vector.step(np.zeros(2, int))
        assert crashed.sum() == 1
        *_, crashed = vector.step(np.zeros(2, int))
        assert crashed.sum() == 0


@pytest.mark.parametrize("processes", [False, True])
def test_an_environment_that_keeps_crashing_stops_the_run(processes: bool) -> None:
    with VectorEnv(partial(Fragile, "raise"), 2, processes) as vector:
        vector.reset(0)
        for _ in range(10):
            *_, crashed = vector.step(np.array([0, FATAL]))
            assert crashed.tolist() == [False, True]
        with pytest.raises(UserError, match=r"Environment 1 crashed more than 10 times within 100 steps.*roof"):
            vector.step(np.array([0, FATAL]))
    assert multiprocessing.active_children() == []


def test_rare_crashes_never_stop_the_run() -> None:
    with VectorEnv(partial(Fragile, "raise"), 1, processes=False) as vector:
        vector.reset(0)
        crashes = 0
        for t in range(300):
            *_, crashed = vector.step(np.array([FATAL if t % 15 == 0 else 0]))
            crashes += crashed[0]
        assert crashes == 20


@pytest.mark.parametrize(
    ("how", "processes", "reason"),
    [
        ("hang at reset", True, "no answer for 3 seconds"),
        ("raise at reset", True, "ValueError: no such house"),
        ("raise at reset", False, "ValueError: no such house"),
    ],
)
def test_a_failed_start_says_why(how: str, processes: bool, reason: str) -> None:
    with (
        VectorEnv(partial(Fragile, how), 2, processes, start_timeout=3 if how.startswith("hang") else 100) as vector,
        pytest.raises(UserError, match=f"Environment 0 did not start.*{reason}"),
    ):
        vector.reset(0)
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize("how", ["not at all", "hang at close"])
def test_closing_leaves_no_worker(how: str) -> None:
    vector = VectorEnv(partial(Fragile, how), 2, processes=True)
    vector.reset(0)
    assert len(multiprocessing.active_children()) == 2
    vector.close(timeout=0.5)
    assert multiprocessing.active_children() == []
    vector.close()


@pytest.mark.parametrize(
    ("how", "processes", "reason"),
    [
        ("hang when made", True, "no answer for 3 seconds"),
        ("die when made", True, "exit code 9"),
        ("raise when made", True, "ValueError: no such house"),
        ("raise when made", False, "ValueError: no such house"),
    ],
)
def test_one_that_cannot_be_made_says_why(how: str, processes: bool, reason: str) -> None:
    with pytest.raises(UserError, match=f"The environment did not start: .*{reason}"):
        VectorEnv(partial(Fragile, how), 2, processes, start_timeout=3 if how.startswith("hang") else 100)
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize("processes", [False, True])
def test_errors_of_the_user_arrive_as_they_are(processes: bool) -> None:
    with pytest.raises(UserError, match=r"^There is no dummy task 'dumm'"):
        envs.make_vector(DummyConfig(task="dumm"), 2, processes)


def test_none_at_all_is_refused() -> None:
    with pytest.raises(UserError, match="at least 1, got 0"):
        envs.make_vector(DummyConfig(), 0, False)


def test_stepping_before_the_first_reset_is_our_own_mistake() -> None:
    with envs.make_vector(DummyConfig(), 1, False) as vector, pytest.raises(RuntimeError, match="reset"):
        vector.step(np.array([0]))


def test_workers_ignore_ctrl_c() -> None:
    with VectorEnv(partial(Fragile, "not at all"), 2, processes=True) as vector:
        vector.reset(0)
        for worker in multiprocessing.active_children():
            assert worker.pid is not None
            os.kill(worker.pid, signal.SIGINT)
        for _ in range(20):
            *_, crashed = vector.step(np.zeros(2, int))
            assert not crashed.any()


SCRIPT = """
import multiprocessing, sys, types, time
sys.modules["torch"] = types.ModuleType("torch")  # what a script that trains does first
import numpy as np
from dynalang_py.envs import DummyConfig, VectorEnv
from dynalang_py.envs.dummy import Dummy

class Spy(Dummy):
    def reset(self, **kwargs):
        obs, info = super().reset(**kwargs)
        return {{**obs, "log_success": np.array("torch" in sys.modules, np.float32)}}, info

vector = VectorEnv(lambda: Spy(DummyConfig()), 2, processes=True)
print(vector.reset(0)["log_success"].tolist(), *[w.pid for w in multiprocessing.active_children()], flush=True)
{ending}
"""


def start_script(folder: Path, ending: str) -> "subprocess.Popen[str]":
    path = folder / "script.py"
    path.write_text(SCRIPT.format(ending=ending))
    return subprocess.Popen([sys.executable, path], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def gone(pid: int) -> bool:
    """Whether a process ended; one that nobody has waited for yet counts as ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True


def wait_until_gone(pids: list[int]) -> bool:
    for _ in range(1200):
        if all(map(gone, pids)):
            return True
        time.sleep(0.1)
    return False


def test_workers_import_neither_torch_nor_the_script(tmp_path: Path) -> None:
    script = start_script(tmp_path, "vector.close()")
    out, err = script.communicate()
    assert out.startswith("[0.0, 0.0]")
    assert err == ""
    assert script.returncode == 0


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize("ending", ["time.sleep(1000)", "raise SystemExit(0)"])
def test_workers_end_with_the_main_process(tmp_path: Path, ending: str) -> None:
    script = start_script(tmp_path, ending)
    assert script.stdout is not None
    pids = [int(word) for word in script.stdout.readline().rsplit("]", 1)[1].split()]
    assert len(pids) == 2
    if "sleep" in ending:
        script.kill()
    script.communicate()
    assert wait_until_gone(pids)
