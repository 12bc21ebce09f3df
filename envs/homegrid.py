"""HomeGrid (package homegrid): household tasks in three rooms, one after another, with hints in words.

The world of "Learning to Model the World with Language" (arXiv 2308.01399), section 4.1.
"""

import contextlib
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

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
    check_choice,
    check_language,
    check_range,
    check_task,
    observation_space,
    require,
    silence_prints,
)
from dynalang_py.envs.language import PAD, speaking
from dynalang_py.tokenizers.coverage import Coverage, measure
from dynalang_py.tokenizers.embeddings import CACHE, Embeddings
from dynalang_py.tokenizers.shadow import outside_checkout

TASKS = ("homegrid-task", "homegrid-future", "homegrid-dynamics", "homegrid-corrections")

T5_PIECES = {
    0: "<pad>", 3: "▁", 6: ",", 8: "the", 12: "to", 16: "in", 19: "is", 23: "i", 36: "be", 56: "will", 129: "get",
    132: "there", 150: "no", 253: "find", 281: "go", 300: "around", 474: "put", 539: "open", 562: "room", 840: "living",
    865: "later", 888: "move", 919: "turn", 1084: "near", 1228: "kitchen", 2301: "moved", 2701: "bin", 2728: "fruit",
    2851: "dining", 4782: "bottle", 5656: "lift", 5778: "papers", 7623: "trash", 9319: "plates", 11667: "recycling",
    12631: "cleaned", 14304: "grasp", 15487: "spill", 16171: "pedal", 17883: "compost",
}  # fmt: skip
"""The T5 ids in homegrid's sentences and the pieces they stand for; our token ids count them from 0 in this order."""

TOKEN_OF_T5 = {t5: token for token, t5 in enumerate(T5_PIECES)}
T5_VOCABULARY = 32_100
"""Ids of T5's own vocabulary, the hundred that it reserves included."""
EMBEDDING = 512
FULL_SIZE = 96
"""Side of homegrid's own image: 3×3 cells of 32 pixels."""


@dataclass(frozen=True, kw_only=True)
class HomeGridConfig:
    task: str = "homegrid-task"
    """What is said beside the tasks: homegrid-task (nothing), -future (where things are and will be), -dynamics (how
    bins open) or -corrections (when the agent strays)."""
    language: Language = "true"
    """Which words are heard: true (this episode's), shuffled (another episode's) or none (silence)."""
    image_size: int = 64
    """Height and width of the image in pixels, taken from homegrid's 96×96 by the nearest pixel."""
    tokens: Literal["closed", "t5", "embed"] = "closed"
    """How a word is heard: closed (as one of the 40 ids that occur), t5 (as one of T5's 32,100 ids, which makes models
    larger and no wiser) or embed (as a frozen embedding, T5-small's by default, `token_embed` instead of `token`)."""
    tokenizer: str = "homegrid"
    """What turns sentences into ids (tokens: closed): homegrid (the 40 ids that occur), english or bytes, or the path
    of a sentencepiece model. Where it cuts words into pieces, sentences take longer to say."""
    encoder: str = "homegrid"
    """Whose vectors are heard (tokens: embed): homegrid (T5-small's, which come with it), minilm, or a model that the
    package transformers can fetch, or a folder with one."""
    cache: Path = CACHE
    """Folder in which another encoder's vectors are kept, so that each sentence goes through it once."""
    max_steps: int = 100
    """Steps of acting after which an episode is truncated; the steps of reading don't count."""
    num_trashobjs: int = 2
    """How many of the four objects are there from the start."""
    num_trashcans: int = 2
    """How many of the three bins there are."""
    p_teleport: float = 0.05
    """Probability per step that an object moves somewhere else."""
    read_steps: int = 28
    """At most this many words are read before acting (homegrid-future and homegrid-dynamics)."""

    def __post_init__(self) -> None:
        check(self)
        check_language("homegrid", self.language)
        check_choice("homegrid", "tokens", self.tokens, ("closed", "t5", "embed"))
        check_range("homegrid", "image_size", self.image_size, 8, FULL_SIZE)
        check_range("homegrid", "max_steps", self.max_steps, 1)
        check_range("homegrid", "num_trashobjs", self.num_trashobjs, 1, 4)
        check_range("homegrid", "num_trashcans", self.num_trashcans, 1, 3)
        check_range("homegrid", "p_teleport", self.p_teleport, 0, 1)
        check_range("homegrid", "read_steps", self.read_steps, 0)

    def spaces(self) -> Spaces:
        """Of observations and actions. Raises UserError for a task, a tokenizer or an encoder that there isn't."""
        check_task(self.task, TASKS, "HomeGrid")
        size = (self.image_size, self.image_size, 3)
        return observation_space(size, _heard(self), "log_success", "log_tasks"), spaces.Discrete(10)


def coverage(config: HomeGridConfig) -> Coverage:
    """How many of the words in homegrid's sentences the tokenizer can say, each counted once."""
    if config.language == "none" or config.tokens != "closed":
        return Coverage()
    return measure(speaking("homegrid", config.tokenizer), (piece for id, piece in T5_PIECES.items() if id))


class HomeGrid(gymnasium.Env[Observation, Any]):
    """A home with bins and rubbish; a new task is told as soon as one is done.

    Observation: `image` uint8 (image_size, image_size, 3) of the 3×3 cells around the agent, half as bright where
    `is_read_step` is 1; tokens and logs of `dynalang_py.envs.contract`. The first observation of an episode is a
    reading step in every task. Ten actions: left, right, up, down, pick up, drop, get out of a bin, and three ways to
    open one: pedal, grasp, lift. Reward 1 for a task done, and once per task 0.5 for carrying the object that it is
    about. Episodes are truncated, never terminated.

    `log_text` is the task in force, `log_tasks` the number of tasks done in an episode, `log_success` is 1 if there was
    one.
    """

    metadata = RENDERING
    vocabulary: tuple[str, ...] = tuple(T5_PIECES.values())

    def __init__(self, config: HomeGridConfig, render_mode: str | None = None) -> None:
        self.observation_space, self.action_space = config.spaces()
        self.config = config
        self.render_mode = render_mode
        self._world = _World(config)
        self._other = _World(config) if config.language == "shuffled" else None
        self._pixels = ((np.arange(config.image_size) + 0.5) * FULL_SIZE / config.image_size).astype(np.intp)
        if config.tokens == "t5":
            self.vocabulary = tuple(T5_PIECES.get(i, f"<{i}>") for i in range(T5_VOCABULARY))
        if config.tokens == "closed":
            self.vocabulary = speaking("homegrid", config.tokenizer).pieces

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Observation, Info]:
        super().reset(seed=seed)
        if seed is not None:
            for world in filter(None, (self._world, self._other)):
                world.seed(self.np_random)
        seen = self._world.reset()
        heard = self._other.reset() if self._other is not None else seen
        self.told = ""
        return self._observe(seen, heard, done=False), {}

    def step(self, action: Any) -> tuple[Observation, float, bool, bool, Info]:
        seen, reward, terminated, truncated = self._world.step(int(action))
        heard = self._other.step(int(action))[0] if self._other is not None else seen
        return self._observe(seen, heard, done=terminated or truncated), reward, terminated, truncated, {}

    def render(self) -> np.ndarray | None:
        """The whole home, 384×448 pixels, with the agent's view highlighted."""
        return None if self.render_mode is None else self._world.wheel.render()

    def _observe(self, seen: dict[str, Any], heard: dict[str, Any], *, done: bool) -> Observation:
        if self.config.language == "none":
            heard = self._world.silence
        elif heard["log_language_info"] != "<pad>":  # between two sentences the last one stays
            self.told = heard["log_language_info"]
        tasks = len(self._world.wheel.accomplished_tasks) if done else 0
        # Nothing is shared with homegrid's dictionary, which it changes in place while the world stands still.
        return {
            "image": seen["image"].take(self._pixels, 0).take(self._pixels, 1),
            **self._hear(heard),
            "is_read_step": int(seen["is_read_step"]),
            "log_text": self._world.wheel.task,
            "log_success": np.array(tasks > 0, np.float32),
            "log_tasks": np.array(tasks, np.float32),
        }

    def _hear(self, heard: dict[str, Any]) -> Observation:
        if self.config.tokens == "embed":
            return {"token_embed": np.array(heard["token_embed"], np.float32)}
        return {"token": int(heard["token"])}


def _heard(config: HomeGridConfig) -> int | spaces.Box:
    """How many ids there are to hear, or the box of the vectors."""
    if config.tokens == "t5":
        return T5_VOCABULARY
    if config.tokens == "closed":
        return speaking("homegrid", config.tokenizer).size
    width = EMBEDDING if config.encoder == "homegrid" else Embeddings(config.encoder, config.cache).width
    return spaces.Box(-np.inf, np.inf, (width,), np.float32)


class _World:
    """homegrid's environment (gym 0.26), whose episodes depend on nothing but the generators that it is given here.

    It draws from Python's and numpy's global generators and from one of its own. The global ones are put back after
    each call, so that neither other environments nor the caller's program change its episodes, nor it theirs.
    """

    def __init__(self, config: HomeGridConfig) -> None:
        homegrid = _import_homegrid(config.task)
        kinds = ["task"] if config.task == "homegrid-task" else ["task", config.task.removeprefix("homegrid-")]
        self.seed(np.random.default_rng())
        with self._generators():
            self.wheel: Any = homegrid.HomeGrid(
                lang_types=kinds,
                max_steps=config.max_steps,
                num_trashobjs=config.num_trashobjs,
                num_trashcans=config.num_trashcans,
                p_teleport=config.p_teleport,
            )
        self.wheel.env.preread_max = config.read_steps
        _retell(self.wheel.env, config)
        self.silence = {"token": PAD, "token_embed": self.wheel.embed_cache["<pad>"]}

    def seed(self, source: np.random.Generator) -> None:
        """Draw new states of all three generators from `source`."""
        python, legacy, own = (int(s) for s in source.integers(2**32, size=3))
        self._python = random.Random(python).getstate()
        self._legacy = np.random.MT19937(legacy)
        self._own = np.random.default_rng(own)

    def reset(self) -> dict[str, Any]:
        with self._generators():
            self.wheel.unwrapped.np_random = self._own
            return self.wheel.reset()[0]

    def step(self, action: int) -> tuple[dict[str, Any], float, bool, bool]:
        with self._generators():
            obs, reward, terminated, truncated, _ = self.wheel.step(action)
        return obs, float(reward), bool(terminated), bool(truncated)

    @contextlib.contextmanager
    def _generators(self) -> Iterator[None]:
        outside, outside_legacy = random.getstate(), np.random.mtrand.get_bit_generator()
        random.setstate(self._python)
        np.random.mtrand.set_bit_generator(self._legacy)
        try:
            yield
        finally:
            self._python = random.getstate()
            random.setstate(outside)
            np.random.mtrand.set_bit_generator(outside_legacy)


def _retell(speech: Any, config: HomeGridConfig) -> None:
    """Let homegrid say its sentences in other words than T5's: all are looked up here, before the first step."""
    sentences = [sentence for sentence in speech.cache if sentence != "<pad>"]
    words: dict[str, Any]
    if config.tokens == "closed" and config.tokenizer == "homegrid":
        words = {sentence: [TOKEN_OF_T5[t5] for t5 in speech.cache[sentence].tolist()] for sentence in sentences}
    elif config.tokens == "closed":
        tokenizer = speaking("homegrid", config.tokenizer)
        words = {sentence: tokenizer.encode(sentence) for sentence in sentences}
    elif config.tokens == "embed" and config.encoder != "homegrid":
        embeddings = Embeddings(config.encoder, config.cache)
        words = {sentence: embeddings.embed(sentence) for sentence in sentences}
        speech.embed_cache = words | {"<pad>": embeddings.silence}  # as many vectors as tokens: it counts the latter
    else:
        return
    speech.cache = words | {"<pad>": PAD}
    if config.tokens == "closed":
        speech.embed_cache = speech.cache  # as long as the tokens are, and not heard


def _import_homegrid(task: str) -> Any:
    """homegrid, without gym's farewell note on standard error and without our `tokenizers` folder in its way."""
    require("gym_notices.notices", extra="homegrid", task=task).notices.clear()
    with outside_checkout():
        module = require("homegrid", extra="homegrid", task=task)
    silence_prints(module.homegrid_base)
    return module
