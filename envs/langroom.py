"""LangRoom (package langroom): a room with four things, and a voice that asks for their colours.

The world of "Learning to Model the World with Language" (arXiv 2308.01399), section 4.4.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from PIL import Image, ImageDraw, ImageFont

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
    require,
)
from dynalang_py.envs.language import PAD
from dynalang_py.errors import UserError

TASKS = ("answer-only", "answer-and-echo", "echo")
WORDS = 15
MOVES = 5
_STILL_AND_SILENT = (0, PAD)

SIDE, ROWS, WIDTH = 192, 10, 75
"""Of the picture for people: pixels of the agent's view, steps on the page beside it, pixels of a column there."""


@dataclass(frozen=True, kw_only=True)
class LangRoomConfig:
    task: str = "answer-only"
    """What is rewarded: answer-only (the right colour at the right time), echo (saying what the voice says at that very
    step) or answer-and-echo (both)."""
    language: Language = "true"
    """Which words are heard: true (this episode's), shuffled (another episode's) or none (silence)."""
    image_size: int = 64
    """Height and width of the image in pixels; what is left after cutting it into 2·view + 1 cells must be even."""
    view: int = 2
    """How many cells the agent sees in each direction."""
    max_steps: int = 200
    """Steps after which an episode is truncated."""

    def __post_init__(self) -> None:
        check(self)
        check_language("langroom", self.language)
        check_range("langroom", "view", self.view, 1, 8)
        check_range("langroom", "image_size", self.image_size, 8 * (2 * self.view + 1), 1024)
        check_range("langroom", "max_steps", self.max_steps, 1)
        cells = 2 * self.view + 1
        if self.image_size % cells % 2:
            raise UserError(
                f"langroom.image_size must leave an even number of pixels when cut into {cells} cells, "
                f"got {self.image_size}; {self.image_size + 1} would do."
            )

    def spaces(self) -> Spaces:
        """Of observations and actions. Raises UserError for a task that there isn't."""
        check_task(self.task, TASKS, "LangRoom")
        size = (self.image_size, self.image_size, 3)
        observation = observation_space(size, WORDS, "log_success", "log_questions")
        return observation, spaces.MultiDiscrete([MOVES, WORDS])


class LangRoom(gymnasium.Env[Observation, np.ndarray]):
    """Walk about and answer when asked; both are done at once, at every step.

    Observation: `image` uint8 (image_size, image_size, 3) of the cells around the agent; tokens and logs of
    `dynalang_py.envs.contract`. Action: (move, talk) of MultiDiscrete([5, 15]); move is stay or one of four directions,
    talk a token id, 0 for silence. The voice asks, leaves ten silent steps, and then says "it is COLOUR"; an answer
    counts at the very step of the colour. In answer-only it is worth 1 if right and -0.1 if wrong, and a word at any
    other time -0.01. Episodes are truncated, never terminated.

    `log_text` is what the voice said last. `log_success` is the share of an episode's questions that got the right
    colour (NaN if there was none), `log_questions` their number.
    """

    metadata = RENDERING

    def __init__(self, config: LangRoomConfig, render_mode: str | None = None) -> None:
        self.observation_space, self.action_space = config.spaces()
        self._langroom = require("langroom", extra="langroom", task="LangRoom")
        self.config = config
        self.render_mode = render_mode
        self.vocabulary: tuple[str, ...] = ("<pad>", *self._langroom.VOCAB[1:])
        assert len(self.vocabulary) == WORDS
        self._colors = {self.vocabulary.index(color) for color in self._langroom.COLORS}
        self._room = self._make_room()
        self._other = self._make_room() if config.language == "shuffled" else None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Observation, Info]:
        super().reset(seed=seed)
        for room in filter(None, (self._room, self._other)):
            room.rng = np.random.default_rng(int(self.np_random.integers(2**63)))
        self._said, self._heard = _Sentence(), _Sentence()
        self._page: list[tuple[str, str, str]] = []
        self._questions = self._right = 0
        return self._observe(self._advance(_STILL_AND_SILENT, reset=True), talk=PAD), {}

    def step(self, action: np.ndarray) -> tuple[Observation, float, bool, bool, Info]:
        move, talk = (int(part) for part in action)
        seen = self._advance((move, talk), reset=False)
        if seen["text"] in self._colors:
            self._questions += 1
            self._right += talk == seen["text"]
        return self._observe(seen, talk), float(seen["reward"]), False, bool(seen["is_last"]), {}

    def render(self) -> np.ndarray | None:
        """The agent's view, and beside it, page by page, what it hears and says at each step and what that is worth."""
        return None if self.render_mode is None else _draw(self._view, self._page)

    def _make_room(self) -> Any:
        config = self.config
        room = self._langroom.LangRoom(config.task, config.view, config.max_steps, config.image_size, WORDS)
        # Its log image writes three columns of text at every step: five sixths of the time, and in no common lines.
        nothing = np.zeros((config.image_size, config.image_size, 3), np.uint8)
        room._display = lambda lines: nothing
        return room

    def _advance(self, action: tuple[int, int], *, reset: bool) -> dict[str, Any]:
        """Let both rooms take a step. Returns what this one shows; `heard` is the token that the agent gets."""
        move, talk = action
        seen = self._room.step({"move": move, "talk": talk, "reset": reset})
        heard = seen["text"]
        if self._other is not None:
            heard = self._other.step({"move": move, "talk": talk, "reset": reset})["text"]
        return {**seen, "heard": PAD if self.config.language == "none" else heard}

    @property
    def told(self) -> str:
        """What the agent heard last."""
        return self._heard.text

    def _observe(self, seen: dict[str, Any], talk: int) -> Observation:
        said, heard, answer = (
            "" if word == PAD else self.vocabulary[word] for word in (seen["text"], seen["heard"], talk)
        )
        self._said.hear(said)
        self._heard.hear(heard)
        self._view = seen["image"]
        page = self._page if len(self._page) < ROWS else []  # words that stay where they are can be read
        self._page = [*page, (heard, answer, f"{seen['reward']:g}" if seen["reward"] else "")]
        done = seen["is_last"]
        success = self._right / self._questions if self._questions else np.nan
        return {
            "image": seen["image"],
            "token": int(seen["heard"]),
            "is_read_step": 0,
            "log_text": self._said.text,
            "log_success": np.array(success if done else 0.0, np.float32),
            "log_questions": np.array(self._questions if done else 0, np.float32),
        }


class _Sentence:
    """Words one by one; silence ends a sentence, which stays until the next begins."""

    text = ""
    _over = False

    def hear(self, word: str) -> None:
        if not word:
            self._over = True
            return
        self.text = word if self._over or not self.text else f"{self.text} {word}"
        self._over = False


def _draw(view: np.ndarray, page: Sequence[tuple[str, str, str]]) -> np.ndarray:
    picture = Image.new("RGB", (SIDE + 3 * WIDTH, SIDE), "#1f2430")
    picture.paste(Image.fromarray(view).resize((SIDE, SIDE), Image.Resampling.NEAREST))
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(14)
    height = SIDE // (ROWS + 1)
    for line, row in enumerate([("hears", "says", "reward"), *page]):
        ink = "#8a909c" if line == 0 else "#ffffff" if line == len(page) else "#c3c7d0"
        for column, word in enumerate(row):
            corner = (SIDE + 6 + column * WIDTH, (line + 0.5) * height)
            draw.text(corner, word, ink, font, anchor="lm")
    return np.asarray(picture)
