"""Worlds and instructions: every environment keeps the step contract of `dynalang_py.envs.contract`. Needs no torch."""

from dataclasses import replace
from functools import partial
from typing import TypeAlias, get_args

import gymnasium

from dynalang_py.envs import babyai, dummy, homegrid, langroom, messenger, vln
from dynalang_py.envs.babyai import BabyAI, BabyAIConfig
from dynalang_py.envs.dummy import Dummy, DummyConfig
from dynalang_py.envs.homegrid import HomeGrid, HomeGridConfig
from dynalang_py.envs.langroom import LangRoom, LangRoomConfig
from dynalang_py.envs.messenger import Messenger, MessengerConfig
from dynalang_py.envs.vector import VectorEnv
from dynalang_py.envs.vln import VLN, VLNConfig
from dynalang_py.errors import UserError
from dynalang_py.tokenizers.coverage import Coverage

__all__ = [
    "BabyAIConfig",
    "DummyConfig",
    "EnvConfig",
    "HomeGridConfig",
    "LangRoomConfig",
    "MessengerConfig",
    "VLNConfig",
    "VectorEnv",
    "coverage",
    "list_tasks",
    "make",
    "make_vector",
    "with_expert",
]

EnvConfig: TypeAlias = BabyAIConfig | HomeGridConfig | LangRoomConfig | MessengerConfig | VLNConfig | DummyConfig


def make(config: EnvConfig, render_mode: str | None = None) -> gymnasium.Env:
    """The environment that `config` describes; with render_mode "rgb_array" its `render()` gives frames for people.

    Raises:
        UserError: The task doesn't exist, or its extra isn't installed.
    """
    if render_mode not in (None, "rgb_array"):
        raise UserError(f"render_mode must be None or 'rgb_array', got {render_mode!r}.")
    if not isinstance(config, get_args(EnvConfig)):
        known = ", ".join(kind.__name__ for kind in get_args(EnvConfig))
        raise UserError(
            f"there is no world of the settings {type(config).__name__}; there are {known}; docs/extend.md says how"
            " to add one."
        )
    env = _make(config, render_mode)
    if not env.has_wrapper_attr("vocabulary"):
        raise UserError(f"{type(env).__name__} has no vocabulary, which is a tuple with the word of each id.")
    return env


def _make(config: EnvConfig, render_mode: str | None) -> gymnasium.Env:
    match config:
        case BabyAIConfig():
            return BabyAI(config, render_mode)
        case HomeGridConfig():
            return HomeGrid(config, render_mode)
        case LangRoomConfig():
            return LangRoom(config, render_mode)
        case MessengerConfig():
            return Messenger(config, render_mode)
        case VLNConfig():
            return VLN(config, render_mode)
        case DummyConfig():
            return Dummy(config, render_mode)


def make_vector(config: EnvConfig, num_envs: int, processes: bool) -> VectorEnv:
    """`num_envs` environments stepped together, in this process or in one worker process each (see `VectorEnv`)."""
    return VectorEnv(partial(make, config), num_envs, processes)


def with_expert(config: EnvConfig) -> EnvConfig:
    """The same world, telling at each step what an expert would do, as `expert`. Raises UserError if it has none."""
    if not isinstance(config, VLNConfig):
        raise UserError(f"{config.task} has no expert; vln has one.")
    return replace(config, expert=True)


def coverage(config: EnvConfig) -> Coverage:
    """How much of what a world says its tokenizer can say; a world that chooses its own words loses none.

    Raises UserError if the tokenizer or the instructions can't be read.
    """
    match config:
        case VLNConfig():
            return vln.coverage(config)
        case HomeGridConfig():
            return homegrid.coverage(config)
        case BabyAIConfig():
            return babyai.coverage(config)
        case _:
            return Coverage()


def list_tasks() -> dict[str, tuple[str, ...]]:
    """Task names by family; a family whose extra isn't installed has none."""
    try:
        levels = babyai.list_tasks()
    except UserError:
        levels = ()
    return {
        "babyai": levels,
        "homegrid": homegrid.TASKS,
        "langroom": langroom.TASKS,
        "messenger": messenger.TASKS,
        "vln": vln.TASKS,
        "dummy": dummy.TASKS,
    }
