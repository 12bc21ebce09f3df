"""Observations of any shape, drawn at random: to try a large preset, or measure a machine, without a task's data."""

from dataclasses import dataclass
from typing import Any, Literal

import gymnasium
import numpy as np
from gymnasium import spaces

from dynalang_py.envs.contract import (
    RENDERING,
    Info,
    Language,
    Observation,
    Spaces,
    check_choice,
    check_language,
    check_range,
    check_task,
    observation_space,
)
from dynalang_py.envs.language import PAD
from dynalang_py.errors import UserError

TASKS = ("synthetic",)
REWARD_EVERY = 10
"""Steps between two rewards, on average."""


@dataclass(frozen=True, kw_only=True)
class SyntheticConfig:
    task: str = "synthetic"
    """There is one: synthetic."""
    language: Language = "true"
    """Which words are heard: true (random ones), shuffled (other random ones) or none (silence)."""
    image_size: int = 64
    """Height and width of the image in pixels."""
    channels: int = 3
    """Channels of the image."""
    depth_channels: int = 0
    """Channels of a second image of this size, `depth`; 0: there is none."""
    pixels: Literal["noise", "binary", "zero"] = "noise"
    """What images hold: noise (any byte), binary (0 or 255, as symbolic images do) or zero (nothing)."""
    vocab: int = 100
    """Token ids, silence included; 0: there are none."""
    token_embed: int = 0
    """Width of the word embeddings that are heard instead of ids (`vocab` must be 0); 0: there are none."""
    actions: tuple[int, ...] = (4,)
    """Choices of each part of an action; several parts are chosen at once."""
    read_steps: int = 0
    """Steps at the beginning of an episode that count as reading: the image stands still and there is no reward."""
    max_steps: int = 100
    """Steps after which an episode is truncated, those of reading included."""

    def __post_init__(self) -> None:
        check_language("synthetic", self.language)
        check_choice("synthetic", "pixels", self.pixels, ("noise", "binary", "zero"))
        check_range("synthetic", "image_size", self.image_size, 1)
        check_range("synthetic", "channels", self.channels, 1)
        check_range("synthetic", "read_steps", self.read_steps, 0)
        check_range("synthetic", "max_steps", self.max_steps, 1)
        for name in ("depth_channels", "vocab", "token_embed"):
            check_range("synthetic", name, getattr(self, name), 0)
        if bool(self.vocab) == bool(self.token_embed):
            raise UserError(
                f"synthetic.vocab or synthetic.token_embed must be above 0, and the other 0, got {self.vocab} and "
                f"{self.token_embed}."
            )
        if not self.actions or min(self.actions) < 2:
            raise UserError(f"synthetic.actions must be one number or more, each at least 2, got {self.actions}.")

    def spaces(self) -> Spaces:
        """Of observations and actions. Raises UserError for a task that there isn't."""
        check_task(self.task, TASKS, "synthetic")
        heard = self.vocab or spaces.Box(-np.inf, np.inf, (self.token_embed,), np.float32)
        size = self.image_size
        observation = observation_space((size, size, self.channels), heard, "log_success")
        if self.depth_channels:
            depth = spaces.Box(0, 255, (size, size, self.depth_channels), np.uint8)
            observation = spaces.Dict({**observation.spaces, "depth": depth})
        one = len(self.actions) == 1
        return observation, spaces.Discrete(self.actions[0]) if one else spaces.MultiDiscrete(list(self.actions))


class Synthetic(gymnasium.Env[Observation, Any]):
    """Nothing but noise: what is seen, heard and rewarded depends on the seed alone, never on what is done.

    Observation: `image` (and `depth`) uint8, a token id or an embedding per step, and the logs of
    `dynalang_py.envs.contract`. Reward 1 at every tenth step on average. Episodes are truncated, never terminated.

    `log_success` is 1 if an episode had any reward.
    """

    metadata = RENDERING

    def __init__(self, config: SyntheticConfig, render_mode: str | None = None) -> None:
        self.observation_space, self.action_space = config.spaces()
        self.config = config
        self.render_mode = render_mode
        self.vocabulary: tuple[str, ...] = ("<pad>", *(f"<{i}>" for i in range(1, config.vocab)))

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Observation, Info]:
        super().reset(seed=seed)
        # The words have a generator of their own, so that hearing others changes nothing that is seen.
        words, others = self.np_random.spawn(2)
        self._words = others if self.config.language == "shuffled" else words
        self._age = 0
        self._rewarded = False
        self._draw()
        return self._observe(), {}

    def step(self, action: Any) -> tuple[Observation, float, bool, bool, Info]:
        self._age += 1
        reading = self._age < self.config.read_steps
        reward = 0.0 if reading else float(self.np_random.integers(REWARD_EVERY) == 0)
        self._rewarded |= reward > 0
        if not reading:
            self._draw()
        return self._observe(), reward, False, self._age >= self.config.max_steps, {}

    def render(self) -> np.ndarray | None:
        """The first channels of the image, in a square of 64 pixels or more."""
        if self.render_mode is None:
            return None
        image = self._images["image"]
        image = image[..., :3] if image.shape[-1] >= 3 else image[..., :1].repeat(3, -1)
        factor = -(-64 // len(image))
        return image.repeat(factor, 0).repeat(factor, 1)

    def _draw(self) -> None:
        config = self.config
        channels = {"image": config.channels, "depth": config.depth_channels}
        self._images = {name: self._noise(number) for name, number in channels.items() if number}

    def _noise(self, channels: int) -> np.ndarray:
        shape = (self.config.image_size, self.config.image_size, channels)
        if self.config.pixels == "zero":
            return np.zeros(shape, np.uint8)
        if self.config.pixels == "binary":
            return self.np_random.integers(2, size=shape, dtype=np.uint8) * np.uint8(255)
        return self.np_random.integers(256, size=shape, dtype=np.uint8)

    def _hear(self) -> Observation:
        silent = self.config.language == "none"
        if width := self.config.token_embed:
            drawn = self._words.standard_normal(width, np.float32)
            return {"token_embed": np.zeros_like(drawn) if silent else drawn}
        word = int(self._words.integers(self.config.vocab))
        return {"token": PAD if silent else word}

    def _observe(self) -> Observation:
        over = self._age >= self.config.max_steps
        return {
            **{name: image.copy() for name, image in self._images.items()},
            **self._hear(),
            "is_read_step": int(self._age < self.config.read_steps),
            "log_text": "",
            "log_success": np.array(over and self._rewarded, np.float32),
        }
