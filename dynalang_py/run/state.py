"""What the state of a checkpoint must look like before anything is built from it: a wrong one counts as damage."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from dynalang_py import config as configs
from dynalang_py.config import Config
from dynalang_py.errors import UserError
from dynalang_py.reading import is_finite
from dynalang_py.run.checkpoint import Checkpoint
from dynalang_py.run.counters import Counters, ReadingCounters

Kind = Callable[[Any], bool]
"""Whether a JSON value is of a kind."""

FAR = 1 << 60
"""No step, update or token is ever counted beyond this."""


def check_training(state: Mapping[str, Any]) -> None:
    """Raise ValueError unless a run of training, with the settings that stand in this state, can go on from it."""
    settings = state.get("config")
    envs: Any = settings.get("envs") if isinstance(settings, dict) else None

    def each(kind: Kind) -> Kind:
        return _many(kind, envs)

    flags, counts = each(_flag), each(_count)
    worlds = {
        "worlds": _record(seed=_maybe(_count), series=each(_many(_count, 2)), revivals=counts, ended=flags),
        "seen": counts,
        "reward": each(is_finite),
        "is_first": flags,
        "terminated": flags,
        "truncated": flags,
        "meter": _record(**{"return": each(is_finite), "length": counts, "acting": counts}),
    }
    guided = _record(random=_generator, led=lambda value: value == [] or flags(value))  # none before it has acted
    replay = {
        "heads": _maybe(counts),  # earlier versions did not keep them
        "random": _generator,
        "queue": _many(lambda item: _many(_count, 2)(item) and item[0] < envs),
        "fresh": counts,
    }
    acting = {
        "worlds": _maybe(_record(**worlds)),
        "policy": _maybe(lambda value: _count(value) and value < 2),
        "guided": _many(_maybe(guided), 2),
        "ended": _many(_episode),
        "recent": _many(_episode),
    }
    _check(
        state,
        config=_record(envs=_count),  # first: the rest depends on it
        counters=_fields_of(Counters),
        replay=_record(**replay),
        random=_generator,
        text=_maybe(_place),
        driver=_maybe(_record(**acting)),
        loop=_maybe(_loop),
    )


def check_reading(state: Mapping[str, Any]) -> None:
    """Raise ValueError unless a run of reading can go on from this state."""
    _check(
        state,
        progress=_fields_of(ReadingCounters),
        config=_record(),
        windows=_place,
        text=_many(_text),
        tokenizer=_text,
        loop=_maybe(_loop),
    )


def _check(state: Mapping[str, Any], **kinds: Kind) -> None:
    for name, kind in kinds.items():
        if not kind(state.get(name)):
            raise ValueError(f"its state has no {name!r} that a run could go on with")


def _count(value: Any) -> bool:
    return type(value) is int and 0 <= value < FAR


def _flag(value: Any) -> bool:
    return isinstance(value, bool)


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _maybe(kind: Kind) -> Kind:
    return lambda value: value is None or kind(value)


def _many(kind: Kind, length: int | None = None) -> Kind:
    return lambda value: isinstance(value, list) and length in (None, len(value)) and all(map(kind, value))


def _record(**kinds: Kind) -> Kind:
    return lambda value: isinstance(value, dict) and all(kind(value.get(name)) for name, kind in kinds.items())


def _episode(value: Any) -> bool:
    return isinstance(value, dict) and all(type(item) in (int, float, str) for item in value.values())


def _place(value: Any) -> bool:
    """Where streams stand in a text; −1 is none of its pieces."""
    pair = _many(lambda item: type(item) is int and -1 <= item < FAR, 2)
    return _record(epoch=_count, taken=_count, place=_many(pair))(value)


def _loop(value: Any) -> bool:
    figures = _record(logged_at=_count, looked_at=_count, metrics=_record())(value)
    return figures and all(map(_many(lambda item: type(item) in (int, float)), value["metrics"].values()))


def _fields_of(kind: type) -> Kind:
    def fits(value: Any) -> bool:
        if not isinstance(value, dict):
            return False
        try:
            configs.from_dict(value, kind)
        except UserError:
            return False
        return True

    return fits


def _generator(value: Any) -> bool:
    try:
        np.random.default_rng().bit_generator.state = value
    except Exception:  # whatever numpy makes of it
        return False
    return True


def check_same(checkpoint: Checkpoint, config: Config) -> None:
    """Raise UserError if the checkpoint belongs to settings that learn otherwise than `config` does."""
    try:
        old = configs.from_dict(checkpoint.state["config"])
    except (UserError, KeyError) as error:
        raise UserError(f"{checkpoint.path} was made by other settings: {error}") from error
    difference = configs.first_difference(old, config)
    if difference:
        raise UserError(f"{checkpoint.path} was made by other settings: {difference}")
