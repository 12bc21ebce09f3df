"""Every number of every setting has bounds, and whatever lies beyond them is refused by name when it is set."""

import dataclasses
import itertools
import math
import typing
from collections.abc import Iterator
from typing import Annotated, Any

import pytest

from dynalang_py import bounds
from dynalang_py.bounds import Within, check
from dynalang_py.config import Config, from_dict, to_dict
from dynalang_py.envs import DummyConfig
from dynalang_py.envs.vln.houses.dataset import HousesConfig
from dynalang_py.errors import UserError
from dynalang_py.run.bench import BenchConfig
from dynalang_py.run.evaluate import EvalConfig
from dynalang_py.run.generate import GenerateConfig
from dynalang_py.run.tokenizer import TrainTokenizerConfig
from dynalang_py.text.config import PretrainConfig

ROOTS = (Config, PretrainConfig, EvalConfig, BenchConfig, GenerateConfig, TrainTokenizerConfig, HousesConfig)


def _parts(kind: type) -> Iterator[type]:
    """A dataclass and those within it, the members of unions too."""
    yield kind
    for hint in typing.get_type_hints(kind).values():
        for member in (hint, *typing.get_args(hint)):
            if isinstance(member, type) and dataclasses.is_dataclass(member):
                yield from _parts(member)


PARTS = list(dict.fromkeys(itertools.chain(*map(_parts, ROOTS))))
NUMBERS = [
    (kind, name, plain)
    for kind in PARTS
    for name, hint in typing.get_type_hints(kind).items()
    for plain in (int, float)
    if plain in (hint, *typing.get_args(hint))
]


@pytest.mark.parametrize(("kind", "name", "plain"), NUMBERS)
def test_no_setting_takes_a_number_that_nothing_can_compute_with(kind: type, name: str, plain: type) -> None:
    needed = {"env": DummyConfig()} if kind in (Config, EvalConfig) else {}
    huge: list[Any] = [10**20, -(10**20), 10**400]
    for value in huge if plain is int else [*huge[2:], math.inf, -math.inf, math.nan, 1e300]:
        with pytest.raises((ValueError, UserError), match=name):
            kind(**needed, **{name: (value,) * 3 if "tuple" in str(typing.get_type_hints(kind)[name]) else value})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Example:
    share: Annotated[float, Within(0, 1, above=True)] = 1.0
    maybe: bounds.Layers | None = None
    both: tuple[int, int] = (0, 0)
    any: int = 0


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"share": 0}, "share must be above 0 and at most 1, got 0"),
        ({"share": math.nan}, "share must be above 0 and at most 1, got nan"),
        ({"maybe": 101}, "maybe must be at least 1 and at most 100, got 101"),
        ({"both": (1, 2**40)}, "both must be at most 2,147,483,647, got 1099511627776"),
        ({"any": -(2**40)}, "any must be at least -2,147,483,647, got -1099511627776"),
    ],
)
def test_a_number_out_of_bounds_is_named_with_what_is_allowed(changes: dict[str, Any], sentence: str) -> None:
    check(Example())
    check(Example(maybe=100, any=2**31 - 1))
    with pytest.raises(ValueError, match=f"^{sentence}$"):
        check(dataclasses.replace(Example(), **changes))


def test_settings_of_files_are_refused_by_their_dotted_names() -> None:
    plain = to_dict(Config(env=DummyConfig()))
    plain["model"]["heads"]["layers"] = 2**31
    with pytest.raises(UserError, match=r"^model\.heads\.layers must be at least 1 and at most 100, got 2147483648$"):
        from_dict(plain)
