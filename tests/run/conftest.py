"""A finished run for whoever needs one, and what was logged."""

import logging
from pathlib import Path

import pytest

from .runs import call


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A run of the debug preset from its beginning to its end, and what it printed. Tests copy what they change."""
    run = tmp_path_factory.mktemp("runs") / "debug"
    done = call("train", "debug", "--run-dir", run)
    assert done.returncode == 0, done.stderr
    return run, done.stdout


@pytest.fixture
def notices(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is logged for people to read, wherever an earlier test sent it."""
    said: list[str] = []

    class Kept(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(record.getMessage())

    monkeypatch.setattr(logging.getLogger("dynalang"), "handlers", [Kept()])
    return said
