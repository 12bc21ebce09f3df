"""Environments and a policy, step by step, into replay.

Letters: N environments (the full legend is in dynalang_py/nn/__init__.py).
"""

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dynalang_py.agent import Agent
from dynalang_py.contract import StepSpec
from dynalang_py.envs import VectorEnv
from dynalang_py.envs.vector import fingerprint
from dynalang_py.replay import Replay
from dynalang_py.run.clock import Clock
from dynalang_py.run.counters import Counters
from dynalang_py.run.episodes import Episode, EpisodeMeter, acting

Observation = Mapping[str, Any]
Arrays = dict[str, NDArray[Any]]


class Policy(Protocol):
    """Whatever chooses actions for N environments at once: the agent, or chance."""

    def initial(self, n: int) -> Any:
        """The state before the first step of N environments."""
        ...

    def act(self, obs: Arrays, is_first: NDArray[np.bool_], state: Any) -> tuple[NDArray[Any], Any, Arrays]:
        """Actions (N, ...), the next state, and what replay shall keep beside this step."""
        ...


class RandomPolicy:
    """Every action equally likely."""

    def __init__(
        self, spec: StepSpec, seed: int, keep: Mapping[str, tuple[tuple[int, ...], Any]] | None = None
    ) -> None:
        """keep: fields that replay wants beside each step; they are zero, like the state after a reset."""
        self._spec = spec
        self._keep = keep or {}
        self.rng = np.random.default_rng(seed)

    def initial(self, n: int) -> None:
        return None

    def act(self, obs: Arrays, is_first: NDArray[np.bool_], state: Any) -> tuple[NDArray[Any], Any, Arrays]:
        shape, dtype = self._spec.action_field
        n = len(is_first)
        if self._spec.continuous:
            action = self.rng.uniform(-1, 1, (n, *shape)).astype(dtype)
        else:
            action = self.rng.integers(0, self._spec.actions, (n, *shape)).astype(dtype)
        return action, None, {name: np.zeros((n, *shape), dtype) for name, (shape, dtype) in self._keep.items()}

    def did(self, state: Any, action: NDArray[Any]) -> None:
        return None


class Guidable(Policy, Protocol):
    """A policy that can be overruled."""

    def did(self, state: Any, action: NDArray[Any]) -> Any:
        """The state after `act` where something else was done than what it chose."""
        ...


class GreedyPolicy:
    """The agent, taking the likeliest action instead of drawing one."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent

    def initial(self, n: int) -> Any:
        return self._agent.initial(n)

    def act(self, obs: Arrays, is_first: NDArray[np.bool_], state: Any) -> tuple[NDArray[Any], Any, Arrays]:
        return self._agent.act(obs, is_first, state, greedy=True)


class GuidedPolicy:
    """Leaves a share of the episodes to the world's expert, whose next action each observation tells as `expert`."""

    def __init__(self, policy: Guidable, share: float, seed: int) -> None:
        """policy: acts in the other episodes, and looks on in these. share: from 0 to 1."""
        self._policy, self._share = policy, share
        self._rng = np.random.default_rng(seed)
        self.led = np.zeros(0, bool)

    def state(self) -> dict[str, Any]:
        """Whose the episodes are, and the next draws, as plain JSON values."""
        return {"random": self._rng.bit_generator.state, "led": self.led.tolist()}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on where `state` was taken; after `initial`."""
        self._rng.bit_generator.state = state["random"]
        self.led = np.array(state["led"], bool)

    def initial(self, n: int) -> Any:
        self.led = np.zeros(n, bool)  # which environments' episodes are the expert's
        return self._policy.initial(n)

    def act(self, obs: Arrays, is_first: NDArray[np.bool_], state: Any) -> tuple[NDArray[Any], Any, Arrays]:
        chosen, state, keep = self._policy.act(obs, is_first, state)
        self.led = np.where(is_first, self._rng.random(len(is_first)) < self._share, self.led)
        expert = obs["expert"].reshape(chosen.shape).astype(chosen.dtype)
        action = np.where(_column(self.led, chosen), expert, chosen)
        return action, self._policy.did(state, action), keep


class Driver:
    """Steps N environments and hands every step to replay.

    A step is one observation that a policy answered, the first and the last of an episode included (as in the published
    curves of Dynalang). Steps, acting steps and episodes are added to `counters`.
    """

    def __init__(
        self,
        envs: VectorEnv,
        spec: StepSpec,
        replay: Replay,
        *,
        seed: int,
        timeout_is_terminal: bool,
        clock: Clock,
        counters: Counters,
        state: Mapping[str, Any] | None = None,
    ) -> None:
        """seed: of the worlds' episodes. state: what `state` gave where the driver goes on, with the replay of then."""
        self._envs, self._spec, self._replay = envs, spec, replay
        self._clock, self._counters = clock, counters
        self._timeout_is_terminal = timeout_is_terminal
        self._n = envs.num_envs
        self._meter = EpisodeMeter(self._n)
        self.policy: Policy | None = None
        """Who has acted last."""
        self.back: NDArray[np.bool_]
        """Which worlds are where they should be, (N,); the others began a new episode instead of going on."""
        self._state: Any = None
        self._reward = np.zeros(self._n, np.float32)
        self._is_first = np.ones(self._n, bool)
        self._terminated = np.zeros(self._n, bool)
        self._truncated = np.zeros(self._n, bool)
        self._broken = False  # whether the worlds gave up in the middle of a step
        self._obs: Observation
        if state is None:
            self._obs, self.back = envs.reset(seed), np.ones(self._n, bool)
        else:
            self._go_on(state)

    def _go_on(self, state: Mapping[str, Any]) -> None:
        self._is_first = np.array(state["is_first"])
        nothing = np.zeros((0, *self._spec.action_field[0]), self._spec.action_field[1])
        walked = [
            nothing if first else self._replay.running(i, "action") for i, first in enumerate(self._is_first.tolist())
        ]
        actions = [None if taken is None else env_action(self._spec, taken) for taken in walked]
        self._obs, self.back = self._envs.resume(state["worlds"], actions, state["seen"])
        # Where a world did not come back, nothing is pending: its next episode begins.
        self._is_first |= ~self.back
        self._reward[:] = np.where(self.back, np.array(state["reward"], np.float32), 0)
        self._terminated[:] = np.array(state["terminated"]) & self.back
        self._truncated[:] = np.array(state["truncated"]) & self.back
        self._meter.load_state(state["meter"])

    def act_by(self, policy: Policy, tensors: Mapping[str, Tensor], device: torch.device) -> None:
        """Go on by this policy, from where `tensors` was taken; without any it begins anew."""
        fresh = policy.initial(self._n)
        if isinstance(fresh, dict):
            fresh = {name: tensors[name].to(device) for name in fresh} if fresh.keys() <= tensors.keys() else fresh
        self.policy, self._state = policy, fresh

    def state(self) -> dict[str, Any] | None:
        """Where the worlds stand, as plain JSON values; None if they gave up in the middle of a step."""
        if self._broken:
            return None
        return {
            "worlds": self._envs.state(),
            "seen": [fingerprint(self._obs, i) for i in range(self._n)],
            "reward": self._reward.tolist(),
            "is_first": self._is_first.tolist(),
            "terminated": self._terminated.tolist(),
            "truncated": self._truncated.tolist(),
            "meter": self._meter.state(),
        }

    def tensors(self) -> dict[str, Tensor]:
        """What the policy remembers of the running episodes, for `act_by`."""
        return self._state if isinstance(self._state, dict) else {}

    def step(self, policy: Policy) -> list[Episode]:
        """One step of every environment; returns the episodes that it ended, but for those that an expert walked.

        The stored `reward` is the one received on arriving at the observation, the stored `action` the one taken there.
        """
        self._replay.make_room()  # before anything is drawn: a run that ends here goes on as if it had not
        if policy is not self.policy:
            self.policy, self._state = policy, policy.initial(self._n)
        is_last = self._terminated | self._truncated
        with self._clock("policy"):
            action, self._state, latent = policy.act(visible(self._obs), self._is_first, self._state)
            action = np.where(_column(is_last, action), np.zeros_like(action), action)  # nothing is done at a last step
        self._broken = True
        ended = self._meter.add(self._obs, self._reward, self._is_first, is_last)
        led = policy.led if isinstance(policy, GuidedPolicy) else np.zeros(self._n, bool)
        with self._clock("replay"):
            self._replay.add(
                {
                    **visible(self._obs),
                    "led": led,
                    "action": action.reshape(self._n, *self._spec.action_field[0]),
                    "reward": self._reward,
                    "is_first": self._is_first,
                    "is_last": is_last,
                    "is_terminal": is_last if self._timeout_is_terminal else self._terminated,
                    **latent,
                }
            )
        self._counters.steps += self._n
        self._counters.acting_steps += int(acting(self._obs, self._n).sum())
        self._counters.episodes += len(ended)
        with self._clock("env"):
            step = self._envs.step(env_action(self._spec, action))
        self._obs, self._reward, self._terminated, self._truncated, crashed = step
        for i in np.flatnonzero(crashed):
            self._replay.drop_episode(int(i))
        self._is_first = is_last | crashed  # the environments reset themselves on the step after a last one
        self._broken = False
        return [episode for i, episode in ended.items() if not led[i]]


def visible(obs: Observation) -> Arrays:
    """What the agent may see: all but the `log_*` keys."""
    return {name: np.asarray(value) for name, value in obs.items() if not name.startswith("log_")}


def env_action(spec: StepSpec, action: NDArray[Any]) -> NDArray[Any]:
    """Actions in the shape that the environments take: one number each where there is a single discrete choice."""
    return action.reshape(len(action)) if len(spec.actions) == 1 else action


def _column(flag: NDArray[np.bool_], like: NDArray[Any]) -> NDArray[np.bool_]:
    """Flags (N,) shaped to select rows of an array (N, ...)."""
    return flag.reshape(-1, *[1] * (like.ndim - 1))
