"""Fields of a JSON object, each read with what it must be: what is wrong is named, and what nothing needs is let go."""

import math
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias, TypeVar

from dynalang_py.errors import shown
from dynalang_py.reading import is_finite, is_inside

Point: TypeAlias = tuple[float, float, float]
Rotation: TypeAlias = tuple[float, float, float, float]
T = TypeVar("T")

FARTHEST = 1e6
"""Metres from the origin; what lies beyond is no place in a building."""
LONGEST = 100_000
"""Values in a list of an episode."""
UPRIGHT = math.cos(math.radians(45))
"""How high the agent's own up, a unit vector, must reach; VLN-CE turns agents about the vertical alone."""


class WrongError(Exception):
    """A field, and what it must be."""

    def __init__(self, name: str, allowed: str, value: Any) -> None:
        super().__init__(f"{name} must be {allowed}, got {shown(value)}")


class Fields:
    """One object of a file. prefix: of the names in sentences. notes: where is told what is wrong and not needed."""

    def __init__(self, raw: Mapping[str, Any], notes: list[str], prefix: str = "") -> None:
        self._raw = raw
        self.notes = notes
        self._prefix = prefix
        self._known: set[str] = set()

    def take(self, name: str, read: Callable[[Any, str], T]) -> T:
        """A field that must be there. Raises WrongError."""
        if name not in self._raw:
            raise WrongError(self._prefix + name, "there", None)
        self._known.add(name)
        return read(self._raw[name], self._prefix + name)

    def find(self, name: str, read: Callable[[Any, str], T]) -> T | None:
        """A field that may be absent, or null. Raises WrongError."""
        return None if self._raw.get(name) is None else self.take(name, read)

    def spare(self, name: str, read: Callable[[Any, str], T]) -> T | None:
        """A field that nothing needs: None where it is wrong, which is noted."""
        try:
            return self.find(name, read)
        except WrongError as wrong:
            self._known.discard(name)
            self.notes.append(str(wrong))
            return None

    def rest(self) -> dict[str, Any]:
        """What was not read. A null where a field may be absent is kept too, or it would be lost in writing."""
        return {name: value for name, value in self._raw.items() if name not in self._known or value is None}


def mapping(value: Any, name: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise WrongError(name, "an object", value)
    return value


def text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise WrongError(name, "text", value)
    return value


def name_or_number(value: Any, name: str) -> int | str:
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise WrongError(name, "a whole number or text", value)
    return value


def scene(value: Any, name: str) -> str:
    if not text(value, name).strip():
        raise WrongError(name, "the path of a scene", value)
    if not is_inside(value):
        raise WrongError(name, "a path below the folder of scenes, relative and without ..", value)
    return str(value)


def length(value: Any, name: str) -> float:
    if not (is_finite(value) and value > 0):
        raise WrongError(name, "a length in metres", value)
    return value


def count(value: Any, name: str) -> int:
    if type(value) is not int or value < 0:
        raise WrongError(name, "a whole number from 0 on", value)
    return value


def action(value: Any, name: str) -> int:
    if type(value) is not int or not 0 <= value <= 5:
        raise WrongError(name, "an action from 0 to 5", value)
    return value


def point(value: Any, name: str) -> Point:
    if not (isinstance(value, list) and len(value) == 3 and all(map(is_finite, value))):
        raise WrongError(name, "three finite numbers", value)
    if max(map(abs, value)) > FARTHEST:
        raise WrongError(name, f"three numbers within ±{FARTHEST:,.0f} metres", value)
    return (value[0], value[1], value[2])


def rotation(value: Any, name: str) -> Rotation:
    allowed = "a quaternion (x, y, z, w) of length 1"
    if not (isinstance(value, list) and len(value) == 4 and all(map(is_finite, value))):
        raise WrongError(name, allowed, value)
    if abs(math.hypot(*value) - 1) > 0.01:
        raise WrongError(name, allowed, value)
    x, _, z, _ = value
    if 1 - 2 * (x * x + z * z) < UPRIGHT:  # the height of the agent's own up
        raise WrongError(name, "a quaternion (x, y, z, w) by which the agent stands upright (is w given first?)", value)
    return (value[0], value[1], value[2], value[3])


def many(read: Callable[[Any, str], T]) -> Callable[[Any, str], tuple[T, ...]]:
    """Of a list of what `read` reads; it isn't longer than any walk could be."""

    def read_all(value: Any, name: str) -> tuple[T, ...]:
        if not isinstance(value, list):
            raise WrongError(name, "a list", value)
        if len(value) > LONGEST:
            raise WrongError(name, f"at most {LONGEST:,} values", len(value))
        return tuple(read(item, f"{name}[{i}]") for i, item in enumerate(value))

    return read_all
