"""`dynalang worlds`: which worlds there are, what can be done in them, and how they can be set."""

import json
import typing

from dynalang_py import envs
from dynalang_py.config import flatten, to_dict
from dynalang_py.envs import EnvConfig, list_tasks
from dynalang_py.errors import UserError, nearest
from dynalang_py.options import descriptions
from dynalang_py.run.console import Face

SOME = 3
"""Tasks that are named of a family that has many."""


def show_worlds(family: str | None, *, as_json: bool = False) -> None:
    """Print the families of worlds with their tasks; or of one all tasks, and its settings with their defaults.

    Raises UserError for a family that there isn't.
    """
    tasks = list_tasks()
    if family is not None and family not in tasks:
        raise UserError(
            f"there is no family of worlds {family!r}; there are {', '.join(tasks)}.{nearest(family, tasks)}"
        )
    chosen = tasks if family is None else {family: tasks[family]}
    if as_json:
        plain = {name: {"tasks": found, "settings": to_dict(_settings(name))} for name, found in chosen.items()}
        print(json.dumps(plain, indent=2))
        return
    face = Face()
    if family is None:
        face.table("Worlds", [(name, _line(name, found)) for name, found in tasks.items()])
        face.say("dynalang worlds FAMILY lists all tasks of one, and its settings.")
        return
    face.say("\n".join(tasks[family]) or _missing(family))
    config = _settings(family)
    texts = descriptions(type(config))
    rows = [
        (f"--env.{name.replace('_', '-')}", f"{texts.get(name, '')} (default: {value})")
        for name, value in flatten(to_dict(config))
        if name != "task"
    ]
    face.table(f"Settings of {family}", rows)


def _settings(family: str) -> EnvConfig:
    """The settings of a family as they are where nothing is set."""
    kinds = {kind.__name__.removesuffix("Config").lower(): kind for kind in typing.get_args(envs.EnvConfig)}
    config: EnvConfig = kinds[family]()
    return config


def _line(family: str, tasks: tuple[str, ...]) -> str:
    if not tasks:
        return _missing(family)
    named = ", ".join(tasks[: SOME if len(tasks) > 2 * SOME else None])
    return f"{len(tasks)} tasks: {named}, ..." if len(tasks) > 2 * SOME else named


def _missing(family: str) -> str:
    return f"not installed: pip install 'dynalang_py[{family}]'"
