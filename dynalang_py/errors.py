"""Errors that are meant for the person at the keyboard: one clear sentence, exit code 2, no traceback."""

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """Bad input. The message names the thing, its value and what is allowed; the command line exits with 2."""


def nearest(name: str, options: Iterable[str]) -> str:
    """The sentence " Did you mean 'x'?" for a mistyped name, or an empty string if nothing is near."""
    match = difflib.get_close_matches(name, list(options), n=1, cutoff=0.5)
    return f" Did you mean {match[0]!r}?" if match else ""


def shown(value: object, most: int = 60) -> str:
    """A value as it stands in a sentence: its repr, cut where it is long."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # a number of thousands of digits, a nest of brackets
        text = f"a very long {type(value).__name__}"
    return text if len(text) <= most else f"{text[: most - 3]}..."
