"""BabyAI and MiniGrid (package minigrid): a grid world, the part of it that an agent sees, and a mission in words."""

import re
from dataclasses import dataclass
from typing import Any, NamedTuple

import gymnasium
import numpy as np

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
    silence_prints,
)
from dynalang_py.envs.language import Speaker, Vocabulary, speaking
from dynalang_py.tokenizers.coverage import Coverage, measure

COLORS = ("red", "green", "blue", "purple", "yellow", "grey")
OBJECTS = ("ball", "box", "key", "door")
VOCABULARY = Vocabulary(
    [
        *COLORS,
        *OBJECTS,
        # The rest of BabyAI's grammar: descriptions, places, deeds, and what ties two missions together.
        *("the", "a", "object", "on", "your", "left", "right", "in", "front", "of", "you", "behind"),
        *("go", "to", "pick", "up", "open", "put", "next", "and", ",", "then", "after"),
        # MiniGrid's other missions.
        *("at", "avoid", "end", "fetch", "find", "from", "get", "goal", "hallway", "lava", "matching", "maze", "must"),
        *("near", "opening", "reach", "room", "rooms", "square", "traverse", "unlock", "use"),
    ]
)


@dataclass(frozen=True, kw_only=True)
class BabyAIConfig:
    task: str = "BabyAI-GoToLocalS5N2-v0"
    """Id of a BabyAI or MiniGrid level that has a mission in words."""
    language: Language = "true"
    """Which mission is heard: true (this episode's), shuffled (another episode's) or none (silence)."""
    tile_size: int = 5
    """Pixels per cell of the 7×7 view. 5 is the least that tells all objects and colours apart; at 4 a closed door all
    but vanishes and an open one loses its colour, which is enough where there are only keys, balls and boxes."""
    read: bool = True
    """The world stands still until the mission was heard once, word by word. Without it, in small rooms, to wait for
    the end of the sentence costs as much as to try one object after the other: listening would not pay."""
    pause: int = 1
    """Silent steps between two repetitions of the mission."""
    tokenizer: str = "babyai"
    """What turns missions into tokens: babyai (its own words), english, bytes or t5, or the path of a sentencepiece
    model. Where a tokenizer cuts words into pieces, missions take longer to say."""

    def __post_init__(self) -> None:
        check(self)
        check_language("babyai", self.language)
        check_range("babyai", "tile_size", self.tile_size, 3, 64)
        check_range("babyai", "pause", self.pause, 0, 1000)

    def spaces(self) -> Spaces:
        """Of observations and actions; a level tells its own, so minigrid must be there. Raises UserError."""
        return _spaces(self, _make_level(self.task), speaking("babyai", self.tokenizer).size)


def list_tasks() -> tuple[str, ...]:
    """Ids of all levels with a mission in words.

    Raises:
        UserError: minigrid isn't installed.
    """
    require("minigrid", extra="babyai", task="BabyAI")
    levels = (name for name in gymnasium.registry if name.startswith(("BabyAI-", "MiniGrid-")))
    # Playground has no mission; the WFC mazes need pattern files that minigrid's wheel leaves out.
    return tuple(sorted(name for name in levels if "Playground" not in name and "WFC" not in name))


def coverage(config: BabyAIConfig) -> Coverage:
    """How many of the words that missions are made of the tokenizer can say, each counted once."""
    if config.language == "none":
        return Coverage()
    return measure(speaking("babyai", config.tokenizer), VOCABULARY.pieces[2:])


class Thing(NamedTuple):
    """A kind of object as a sentence names it; None where the sentence leaves it open."""

    color: str | None
    type: str | None

    def fits(self, color: str, type: str) -> bool:
        return self.color in (None, color) and self.type in (None, type)


def named_thing(mission: str) -> Thing | None:
    """The object that a mission wants dealt with first, or None if it names none by type or colour."""
    first = mission.split(" after you ")[-1]
    match = re.search(rf"\b(?:({'|'.join(COLORS)}) )?({'|'.join(OBJECTS)}|object)\b", first)
    if match is None or match[0] == "object":
        return None
    return Thing(match[1], None if match[2] == "object" else match[2])


class BabyAI(gymnasium.Env[Observation, Any]):
    """One level of BabyAI or MiniGrid; the mission is read at the start and heard again and again while acting.

    While it is read (`is_read_step` is 1) actions do nothing and the level's clock stands still; at the mission's last
    word the first action counts.

    Observation: `image` uint8 (7·tile_size, 7·tile_size, 3), exactly what minigrid's RGBImgPartialObsWrapper shows, and
    the tokens and logs of `dynalang_py.envs.contract`. Actions, rewards and time limits are the level's own.

    `log_success` is 1 if the episode ended in the level's reward, not in its time limit.

    `log_first_faced` is 1 if the first object (ball, box, key or door) that came to stand in the cell before the agent
    was of the type and colour that the mission names first; 0 if it was another; NaN if the agent faced none or the
    mission names none. What lies before it at the start says nothing about listening, so an object counts only once
    the faced cell has changed. An agent that doesn't listen can't do better than the share of fitting objects in the
    room. It is judged by the true mission also where another one is heard.
    """

    metadata = RENDERING

    def __init__(self, config: BabyAIConfig, render_mode: str | None = None) -> None:
        self.config = config
        self.render_mode = render_mode
        self._tokenizer = speaking("babyai", config.tokenizer)
        self.vocabulary = self._tokenizer.pieces
        self.level: Any = _make_level(config.task)
        self._other: Any = _make_level(config.task) if config.language == "shuffled" else None
        self._view = View(config.tile_size)
        self._speaker = Speaker(config.pause)
        self.observation_space, self.action_space = _spaces(config, self.level, self._tokenizer.size)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Observation, Info]:
        super().reset(seed=seed)
        self.level.reset(seed=seed)
        seen = self.level.gen_obs()  # what reset returns lacks the thing that some levels put into the agent's hands
        self._mission: str = seen["mission"]
        heard = {"true": self._mission, "shuffled": self._draw_mission(), "none": ""}[self.config.language]
        self.told = heard
        self._speaker.tell(self._tokenizer.encode(heard))
        self._named = named_thing(self._mission)
        self._faced_cell = self._front()
        self._first_faced = np.nan
        self._seen = seen
        return self._observe(success=0.0, first_faced=0.0), {}

    def step(self, action: Any) -> tuple[Observation, float, bool, bool, Info]:
        if self._reading:
            return self._observe(success=0.0, first_faced=0.0), 0.0, False, False, {}
        self._seen, reward, terminated, truncated, _ = self.level.step(action)
        self._look()
        done = terminated or truncated
        success = float(terminated and reward > 0)
        obs = self._observe(success=success, first_faced=self._first_faced if done else 0.0)
        return obs, float(reward), bool(terminated), bool(truncated), {}

    def render(self) -> np.ndarray | None:
        """The whole level, 32 pixels per cell, with the agent's view highlighted."""
        return None if self.render_mode is None else self.level.get_frame(tile_size=32)

    def _draw_mission(self) -> str:
        if self._other is None:
            return ""
        seen, _ = self._other.reset(seed=int(self.np_random.integers(2**31)))
        return seen["mission"]

    def _front(self) -> tuple[int, int]:
        x, y = self.level.front_pos
        return int(x), int(y)

    def _look(self) -> None:
        cell = self._front()
        if cell == self._faced_cell:
            return
        self._faced_cell = cell
        thing = self.level.grid.get(*cell)
        if self._named is not None and np.isnan(self._first_faced) and thing is not None and thing.type in OBJECTS:
            self._first_faced = float(self._named.fits(thing.color, thing.type))

    def _observe(self, *, success: float, first_faced: float) -> Observation:
        token = next(self._speaker)
        self._reading = self.config.read and not self._speaker.finished
        return {
            "image": self._view.draw(self._seen["image"]),
            "token": token,
            "is_read_step": int(self._reading),
            "log_text": self._mission,
            "log_success": np.array(success, np.float32),
            "log_first_faced": np.array(first_faced, np.float32),
        }


class View:
    """Draws minigrid's symbolic view from a table of tiles, which minigrid itself renders when one is first seen.

    Its own wrapper works out the view a second time and pastes 49 tiles one by one: a step takes three times as long.
    """

    TYPES, COLORS, STATES = 11, 6, 3

    def __init__(self, tile_size: int) -> None:
        self.tile_size = tile_size
        kinds = self.TYPES * self.COLORS * self.STATES
        # The second half holds the same kinds with the agent on top: it stands on what it carries.
        self._tiles = np.zeros((2 * kinds, tile_size, tile_size, 3), np.uint8)
        self._known = np.zeros(2 * kinds, bool)

    def draw(self, symbols: np.ndarray) -> np.ndarray:
        """symbols: uint8 (W, H, 3) of type, colour and state → uint8 (H·tile_size, W·tile_size, 3)."""
        symbol = symbols.astype(np.intp).transpose(1, 0, 2)
        kind = (symbol[..., 0] * self.COLORS + symbol[..., 1]) * self.STATES + symbol[..., 2]  # (H, W)
        height, width = kind.shape
        kind[-1, width // 2] += len(self._known) // 2
        if not self._known[kind].all():
            for new in np.unique(kind[~self._known[kind]]):
                self._tiles[new] = self._render(int(new))
                self._known[new] = True
        tiles = self._tiles[kind].swapaxes(1, 2)  # (H, tile, W, tile, 3)
        return tiles.reshape(height * self.tile_size, width * self.tile_size, 3)

    def _render(self, kind: int) -> np.ndarray:
        from minigrid.core.constants import IDX_TO_OBJECT
        from minigrid.core.grid import Grid
        from minigrid.core.world_object import WorldObj

        agent, kind = divmod(kind, len(self._known) // 2)
        rest, state = divmod(kind, self.STATES)
        type_, color = divmod(rest, self.COLORS)
        thing = WorldObj.decode(type_, color, state)
        visible = IDX_TO_OBJECT[type_] != "unseen"
        # minigrid's tiles are floats; its frames cut off the fraction, as this assignment to uint8 does.
        return Grid.render_tile(thing, agent_dir=3 if agent else None, highlight=visible, tile_size=self.tile_size)


def _spaces(config: BabyAIConfig, level: Any, tokens: int) -> Spaces:
    side = level.agent_view_size * config.tile_size
    size = (side, side, 3)
    return observation_space(size, tokens, "log_success", "log_first_faced"), level.action_space


def _make_level(task: str) -> Any:
    check_task(task, list_tasks(), "BabyAI")
    # It prints a line for each level that it draws and rejects.
    silence_prints(require("minigrid.envs.babyai.core.roomgrid_level", extra="babyai", task=task))
    return gymnasium.make(task, disable_env_checker=True).unwrapped
