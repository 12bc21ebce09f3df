"""A world of a few pixels for tests of whole loops: a word says which action is right. Needs no extra."""

from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from dynalang_py.bounds import check
from dynalang_py.envs.contract import (
    RENDERING,
    Info,
    Language,
    Observation,
    Spaces,
    check_language,
    check_range,
    check_task,
    observation_space,
)
from dynalang_py.envs.language import Speaker, Vocabulary

TASKS = ("dummy-discrete", "dummy-multi", "dummy-continuous")
WORDS = ("left", "right", "up", "down")


@dataclass(frozen=True, kw_only=True)
class DummyConfig:
    task: str = "dummy-discrete"
    """How one acts: dummy-discrete (one choice), dummy-multi (two at once) or dummy-continuous (two numbers)."""
    language: Language = "true"
    """Which sentence is heard: true (this episode's), shuffled (another episode's) or none (silence)."""
    choices: int = 4
    """How many words there are, 2 to 4; each names one action."""
    max_steps: int = 4
    """Length of an episode without mistakes."""
    image_size: int = 8
    """Height and width of the image in pixels."""

    def __post_init__(self) -> None:
        check(self)
        check_language("dummy", self.language)
        check_range("dummy", "choices", self.choices, 2, len(WORDS))
        check_range("dummy", "max_steps", self.max_steps, 1)
        check_range("dummy", "image_size", self.image_size, 1, 1024)

    def spaces(self) -> Spaces:
        """Of observations and actions. Raises UserError for a task that there isn't."""
        check_task(self.task, TASKS, "dummy")
        actions: dict[str, spaces.Space[Any]] = {
            "dummy-discrete": spaces.Discrete(self.choices),
            "dummy-multi": spaces.MultiDiscrete([self.choices, 2]),
            "dummy-continuous": spaces.Box(-1, 1, (2,), np.float32),
        }
        size = self.image_size
        words = Vocabulary(WORDS[: self.choices])
        return observation_space((size, size, 3), len(words), "log_success"), actions[self.task]


class Dummy(gymnasium.Env[Observation, Any]):
    """Say one word per episode; reward 1 for each right action, and the first wrong one ends the episode.

    The right action is the word's index k; (k, k mod 2) in dummy-multi; in dummy-continuous one whose first number lies
    in the k-th of `choices` equal parts of [-1, 1]. After `max_steps` right actions the episode is truncated, and it
    counts as a success. The image is as bright as the episode is old; the word can only be heard: who always does the
    same without listening gets max_steps / choices on average, who listens gets max_steps.
    """

    metadata = RENDERING

    def __init__(self, config: DummyConfig, render_mode: str | None = None) -> None:
        self.observation_space, self.action_space = config.spaces()
        self.config = config
        self.render_mode = render_mode
        words = Vocabulary(WORDS[: config.choices])
        self.vocabulary = words.pieces
        self._sentences = [(word, words.encode(word)) for word in WORDS[: config.choices]]
        self._speaker = Speaker()

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Observation, Info]:
        super().reset(seed=seed)
        self._goal, other = self.np_random.integers(self.config.choices, size=2).tolist()
        self._age = 0
        heard = {"true": self._goal, "shuffled": other, "none": None}[self.config.language]
        self.told = "" if heard is None else self._sentences[heard][0]
        self._speaker.tell(() if heard is None else self._sentences[heard][1])
        return self._observe(0.0), {}

    def step(self, action: Any) -> tuple[Observation, float, bool, bool, Info]:
        right = self._right(action)
        self._age += 1
        done = right and self._age >= self.config.max_steps
        return self._observe(float(done)), float(right), not right, done, {}

    def _right(self, action: Any) -> bool:
        if self.config.task == "dummy-discrete":
            return bool(action == self._goal)
        if self.config.task == "dummy-multi":
            return bool(action[0] == self._goal and action[1] == self._goal % 2)
        part = int((min(max(float(action[0]), -1.0), 1.0) + 1) / 2 * self.config.choices)
        return min(part, self.config.choices - 1) == self._goal

    def _observe(self, success: float) -> Observation:
        image = np.empty((self.config.image_size, self.config.image_size, 3), np.uint8)
        image.fill(255 * self._age // self.config.max_steps)
        return {
            "image": image,
            "token": next(self._speaker),
            "is_read_step": 0,
            "log_text": self._sentences[self._goal][0],
            "log_success": np.array(success, np.float32),
        }

    def render(self) -> np.ndarray | None:
        """A square of 64 pixels or more."""
        if self.render_mode is None:
            return None
        side = max(64, self.config.image_size)
        return np.full((side, side, 3), 255 * self._age // self.config.max_steps, np.uint8)
