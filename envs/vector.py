"""Many environments stepped together, in this process or in worker processes that are restarted when they crash."""

import logging
import threading
import time
import zlib
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from dynalang_py.envs.contract import Observation
from dynalang_py.envs.worker import CrashError, Guarded, Slot, split_texts
from dynalang_py.errors import UserError

logger = logging.getLogger("dynalang.envs")

MAX_CRASHES, CRASH_WINDOW = 10, 100
"""An environment may crash this often within this many steps before we give up on it."""


class VectorEnv:
    """Steps `num_envs` environments; one that crashes begins a new episode while the others go on undisturbed.

    Each environment sits in a gymnasium vector environment of its own, so that one of them can be replaced: a
    `SyncVectorEnv` in this process, or an `AsyncVectorEnv` with shared memory, whose worker process imports neither the
    user's script nor torch, and leaves Ctrl-C to the main process. A crash is an exception, the death of a worker, or
    no answer for `step_timeout` seconds (workers only); it is logged as a warning of the logger "dynalang.envs".

    An episode's last step is followed by one whose action is ignored, and which returns the first observation of the
    next episode with reward 0 (gymnasium's next-step autoreset). The seed of an episode follows from the environment's
    and the episode's number, so that `resume` can bring an environment back to where it was.

    Args:
        build: Makes one environment. With `processes` it is called in workers only, once more than there are
            environments: the first one only tells its spaces and its vocabulary.
        num_envs: How many.
        processes: Whether each runs in a process of its own.
        start_timeout: Seconds until an environment must be made and give its first observation (workers only).
        step_timeout: Seconds after which a silent worker counts as crashed.

    Attributes:
        single_observation_space, single_action_space, vocabulary: Those of one environment.

    Raises:
        UserError: What `build` raises as such; or the environment can't be made, and why.
    """

    def __init__(
        self,
        build: Callable[[], gymnasium.Env],
        num_envs: int,
        processes: bool,
        *,
        start_timeout: float = 120.0,
        step_timeout: float = 300.0,
    ) -> None:
        if num_envs < 1:
            raise UserError(f"The number of environments must be at least 1, got {num_envs}.")
        space, self.single_action_space, self.vocabulary = _describe(build, processes, start_timeout)
        self.single_observation_space = space
        self.num_envs = num_envs
        self._start_timeout, self._step_timeout = start_timeout, step_timeout
        self._texts, numbers = split_texts(space)
        self._arrays = {name: ((num_envs, *(s.shape or ())), s.dtype) for name, s in numbers.items()}
        self._steps = 0
        self._seed: int | None = None
        self._crashes: list[deque[int]] = [deque(maxlen=MAX_CRASHES + 1) for _ in range(num_envs)]
        self._revivals = [0] * num_envs
        self._series: list[list[int]] = [[0, 0] for _ in range(num_envs)]  # seed and number of each running episode
        self._ended = np.zeros(num_envs, bool)
        self._slots: list[Slot] = []
        try:
            for _ in range(num_envs):
                self._slots.append(Slot(partial(Guarded, build, space, self.single_action_space), processes))
        except CrashError as crash:
            self.close()
            raise _failed_start(f"Environment {len(self._slots)}", crash) from crash

    def reset(self, seed: int) -> Observation:
        """Begin new episodes; environment i gets seed + i.

        Returns:
            Arrays (N, ...) by name; `log_text` is a tuple of N sentences.

        Raises:
            UserError: At the first reset: an environment does not start.
        """
        first, self._seed = self._seed is None, seed
        self._revivals = [0] * self.num_envs
        self._series = [[seed + i, 0] for i in range(self.num_envs)]
        self._ended[:] = False
        obs = self._blank()
        for i, slot in enumerate(self._slots):
            slot.send("reset", seed=[seed + i])
        for i, slot in enumerate(self._slots):
            try:
                answer = slot.receive(self._start_timeout)
            except CrashError as crash:
                if first:
                    self.close()
                    raise _failed_start(f"Environment {i}", crash) from crash
                answer = self._revive(i, crash)
            self._store(obs, i, answer[0], answer[-1])
        return self._finish(obs)

    def step(self, actions: np.ndarray) -> tuple[Observation, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """One step of every environment.

        Args:
            actions: (N,) for Discrete, (N, K) for MultiDiscrete, (N, ...) for Box.

        Returns:
            Observation as in `reset`, reward float32 (N,), terminated, truncated and crashed bool (N,). Where crashed
            is true the observation is the first of a new episode, and the steps of the broken one should be forgotten.

        Raises:
            UserError: An environment crashed more than 10 times within 100 steps.
        """
        if self._seed is None:
            raise RuntimeError("call reset before step")
        self._steps += 1
        obs, reward = self._blank(), np.zeros(self.num_envs, np.float32)
        terminated, truncated, crashed = (np.zeros(self.num_envs, bool) for _ in range(3))
        for i, slot in enumerate(self._slots):
            slot.send("step", actions[i : i + 1])
        for i, slot in enumerate(self._slots):
            try:
                seen, rewards, terminations, truncations, info = slot.receive(self._step_timeout)
            except CrashError as crash:
                seen, info = self._revive(i, crash)
                crashed[i] = True
            else:
                reward[i], terminated[i], truncated[i] = rewards[0], terminations[0], truncations[0]
            self._store(obs, i, seen, info)
        for i in np.flatnonzero(self._ended & ~crashed).tolist():
            self._series[i][1] += 1
        self._ended = terminated | truncated
        return self._finish(obs), reward, terminated, truncated, crashed

    def state(self) -> dict[str, Any]:
        """Which episodes are running, as plain JSON values."""
        return {
            "seed": self._seed,
            "series": [list(place) for place in self._series],
            "revivals": list(self._revivals),
            "ended": self._ended.tolist(),
        }

    def resume(
        self, state: dict[str, Any], actions: Sequence[np.ndarray | None], seen: Sequence[int]
    ) -> tuple[Observation, np.ndarray]:
        """Bring environments that were just made back to where others were: each begins its episode and acts again.

        Args:
            state: What `state` gave.
            actions: Of each environment, those taken in its episode (steps, ...) in the form of `step`; None where they
                are not known.
            seen: `fingerprint` of what each had shown last.

        Returns:
            Observation as in `reset`, and bool (N,) where an environment shows what it had shown. The others show the
            first observation of their next episode: their actions are not known, or seed and actions don't decide all.

        Raises:
            UserError: An environment does not start.
        """
        self._seed, self._revivals = state["seed"], list(state["revivals"])
        self._series = [list(place) for place in state["series"]]
        self._ended = np.array(state["ended"], bool)
        obs, back = self._blank(), np.array([walked is not None for walked in actions])
        for i in np.flatnonzero(back).tolist():
            self._send_back(i, actions[i])
        for i in np.flatnonzero(back).tolist():
            self._receive_first(i, obs)
            back[i] = fingerprint(obs, i) == seen[i]
        for i in np.flatnonzero(~back).tolist():
            self._series[i][1] += 1
            self._ended[i] = False
            self._send_back(i)
            self._receive_first(i, obs)
        return self._finish(obs), back

    def close(self, timeout: float = 5.0) -> None:
        """Close all environments; workers that have not ended after `timeout` seconds are killed."""
        deadline = time.monotonic() + timeout
        closing = [threading.Thread(target=slot.close, daemon=True) for slot in self._slots]
        for thread in closing:
            thread.start()
        for thread in closing:
            thread.join(max(deadline - time.monotonic(), 0))
        for slot in self._slots:
            slot.kill(patience=0)
        self._slots = []

    def __enter__(self) -> "VectorEnv":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _send_back(self, i: int, actions: np.ndarray | Sequence[Any] | None = ()) -> None:
        seed, episode = self._series[i]
        self._slots[i].send("reset", seed=[seed], options={"episode": episode, "actions": actions})

    def _receive_first(self, i: int, obs: Observation) -> None:
        try:
            answer = self._slots[i].receive(self._start_timeout)
        except CrashError as crash:
            self.close()
            raise _failed_start(f"Environment {i}", crash) from crash
        self._store(obs, i, answer[0], answer[-1])

    def _revive(self, i: int, crash: CrashError) -> tuple[Observation, dict[str, Any]]:
        slot = self._slots[i]
        while True:
            times = self._crashes[i]
            times.append(self._steps)
            if len(times) > MAX_CRASHES and times[-1] - times[0] <= CRASH_WINDOW:
                self.close()
                raise UserError(
                    f"Environment {i} crashed more than {MAX_CRASHES} times within {CRASH_WINDOW} steps; the last "
                    f"time: {crash}."
                ) from crash
            logger.warning("environment %d crashed and begins a new episode: %s\n%s", i, crash, crash.details)
            self._revivals[i] += 1
            # A fresh seed: the old one might lead into the same crash.
            seed = int(np.random.SeedSequence([self._seed or 0, i, self._revivals[i]]).generate_state(1)[0])
            self._series[i] = [seed, 0]
            try:
                if slot.dead:
                    slot.start()
                slot.send("reset", seed=[seed])
                return slot.receive(self._start_timeout)
            except CrashError as again:
                crash = again

    def _blank(self) -> Observation:
        arrays = {name: np.empty(shape, dtype) for name, (shape, dtype) in self._arrays.items()}
        return {**arrays, **{name: [""] * self.num_envs for name in self._texts}}

    def _store(self, obs: Observation, i: int, seen: Observation, info: dict[str, Any]) -> None:
        for name in self._arrays:
            obs[name][i] = seen[name][0]
        for name in self._texts:
            obs[name][i] = info[name][0]

    def _finish(self, obs: Observation) -> Observation:
        return {**obs, **{name: tuple(obs[name]) for name in self._texts}}


def fingerprint(obs: Mapping[str, Any], i: int) -> int:
    """A number (CRC-32) that tells one environment's observation from others."""
    crc = 0
    for name in sorted(obs):
        value = obs[name][i]
        crc = zlib.crc32(value.encode() if isinstance(value, str) else np.asarray(value).tobytes(), crc)
    return crc


def _failed_start(what: str, crash: CrashError) -> UserError:
    if crash.details:
        logger.error("%s did not start:\n%s", what, crash.details)
    return UserError(f"{what} did not start: {crash}.")


def _describe(
    build: Callable[[], gymnasium.Env], processes: bool, timeout: float
) -> tuple[spaces.Dict, spaces.Space[Any], tuple[str, ...]]:
    """Observation space, action space and vocabulary of what `build` makes, which may hang or crash as any other."""
    try:
        example = Slot(partial(Guarded, build, spaces.Dict({}), spaces.Discrete(1)), processes)
        try:
            example.send("call", "describe")
            (answer,) = example.receive(timeout)
        finally:
            example.kill(patience=0)
    except CrashError as crash:
        raise _failed_start("The environment", crash) from crash
    if isinstance(answer, str):
        raise UserError(answer)
    return answer["observation_space"], answer["action_space"], answer["vocabulary"]
