"""What the script would say of an input that went wrong."""

import pytest

from .forks import Ending


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({}, "ran"),
        ({"code": 2, "err": "dynalang: there is no verb 'x'\n"}, "refused"),
        ({"code": 2, "err": "usage: x"}, "EXIT 2"),
        ({"code": 1, "err": "Traceback (most recent call last):\n ...\nKeyError: 'x'\n"}, "TRACEBACK"),
        ({"err": "Traceback (most recent call last):\n  of a thread"}, "TRACEBACK"),
        ({"code": -11}, "EXIT -11"),
        ({"code": -9, "asked": True}, "HANG"),
        ({"worked": 61.0}, "HANG"),
        ({"asked": True}, "long"),
        ({"code": 130, "asked": True}, "long"),
        ({"peak": 4.1}, "MEMORY"),
    ],
)
def test_endings_are_told_apart(changes: dict[str, object], verdict: str) -> None:
    plain = {"code": 0, "out": "", "err": "", "worked": 1.0, "peak": 0.5, "asked": False}
    assert Ending(**{**plain, **changes}).verdict == verdict  # type: ignore[arg-type]
