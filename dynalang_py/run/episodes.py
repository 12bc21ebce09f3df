"""What an episode amounted to: its return, its length, what its environment says at the end, and how it looked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Episode = dict[str, Any]
"""`return`, `length` (actions taken), `acting_length` (those while the world was not frozen for reading), `text`, and
each `log_*` scalar of the last step without its prefix; NaN where the environment says that it does not apply."""


@dataclass
class Movie:
    """What people see of one episode, frame by frame."""

    frames: list[NDArray[np.uint8]] = field(default_factory=list)
    sentences: list[str] = field(default_factory=list)
    """What the agent is told."""
    words: list[str] = field(default_factory=list)
    """The word that the agent hears at this step; empty where it is silent."""
    episode: Episode = field(default_factory=dict)
    """How it ended."""
    tasks: list[str] = field(default_factory=list)
    """The sentence in force, which may be another; none where it is the same throughout."""


class EpisodeMeter:
    """Adds up the running episode of each of N environments."""

    def __init__(self, envs: int) -> None:
        self._return = np.zeros(envs)
        self._length = np.zeros(envs, np.int64)
        self._acting = np.zeros(envs, np.int64)

    def state(self) -> dict[str, list[float]]:
        """The sums so far, as plain JSON values."""
        return {"return": self._return.tolist(), "length": self._length.tolist(), "acting": self._acting.tolist()}

    def load_state(self, state: Mapping[str, Sequence[float]]) -> None:
        """Go on where `state` was taken."""
        self._return[:], self._length[:], self._acting[:] = state["return"], state["length"], state["acting"]

    def add(
        self,
        obs: Mapping[str, Any],
        reward: NDArray[np.float32],
        is_first: NDArray[np.bool_],
        is_last: NDArray[np.bool_],
        counted: NDArray[np.bool_] | None = None,
    ) -> dict[int, Episode]:
        """Take one step of every environment, or of the `counted` ones; returns what has ended, by environment."""
        counted = np.ones(len(reward), bool) if counted is None else counted
        for total in (self._return, self._length, self._acting):
            total[is_first & counted] = 0
        self._return += reward * counted
        moves = counted & ~is_last  # no action is taken at a last step
        self._length += moves
        self._acting += moves & acting(obs, len(reward))
        return {int(i): self._episode(obs, int(i)) for i in np.flatnonzero(is_last & counted)}

    def _episode(self, obs: Mapping[str, Any], i: int) -> Episode:
        episode: Episode = {
            "return": float(self._return[i]),
            "length": int(self._length[i]),
            "acting_length": int(self._acting[i]),
            "text": str(obs["log_text"][i]) if "log_text" in obs else "",
        }
        for name in scalar_logs(obs):
            episode[name.removeprefix("log_")] = float(obs[name][i])
        return episode


def acting(obs: Mapping[str, Any], envs: int) -> NDArray[np.bool_]:
    """Where the world moves, (N,): everywhere but at reading steps."""
    return np.asarray(obs["is_read_step"]) == 0 if "is_read_step" in obs else np.ones(envs, bool)


def scalar_logs(obs: Mapping[str, Any]) -> list[str]:
    """Names of the numbers that an environment reports to people."""
    return [name for name in obs if name.startswith("log_") and name != "log_text"]


def means(episodes: Sequence[Episode]) -> dict[str, float]:
    """Mean of each number over the episodes it applies to; numbers that apply to none are left out."""
    names = {name: None for episode in episodes for name in episode if name != "text"}
    found = {}
    for name in names:
        values = [episode[name] for episode in episodes if name in episode and not np.isnan(episode[name])]
        if values:
            found[name] = float(np.mean(values))
    return found
