"""One environment in its place, in this process or in a worker process, watched so that its crash can be survived."""

import contextlib
import multiprocessing
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv

from dynalang_py.envs.contract import Info, Observation
from dynalang_py.errors import UserError


class CrashError(Exception):
    """Why an environment can't go on; `details` is its traceback, if there is one."""

    def __init__(self, reason: str, details: str = "") -> None:
        super().__init__(reason)
        self.details = details


class Slot:
    """The place of one environment: a gymnasium vector environment of size one that can be waited for and replaced."""

    def __init__(self, build: Callable[..., "Guarded"], processes: bool) -> None:
        self._build = partial(build, os.getpid() if processes else None)
        self._processes = processes
        self.start()

    def start(self) -> None:
        """Make the vector environment, with a new worker process if it is to have one."""
        self._answer: Callable[..., tuple[Any, ...]] | None = None
        self._vector: Any
        if not self._processes:
            self._vector = SyncVectorEnv([self._build], copy=False)
            return
        context = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
        if context == "forkserver":
            multiprocessing.set_forkserver_preload(["dynalang_py.envs", "gymnasium.vector.async_vector_env"])
        with _hidden_script():
            try:
                self._vector = AsyncVectorEnv([self._build], copy=False, context=context)
            except (EOFError, OSError) as error:
                raise CrashError(f"its process could not start ({error!r})") from error

    @property
    def dead(self) -> bool:
        return self._vector is None

    def send(self, command: str, *args: Any, **kwargs: Any) -> None:
        """Begin a reset or a step."""
        if not self._processes:
            self._answer = partial(getattr(self._vector, command), *args, **kwargs)
            return
        try:
            getattr(self._vector, f"{command}_async")(*args, **kwargs)
            self._answer = getattr(self._vector, f"{command}_wait")
        except OSError as error:  # the process died since the last step: told by receive, as if it died in this one
            self._answer = partial(_reraise, error)

    def receive(self, timeout: float) -> tuple[Any, ...]:
        """What gymnasium returned, with arrays that are valid until the next `send`.

        Raises:
            CrashError: The environment raised an error (the next reset will make it anew), or its process ended or gave
                no answer (the slot is dead).
        """
        assert self._answer is not None
        try:
            answer = self._answer(timeout=timeout) if self._processes else self._answer()
        except multiprocessing.TimeoutError:
            self.kill()
            raise CrashError(f"it gave no answer for {timeout:g} seconds") from None
        except (EOFError, OSError):
            raise CrashError(f"its process ended ({self.kill()})") from None
        self._answer = None
        info = answer[-1]
        if "crash" in info:
            raise CrashError(info["crash"][0], info["traceback"][0])
        return answer

    def close(self) -> None:
        """Let the environment close itself; may take for ever, and does nothing while an answer is due."""
        if self._vector is not None and self._answer is None:
            with contextlib.suppress(Exception):
                self._vector.close()

    def kill(self, patience: float = 0.5) -> str:
        """End the worker process, if there is one and it still lives after `patience` seconds. Returns how it ended."""
        vector, self._vector = self._vector, None
        if vector is None or not self._processes:
            return ""
        for process, pipe in zip(vector.processes, vector.parent_pipes, strict=True):
            process.join(timeout=patience)  # one that is ending by itself says more by its exit code
            process.kill()
            process.join()
            if pipe is not None:
                pipe.close()
        vector.closed = True  # or its __del__ would try to end it once more
        code = vector.processes[0].exitcode
        return f"signal {signal.Signals(-code).name}" if code and code < 0 else f"exit code {code}"


def _reraise(error: OSError, **_: Any) -> tuple[Any, ...]:
    raise error


class Guarded(gymnasium.Env[Observation, Any]):
    """The environment as gymnasium's vector environments see it; the environment itself is made when first needed.

    An error is told in the info and not raised, as gymnasium would end the worker over it, and wait for ever for an
    exception that can't be pickled. Texts travel in the info too, as gymnasium reads shared texts only once.
    """

    def __init__(
        self,
        build: Callable[[], gymnasium.Env],
        observation_space: spaces.Dict,
        action_space: spaces.Space[Any],
        main_process: int | None,
    ) -> None:
        if main_process is not None and os.getpid() != main_process:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the main one decides
        self._build = build
        self._env: gymnasium.Env | None = None
        self._seed = self._episode = 0
        self._over = False
        self._texts, numbers = split_texts(observation_space)
        self.observation_space = spaces.Dict(numbers)
        self.action_space = action_space
        self._nothing = {name: np.zeros(space.shape or (), space.dtype) for name, space in numbers.items()}

    def describe(self) -> dict[str, Any] | str:
        """Spaces and vocabulary of the environment, or what the user did wrong."""
        try:
            env = self._build()
            names = ("observation_space", "action_space", "vocabulary")
            description = {name: env.get_wrapper_attr(name) for name in names}
            env.close()
        except UserError as error:
            return str(error)
        except Exception as error:
            return {name: [text] for name, text in self._fail(error).items()}
        return description

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Observation, Info]:
        """With a seed, begin the series of episodes that it stands for; without, its next episode.

        options: `episode`, a number in the series to begin with, and `actions`, which are taken there at once.
        """
        options = options or {}
        self._seed, self._episode = (self._seed, self._episode + 1) if seed is None else (seed, 0)
        self._episode += options.get("episode", 0)
        try:
            if self._env is None:
                self._env = self._build()
            obs, _ = self._env.reset(seed=episode_seed(self._seed, self._episode))
            self._over = False
            for action in options.get("actions", ()):
                obs, _, terminated, truncated, _ = self._env.step(action)
                self._over = bool(terminated or truncated)
            return self._numbers(obs), self._info(obs)
        except Exception as error:
            return self._nothing, self._fail(error)

    def step(self, action: Any) -> tuple[Observation, float, bool, bool, Info]:
        assert self._env is not None
        if self._over:  # by actions taken in `reset`, of which the vector environment knows nothing
            obs, info = self.reset()
            return obs, 0.0, False, False, info
        try:
            obs, reward, terminated, truncated, _ = self._env.step(action)
            return self._numbers(obs), float(reward), bool(terminated), bool(truncated), self._info(obs)
        except Exception as error:
            return self._nothing, 0.0, False, False, self._fail(error)

    def close(self) -> None:
        if self._env is not None:
            self._env.close()

    def _numbers(self, obs: Observation) -> Observation:
        return {name: obs[name] for name in self._nothing}

    def _info(self, obs: Observation) -> dict[str, str]:
        return {name: obs[name] for name in self._texts}

    def _fail(self, error: Exception) -> dict[str, str]:
        env, self._env = self._env, None
        with contextlib.suppress(Exception):
            if env is not None:
                env.close()
        return {
            "crash": str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}",
            "traceback": traceback.format_exc(),
            **dict.fromkeys(self._texts, ""),
        }


@contextlib.contextmanager
def _hidden_script() -> Iterator[None]:
    """Keep a new process from importing the user's script again: it may import torch, and workers don't need it."""
    main = sys.modules["__main__"].__dict__
    kept: dict[str, Any] = {name: main.pop(name) for name in ("__spec__", "__file__") if name in main}
    main["__spec__"] = None
    try:
        yield
    finally:
        del main["__spec__"]
        main.update(kept)


def episode_seed(seed: int, episode: int) -> int:
    """Seed of an episode of a series: every episode can be repeated without those before it."""
    return int(np.random.SeedSequence([seed, episode]).generate_state(1)[0] >> 1) if episode else seed


def split_texts(space: spaces.Dict) -> tuple[list[str], dict[str, spaces.Space[Any]]]:
    """Names of the texts, and the spaces of all else."""
    texts = [name for name, part in space.items() if isinstance(part, spaces.Text)]
    return texts, {name: part for name, part in space.items() if name not in texts}
