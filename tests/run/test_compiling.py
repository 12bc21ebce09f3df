"""What a killed compiler leaves behind is not found by the next run."""

import errno
import fcntl
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from dynalang_py.run import compiling as module
from dynalang_py.run.compiling import compiling
from dynalang_py.run.train import train

from .runs import saved_steps, short_config


@pytest.fixture
def end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """Call it where a process would end. The cache is empty at first."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)

    def end() -> None:
        if module._own_folder.cache_info().currsize and (handle := module._own_folder()[1]) >= 0:
            os.close(handle)
        module._own_folder.cache_clear()
        os.environ.pop("TORCHINDUCTOR_CACHE_DIR", None)

    module._own_folder.cache_clear()
    yield end
    end()


def test_what_was_half_made_is_removed_and_what_was_whole_is_kept(end: Callable[[], None]) -> None:
    with compiling():
        folder = Path(os.environ["TORCHINDUCTOR_CACHE_DIR"])
        (folder / "ab").mkdir()
        (folder / "ab" / "whole.so").write_text("a library")
    os.utime(folder / "ab" / "whole.so", (1, 1))
    end()

    def killed() -> None:
        with compiling():
            assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == str(folder)
            for name in ("half.so", "half.o", "header.h.gch", "graph.py"):
                (folder / "ab" / name).write_text("half a lib")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        killed()
    end()
    for _ in range(2):
        with compiling():
            assert {path.name for path in (folder / "ab").iterdir()} == {"whole.so", "graph.py"}
        end()


def test_processes_have_folders_of_their_own(end: Callable[[], None]) -> None:
    with compiling():
        first = Path(os.environ.pop("TORCHINDUCTOR_CACHE_DIR"))
    _, handle = module._own_folder()
    module._own_folder.cache_clear()  # another process
    with compiling():
        assert Path(os.environ["TORCHINDUCTOR_CACHE_DIR"]) == first.with_name("1")
    os.close(handle)
    end()
    with compiling():
        assert Path(os.environ["TORCHINDUCTOR_CACHE_DIR"]) == first


def test_where_nothing_can_be_locked_the_folder_is_new(
    end: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "no locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with compiling():
        folder = Path(os.environ["TORCHINDUCTOR_CACHE_DIR"])
    assert list(folder.iterdir()) == []
    folder.rmdir()


def test_a_folder_that_the_user_names_is_left_alone(
    end: Callable[[], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "theirs"))
    with compiling():
        assert not (tmp_path / "theirs").exists()
    assert not (tmp_path / "dynalang_py").exists()


@pytest.mark.parametrize("after", [0, 1], ids=["the first graph", "another"])
def test_ctrl_c_while_an_update_is_compiled_leaves_what_was_saved(
    after: int,
    end: Callable[[], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    encoded = 0

    def compiled(function: Callable[..., Any], **_: object) -> Callable[..., Any]:
        def call(*inputs: Any) -> Any:
            nonlocal encoded
            learns = function.__name__ == "forward" and torch.is_grad_enabled()  # acting is not compiled
            encoded += learns
            if learns and encoded > after:
                os.kill(os.getpid(), signal.SIGINT)
                raise RuntimeError("g++ was killed")
            return function(*inputs)

        return call

    config = short_config(tmp_path / "run", compile=True, steps=112, baseline_episodes=0, eval_episodes=1)
    monkeypatch.setattr(torch, "compile", compiled)
    train(config)
    assert f"Go on with: dynalang train --resume {config.run_dir}" in capsys.readouterr().out
    assert 0 < saved_steps(config.run_dir) < config.steps
    train(replace(config, compile=False), resume=True)
    assert saved_steps(config.run_dir) == config.steps
