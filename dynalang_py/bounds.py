"""What the numbers of a setting may be: declared beside the field, checked whenever its dataclass is made.

```
@dataclass(frozen=True, kw_only=True)
class HeadConfig:
    layers: Layers = 1          # or Annotated[int, Within(1, 7)]

    def __post_init__(self) -> None:
        check(self)
```
A number that says nothing of bounds must be finite and fit what computes with it: 32 bits. Needs no torch.
"""

import math
import typing
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from types import MappingProxyType
from typing import Annotated, Any, TypeAlias

from dynalang_py.errors import shown

MANY = 2**31 - 1
FAR = 2**20
"""An end that is told only to who went beyond it."""
HUGE = 1e30
"""Beyond this a product of two numbers fits no 32-bit float."""


@dataclass(frozen=True)
class Within:
    """From low to high. above, below: the end itself is not allowed."""

    low: float = -HUGE
    high: float = HUGE
    above: bool = False
    below: bool = False

    def holds(self, value: float) -> bool:
        return (self.low < value if self.above else self.low <= value) and (
            value < self.high if self.below else value <= self.high
        )

    def allowed(self, value: float) -> str:
        """What is allowed instead of `value`: both ends, unless one is far off and not the one that was missed."""
        ends = []
        if self.low > -MANY or not value >= self.low:
            ends.append(f"{'above' if self.above else 'at least'} {_number(self.low)}")
        if self.high < FAR or not value <= self.high:
            ends.append(f"{'below' if self.below else 'at most'} {_number(self.high)}")
        return " and ".join(ends)


Count: TypeAlias = Annotated[int, Within(1)]
Natural: TypeAlias = Annotated[int, Within(0)]
Steps: TypeAlias = Annotated[int, Within(1, 10**15)]
Seed: TypeAlias = Annotated[int, Within(0, 2**53)]
Episodes: TypeAlias = Annotated[int, Within(1, 1_000_000)]
Width: TypeAlias = Annotated[int, Within(1, 2**16)]
Batch: TypeAlias = Annotated[int, Within(1, 2**20)]
Layers: TypeAlias = Annotated[int, Within(1, 100)]
Side: TypeAlias = Annotated[int, Within(1, 1024)]
Share: TypeAlias = Annotated[float, Within(0, 1)]
Weight: TypeAlias = Annotated[float, Within(0)]
Positive: TypeAlias = Annotated[float, Within(0, above=True)]
Duration: TypeAlias = Annotated[float, Within(0, 10_000_000, above=True)]


def check(config: Any) -> None:
    """Raise ValueError that names the first field of a dataclass whose number is out of bounds, and what is allowed."""
    kind: Any = type(config)
    for name, within in _bounds(kind).items():
        value = getattr(config, name)
        for number in value if isinstance(value, tuple) else (value,):
            if isinstance(number, (int, float)) and not isinstance(number, bool) and not _fits(number, within):
                raise ValueError(f"{name} must be {within.allowed(number)}, got {shown(number)}")


def _fits(number: float, within: Within) -> bool:
    try:
        return math.isfinite(number) and within.holds(number)
    except OverflowError:  # a whole number beyond every float
        return False


@cache
def _bounds(kind: type) -> Mapping[str, Within]:
    """Name → bounds of each field of a dataclass that holds a number, several of them, or a number or nothing."""
    hints = typing.get_type_hints(kind, include_extras=True)
    found = {name: _within(hint) for name, hint in hints.items()}
    return MappingProxyType({name: within for name, within in found.items() if within})


def _within(hint: Any) -> Within | None:
    if typing.get_origin(hint) is Annotated:
        plain, *notes = typing.get_args(hint)
        for within in notes:
            if isinstance(within, Within):
                far = MANY if plain is int else HUGE
                return replace(within, low=max(within.low, -far), high=far if within.high == HUGE else within.high)
    if hint in (int, float):
        far = MANY if hint is int else HUGE
        return Within(-far, far)
    return next(filter(None, map(_within, typing.get_args(hint))), None)


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"
