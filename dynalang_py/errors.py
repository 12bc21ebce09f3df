"""Errors that are meant for the person at the keyboard: one clear sentence, exit code 2, no traceback."""

import difflib
import itertools
import reprlib
import shlex
from collections.abc import Iterable
from typing import Any


class UserError(Exception):
    """Bad input. The message names the thing, its value and what is allowed; the command line exits with 2."""


def near(name: str, options: Iterable[str]) -> str | None:
    """The option that a mistyped name most likely means; None where none is near, for a far guess misleads."""
    options, words = list(options), set(name.split("-"))
    # batch means batch-size, not patch; evaluate means eval
    part = [o for o in options if words <= set(o.split("-")) or (len(o) > 3 and name.startswith(o))]
    match = part or difflib.get_close_matches(name, options, n=1, cutoff=0.74 if len(name) > 3 else 0.66)
    return min(match, key=len) if match else None


def nearest(name: str, options: Iterable[str]) -> str:
    """The sentence " Did you mean 'x'?" for a mistyped name, or an empty string if nothing is near."""
    match = near(name, options)
    return f" Did you mean {match!r}?" if match else ""


def command(*words: object) -> str:
    """A command line for people to copy, such as `dynalang train --resume 'my runs/a'`: words with
    spaces and the like are quoted. Every command line that is shown and holds a word of the user's is made here."""
    return shlex.join(map(str, words))


class _Short(reprlib.Repr):
    """The begin of a repr, and no work for the rest: a list of 10⁸ numbers would take half a minute."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel = 3
        self.maxlist = self.maxtuple = self.maxset = self.maxfrozenset = self.maxdict = self.maxdeque = 20
        self.maxstring = self.maxlong = self.maxother = 1000

    def repr_dict(self, x: dict[Any, Any], level: int) -> str:
        return super().repr_dict(dict(itertools.islice(x.items(), self.maxdict + 1)), level)


_SHORT = _Short()


def shown(value: object, most: int = 60) -> str:
    """A value as it stands in a sentence: its repr, cut where it is long, and no more of it made than is shown."""
    try:
        text = _SHORT.repr(value)
    except (ValueError, RecursionError):  # a number of thousands of digits, a nest of brackets
        text = f"a very long {type(value).__name__}"
    return cut(text, most)


def cut(text: str, most: int = 60) -> str:
    """A text as it stands in a sentence, cut where it is long."""
    return text if len(text) <= most else f"{text[: most - 3]}..."
