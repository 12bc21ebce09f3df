"""Messenger (package messenger): find the message and bring it to its goal; who is what stands in the manual alone.

The world of "Grounding Language to Entities and Dynamics for Generalization in Reinforcement Learning" (arXiv
2101.07393), as "Learning to Model the World with Language" (arXiv 2308.01399), section 4.2, presents it.
"""

import contextlib
import importlib
import random
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import gymnasium
import numpy as np
from gymnasium import spaces
from PIL import Image, ImageDraw

from dynalang_py.bounds import check
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
from dynalang_py.envs.voice import Ids, Vectors, Voice
from dynalang_py.errors import UserError
from dynalang_py.tokenizers import t5
from dynalang_py.tokenizers.embeddings import CACHE

TASKS = ("messenger-s1", "messenger-s2", "messenger-s3")
LIMITS = {"messenger-s1": 4, "messenger-s2": 64, "messenger-s3": 128}
ENTITIES = 17
"""Ids of what can stand in a cell; 0 is nothing."""
GRID, PADDED = 10, 16
NAMES = (
    *("", "", "airplane", "mage", "dog", "bird", "fish", "scientist", "thief", "ship", "ball", "robot", "queen"),
    *("sword", "wall", "agent", "agent with message"),
)
# Without dependencies: one pins a pygame that no Python from 3.10 on can build, the other would overwrite pygame-ce.
GET = (
    "git clone https://github.com/ahjwang/messenger-emma; pip install gym pygame-ce 'setuptools<81'; "
    "pip install --no-deps git+https://github.com/ahjwang/py-vgdl -e messenger-emma"
)


@dataclass(frozen=True, kw_only=True)
class MessengerConfig:
    task: str = "messenger-s1"
    """The stage: messenger-s1 (nothing moves), -s2 (things chase, flee or stand) or -s3 (with decoys)."""
    language: Language = "true"
    """Which manual is read: true (this episode's), shuffled (another episode's) or none (as long a silence)."""
    split: Literal["train", "val", "test"] = "train"
    """Which games are played; val and test have sentences and combinations of roles that training hasn't."""
    several_roles: float = 0.75
    """Share of training episodes whose entities meet in several combinations of roles; in the others always in one."""
    max_steps: int = 0
    """Steps of acting after which an episode ends with reward -1; 0: the stage's own 4, 64 or 128."""
    tokens: Literal["t5", "embed"] = "t5"
    """How a word is heard: t5 (as one of T5's 32,100 ids) or embed (as a frozen T5 encoder's vector)."""
    sentencepiece: Path = Path("spiece.model")
    """T5's sentencepiece model, a file that lies beside the weights of every T5 (tokens: t5)."""
    encoder: str = "google-t5/t5-small"
    """Whose vectors are heard (tokens: embed): a T5 that the package transformers can fetch, a folder with one, or
    minilm."""
    embedding: int = 512
    """Width of the encoder's vectors."""
    cache: Path = CACHE
    """Folder in which vectors are kept, so that each sentence goes through the encoder once (tokens: embed)."""

    def __post_init__(self) -> None:
        check(self)
        check_language("messenger", self.language)
        check_choice("messenger", "split", self.split, ("train", "val", "test"))
        check_choice("messenger", "tokens", self.tokens, ("t5", "embed"))
        check_range("messenger", "several_roles", self.several_roles, 0, 1)
        check_range("messenger", "max_steps", self.max_steps, 0)
        check_range("messenger", "embedding", self.embedding, 1, 1_000_000)

    def spaces(self) -> Spaces:
        """Of observations and actions. Raises UserError for a task that there isn't."""
        check_task(self.task, TASKS, "Messenger")
        vectors = spaces.Box(-np.inf, np.inf, (self.embedding,), np.float32)
        heard = vectors if self.tokens == "embed" else t5.SIZE
        return observation_space((PADDED, PADDED, ENTITIES), heard, "log_success"), spaces.Discrete(5)


class Messenger(gymnasium.Env[Observation, Any]):
    """Read the manual, then act: up, down, left, right, stay.

    Observation: `image` uint8 (16, 16, 17), a symbolic image whose entry is 255 where an entity of that id stands and 0
    elsewhere (the grid is 10×10, the rest is padding); tokens and logs of `dynalang_py.envs.contract`. Models read 255
    as one and should predict such images by a Bernoulli per entry (`--model.decoder.image-loss bernoulli`).

    An episode begins with the manual, one token per step and sentence after sentence, each with its end mark; actions
    count from that of its last token on (`is_read_step` is 1 up to there). Then there is silence. Reward 0.5 for the
    message (stages 2 and 3), 1 for the goal with the message, -1 for the enemy, or for the goal without the message; in
    stage 1 the agent has or needs the message, and 1 is for the right one of the two. These end the episode, but for
    the message in stages 2 and 3. When the time is up an episode is truncated, with reward -1 for its last step.

    `log_text` is the manual, `log_success` 1 if an episode ended with the full reward.
    """

    metadata = RENDERING

    def __init__(self, config: MessengerConfig, render_mode: str | None = None) -> None:
        self.observation_space, self.action_space = config.spaces()
        self.config = config
        self.render_mode = render_mode
        self._world = _World(config)
        self._other = _World(config) if config.language == "shuffled" else None
        self._voice = _make_voice(config)
        self.vocabulary = self._voice.vocabulary
        self._limit = config.max_steps or LIMITS[config.task]

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Observation, Info]:
        super().reset(seed=seed)
        if seed is not None:
            for world in filter(None, (self._world, self._other)):
                world.seed(self.np_random)
        self._grid, manual = self._world.reset()
        self._text = " ".join(sentence.strip() for sentence in manual)
        if self._other is not None:
            manual = self._other.reset()[1]
        self.told = _plain(" ".join(sentence.strip() for sentence in manual))
        self._words = [word for sentence in manual for word in self._voice.read(sentence)]
        if self.config.language == "none":
            self.told, self._words = "", [self._voice.silence] * len(self._words)
        self._heard = self._age = 0
        return self._observe(0.0), {}

    def step(self, action: Any) -> tuple[Observation, float, bool, bool, Info]:
        self._heard += 1
        if self._heard < len(self._words):
            return self._observe(0.0), 0.0, False, False, {}
        self._age += 1
        self._grid, reward, terminated = self._world.step(int(action))
        truncated = not terminated and self._age >= self._limit
        if truncated:
            reward = -1.0
        return self._observe(float(terminated and reward >= 1)), reward, terminated, truncated, {}

    def render(self) -> np.ndarray | None:
        """The grid, 320×320 pixels, with the first letters of what stands where; the agent is white."""
        return None if self.render_mode is None else _draw(self._grid)

    def _observe(self, success: float) -> Observation:
        reading = self._heard < len(self._words)
        image = np.zeros((PADDED, PADDED, ENTITIES), np.uint8)
        image[:GRID, :GRID] = self._grid
        return {
            "image": image,
            **self._voice.say(self._words[self._heard] if reading else self._voice.silence),
            "is_read_step": int(reading),
            "log_text": _plain(self._text),
            "log_success": np.array(success, np.float32),
        }


def _make_voice(config: MessengerConfig) -> Voice:
    if config.tokens == "embed":
        return Vectors("messenger", config.encoder, config.cache, config.embedding)
    try:
        return Ids(t5.T5Tokenizer(config.sentencepiece), end=True)
    except UserError as error:
        raise UserError(f"messenger.sentencepiece: {error}") from error


class _World:
    """messenger's environment (old gym), whose episodes depend on nothing but the generator that it is given here.

    It draws from Python's global generator, which is put back after each call, and its engine from one of its own.
    """

    def __init__(self, config: MessengerConfig) -> None:
        stages = _import_messenger(config.task)
        stage = int(config.task[-1])
        kinds = (stages.StageOne, stages.StageTwo, stages.StageThree)
        self._env: Any
        self._games: tuple[Any, ...]
        if config.split == "train":
            self._env = stages.TwoEnvWrapper(
                stage=stage, split_1="train_mc", split_2="train_sc", prob_env_1=config.several_roles
            )
            self._games = (self._env.env_1, self._env.env_2)
        else:
            self._env = kinds[stage - 1](split=config.split)
            self._games = (self._env,)
        for game in self._games if stage > 1 else ():  # listed in the order of the disk, which differs between machines
            game.init_states.sort()
            game.game_variants.sort()
        self.seed(np.random.default_rng())

    def seed(self, source: np.random.Generator) -> None:
        """Draw a new state of the generator from `source`."""
        self._state = random.Random(int(source.integers(2**32))).getstate()

    def reset(self) -> tuple[np.ndarray, Sequence[str]]:
        with self._generator():
            seen, manual = self._env.reset()
            game = getattr(self._env, "cur_env", self._env)
            if engine := getattr(game, "env", None):
                engine.game.set_seed(random.getrandbits(32))
        return _symbols(seen), manual

    def step(self, action: int) -> tuple[np.ndarray, float, bool]:
        with self._generator():
            seen, reward, done, _ = self._env.step(action)
        return _symbols(seen), float(reward), bool(done)

    @contextlib.contextmanager
    def _generator(self) -> Iterator[None]:
        outside = random.getstate()
        random.setstate(self._state)
        try:
            yield
        finally:
            self._state = random.getstate()
            random.setstate(outside)


def _symbols(seen: dict[str, np.ndarray]) -> np.ndarray:
    """Layers of entity ids → uint8 (10, 10, 17), 255 where an entity stands."""
    layers = np.concatenate([seen["entities"], seen["avatar"]], -1).astype(np.intp)  # (10, 10, layers)
    there = (layers[..., None] == np.arange(ENTITIES)).any(2)
    there[..., 0] = False
    return there.astype(np.uint8) * np.uint8(255)


def _draw(grid: np.ndarray) -> np.ndarray:
    cell = 32
    image = Image.new("RGB", (GRID * cell, GRID * cell), "#1f2430")
    draw = ImageDraw.Draw(image)
    for y, x, entity in np.argwhere(grid):
        name = NAMES[entity]
        agent = name.startswith("agent")
        hue = f"hsl({int(entity) * 137 % 360}, 60%, 70%)"
        corner = (int(x) * cell, int(y) * cell)
        draw.rectangle((*corner, corner[0] + cell - 1, corner[1] + cell - 1), fill="#ffffff" if agent else hue)
        letters = ("me" if name.endswith("message") else "I") if agent else name[:2]
        draw.text((corner[0] + 8, corner[1] + 10), letters, fill="#000000")
    return np.asarray(image)


def _plain(text: str) -> str:
    """The manual in the characters that log_text may have: its writers' apostrophes come in several encodings."""
    for apostrophe in ("\u2019", "\u2019".encode().decode("cp1252")):
        text = text.replace(apostrophe, "'")
    return text.encode("ascii", "replace").decode()[:1000]


def _import_messenger(task: str) -> Any:
    """messenger.envs, without the farewell notes of its old dependencies on standard error."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            importlib.import_module("gym_notices.notices").notices.clear()
            return importlib.import_module("messenger.envs")
        except ImportError as error:
            raise UserError(
                f"{task} needs the environment of github.com/ahjwang/messenger-emma: {GET} ({error})."
            ) from error
