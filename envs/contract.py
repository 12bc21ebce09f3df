"""What the observations of every environment have in common: the step contract that agents rely on.

An observation is a dictionary:

- `image`: uint8 (H, W, 3).
- `token`: one id of the environment's closed vocabulary, 0 is silence; or `token_embed`: float32 (D,).
- `is_read_step`: 1 where the world stands still while an instruction is read.
- `expert`: the action that an expert would take, where a config asks for one. Agents never see it.
- `log_text`: the sentence in force, for people. Agents never see keys that start with `log_`.
- `log_*`: float32 numbers for people. They speak at the last step of an episode and are 0 before; NaN says that the
  question didn't arise in this episode.

Every environment has `vocabulary`, a tuple of display pieces indexed by token id, and `told`, the sentence that the
agent is told: where language is shuffled, or hints are given, another than `log_text`.
"""

import importlib
import logging
from collections.abc import Sequence
from types import ModuleType
from typing import Any, Literal, TypeAlias

import numpy as np
from gymnasium import spaces

from dynalang_py.errors import UserError, nearest, shown

logger = logging.getLogger("dynalang.envs")

Observation: TypeAlias = dict[str, Any]
Info: TypeAlias = dict[str, Any]
Spaces: TypeAlias = tuple[spaces.Dict, spaces.Space[Any]]
"""Of observations and of actions. Every config tells them by `spaces()`, without making its environment."""
Language: TypeAlias = Literal["true", "shuffled", "none"]
"""true: the sentence of this episode. shuffled: the sentence of another, independently drawn episode of the same task,
the control that shows whether an agent listens. none: silence."""

RENDERING: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 8}
"""gymnasium's metadata of every environment."""

ALONE = ("langroom",)
"""Packages that are installed without their dependencies: langroom asks for pygame, which it never imports, and which
would lie in one folder with minigrid's pygame-ce."""

_TEXT_CHARACTERS = "".join(map(chr, range(32, 127)))


def observation_space(image: tuple[int, int, int], token: int | spaces.Box, *logs: str) -> spaces.Dict:
    """The space of observations with this image shape, vocabulary size (or box of embeddings) and these logs."""
    heard = {"token_embed": token} if isinstance(token, spaces.Box) else {"token": spaces.Discrete(token)}
    return spaces.Dict(
        {
            "image": spaces.Box(0, 255, image, np.uint8),
            **heard,
            "is_read_step": spaces.Discrete(2),
            "log_text": spaces.Text(max_length=1000, min_length=0, charset=_TEXT_CHARACTERS),
            **{name: spaces.Box(-np.inf, np.inf, (), np.float32) for name in logs},
        }
    )


def require(module: str, *, extra: str, task: str) -> Any:
    """Import a module that an optional extra brings.

    Raises:
        UserError: It isn't installed; the message names the pip command.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        needs = f"the {extra} extra: pip install 'dynalang_py[{extra}]'"
        if extra in ALONE:
            needs = f"the package {extra}: pip install --no-deps {extra}"
        raise UserError(f"{task} needs {needs} ({error}).") from error


def check_task(task: str, tasks: tuple[str, ...], family: str) -> None:
    """Raises UserError with the nearest name if `task` is none of `tasks`."""
    if task in tasks:
        return
    allowed = f"one of {', '.join(tasks)}" if len(tasks) <= 8 else f"one of {len(tasks)} names such as {tasks[0]}"
    hint = nearest(task, tasks) or f" All are listed by: dynalang worlds {family.lower()}"
    raise UserError(f"There is no {family} task {shown(task)}; it must be {allowed}.{hint}")


def check_range(family: str, field: str, value: float, low: float, high: float = float("inf")) -> None:
    """Raises UserError if a field of a family's config is not a number in [low, high]."""
    if not low <= value <= high:
        allowed = f"at least {low:g}" if high == float("inf") else f"from {low:g} to {high:g}"
        raise UserError(f"{family}.{field} must be {allowed}, got {value}.")


def check_choice(family: str, field: str, value: str, allowed: Sequence[str]) -> None:
    """Raises UserError with the nearest choice if a field of a family's config is none of `allowed`."""
    if value not in allowed:
        *most, last = map(repr, allowed)
        hint = nearest(value, allowed)
        raise UserError(f"{family}.{field} must be {', '.join(most)} or {last}, got {value!r}.{hint}")


def check_language(family: str, value: str) -> None:
    """Raises UserError if `value` is no setting of `language`."""
    check_choice(family, "language", value, ("true", "shuffled", "none"))


def silence_prints(module: ModuleType) -> None:
    """Send what a third party's module prints to the log: standard output belongs to the command line's own face."""
    module.print = lambda *words: logger.debug("%s", words)  # type: ignore[attr-defined]
