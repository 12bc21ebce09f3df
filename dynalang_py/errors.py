"""Errors that are meant for the person at the keyboard: one clear sentence, exit code 2, no traceback."""

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """Bad input. The message names the thing, its value and what is allowed; the command line exits with 2."""


def nearest(name: str, options: Iterable[str]) -> str:
    """The sentence " Did you mean 'x'?" for a mistyped name, or an empty string if nothing is near."""
    match = difflib.get_close_matches(name, list(options), n=1, cutoff=0.5)
    return f" Did you mean {match[0]!r}?" if match else ""
