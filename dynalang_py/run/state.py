"""What the state of a checkpoint must look like before anything is built from it: a wrong one counts as damage."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from dynalang_py import config as configs
from dynalang_py.run.counters import Counters, ReadingCounters

FAR = 1 << 60
"""No step, update or token is ever counted beyond this."""


def check_training(state: Mapping[str, Any], envs: int) -> None:
    """Raise ValueError or UserError unless a run of training with so many environments can go on from this state."""
    configs.from_dict(_part(state, "counters"), Counters, "counters")
    _part(state, "config")
    _check_generator(state, "random")
    replay = _part(state, "replay")
    _check_generator(replay, "random")
    _check_pairs(replay, "queue")
    fresh: Any = replay.get("fresh")
    of_these = _is_counts(fresh) and len(fresh) == envs and all(stream < envs for stream, _ in replay["queue"])
    if not of_these:
        raise ValueError(f"its state of the replay is not of {envs} environments")
    if "heads" in replay and not (_is_counts(replay["heads"]) and len(replay["heads"]) == envs):
        raise ValueError(f"its state of the replay is not of {envs} environments")
    if state.get("text") is not None:
        _check_windows(_part(state, "text"))
    _check_loop(state)
    if "driver" in state:  # not in checkpoints of earlier versions
        _check_driver(_part(state, "driver"), envs)


def check_reading(state: Mapping[str, Any]) -> None:
    """Raise ValueError or UserError unless a run of reading can go on from this state."""
    configs.from_dict(_part(state, "progress"), ReadingCounters, "progress")
    _part(state, "config")
    _check_windows(_part(state, "windows"))
    _check_loop(state)
    text = state.get("text")
    if not isinstance(text, list) or not all(isinstance(key, str) for key in [*text, state.get("tokenizer")]):
        raise ValueError("its state does not say which text and tokenizer it is of")


def _check_driver(driver: Mapping[str, Any], envs: int) -> None:
    guided, worlds = driver.get("guided"), driver.get("worlds")
    if not isinstance(guided, list) or len(guided) != 2 or driver.get("policy") not in (None, 0, 1):
        raise ValueError("its state does not say who acts")
    for policy in filter(None, guided):
        _check_generator(policy, "random")
        _check_each(policy, "led", envs, bool)
    for name in ("ended", "recent"):
        _check_each(driver, name, None, dict)
    if worlds is None:
        return
    _check_pairs(_part(worlds, "worlds"), "series")
    kinds: dict[str, type] = {"series": list, "revivals": int, "ended": bool}
    kinds |= {"seen": int, "reward": float, "is_first": bool, "terminated": bool, "truncated": bool}
    kinds |= {"return": float, "length": int, "acting": int}
    flat = {**worlds, **worlds["worlds"], **_part(worlds, "meter")}
    for name, kind in kinds.items():
        _check_each(flat, name, envs, kind)


def _check_each(state: Mapping[str, Any], name: str, count: int | None, kind: type) -> None:
    values = state.get(name)
    right = isinstance(values, list) and count in (None, len(values))
    if not right or not all(type(value) is kind for value in values or ()):
        raise ValueError(f"its state has no {name!r} of as many values as there are environments")


def _check_loop(state: Mapping[str, Any]) -> None:
    if "loop" not in state:  # as in checkpoints of earlier versions
        return
    loop = _part(state, "loop")
    rows = _part(loop, "metrics").values()
    numbers = all(isinstance(row, list) and all(type(value) is float for value in row) for row in rows)
    if not numbers or not _is_counts([loop.get("logged_at"), loop.get("looked_at")]):
        raise ValueError("its state does not say what was logged")


def _part(state: Mapping[str, Any], name: str) -> dict[str, Any]:
    found = state.get(name)
    if not isinstance(found, dict):
        raise ValueError(f"its state has no {name!r}")
    return found


def _check_windows(windows: Mapping[str, Any]) -> None:
    _check_pairs(windows, "place", least=-1)
    if not _is_counts([windows.get("epoch"), windows.get("taken")]):
        raise ValueError("its state does not say where in the text it is")


def _check_pairs(state: Mapping[str, Any], name: str, least: int = 0) -> None:
    pairs = state.get(name)
    if not isinstance(pairs, list) or not all(_is_counts(pair, least) and len(pair) == 2 for pair in pairs):
        raise ValueError(f"its state has no {name!r} of pairs of whole numbers")


def _is_counts(values: Any, least: int = 0) -> bool:
    return isinstance(values, list) and all(type(value) is int and least <= value < FAR for value in values)


def _check_generator(state: Mapping[str, Any], name: str) -> None:
    try:
        np.random.default_rng().bit_generator.state = state[name]
    except Exception as error:  # whatever numpy makes of it
        raise ValueError(f"its state has no {name!r} of a generator: {error!r}") from error
