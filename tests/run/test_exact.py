"""A run that was stopped and resumed is, bit for bit, the run that was never stopped."""

import shutil
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dynalang_py.config import Config
from dynalang_py.envs import BabyAIConfig, DummyConfig, EnvConfig, HomeGridConfig, LangRoomConfig
from dynalang_py.run import checkpoint as checkpoints
from dynalang_py.run.console import Face
from dynalang_py.run.counters import Counters
from dynalang_py.run.folder import RunFolder
from dynalang_py.run.logger import read_metrics
from dynalang_py.run.train import Trainer

from .runs import short_config

TIMES = ("time", "minutes", "speed/", "time/")


STEPS = 72


class Stop:
    """A request to stop that comes when a trainer has asked so often, and at the latest after so many steps."""

    def __init__(self, asked: int, steps: int = STEPS) -> None:
        self.left, self.steps = asked, steps
        self.counters = Counters()

    @property
    def received(self) -> bool:
        self.left -= 1
        return self.left < 0 or self.counters.steps >= self.steps


def live(config: Config, *stops: int, kind: type[Trainer] = Trainer) -> RunFolder:
    """A run in one more session than there are stops; the last ends after STEPS steps, or where the run does."""
    folder = RunFolder(config.run_dir)
    for asked in (*stops, 10**6):
        with ExitStack() as stack:
            checkpoint = checkpoints.load(folder.checkpoints) if folder.config.exists() else None
            stop = Stop(asked)
            trainer = kind(config, folder, checkpoint, Face(), stop, stack)  # type: ignore[arg-type]
            stop.counters = trainer.counters
            trainer.run()
    return folder


def assert_alike(one: RunFolder, other: RunFolder) -> None:
    a, b = checkpoints.load(one.checkpoints), checkpoints.load(other.checkpoints)
    assert a is not None
    assert b is not None
    assert a.tensors.keys() == b.tensors.keys()
    assert [name for name in a.tensors if not torch.equal(a.tensors[name], b.tensors[name])] == []
    for part in ("replay", "random", "driver", "text"):
        assert a.state[part] == b.state[part], part
    for file in one.replay.glob("*.raw"):
        assert file.read_bytes() == (other.replay / file.name).read_bytes(), file.name
    assert timeless(one) == timeless(other)


def timeless(folder: RunFolder) -> list[dict[str, Any]]:
    rows = read_metrics(folder.metrics)
    return [{name: value for name, value in row.items() if not name.startswith(TIMES)} for row in rows]


def tiny(run: Path, env: EnvConfig | None = None, **changes: Any) -> Config:
    """Endless, and without what costs time in a test: rows, looks and baselines."""
    env = env or DummyConfig(max_steps=7)
    config = replace(short_config(run), env=env, envs=3, prefill=24, baseline_episodes=0, steps=10**6)
    return replace(config, **{"log_every": 1e6, "eval_every": 0, "train_ratio": 4.0, **changes})


@pytest.mark.parametrize(
    ("env", "module"),
    [
        (DummyConfig(max_steps=7), "numpy"),
        (DummyConfig(task="dummy-continuous", max_steps=7), "numpy"),
        (BabyAIConfig(tile_size=4), "minigrid"),
        (HomeGridConfig(image_size=16, max_steps=15), "homegrid"),
        (LangRoomConfig(image_size=45, max_steps=15), "langroom"),
    ],
    ids=lambda value: getattr(value, "task", ""),
)
def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path: Path, env: EnvConfig, module: str) -> None:
    pytest.importorskip(module)
    assert_alike(live(tiny(tmp_path / "whole", env)), live(tiny(tmp_path / "parts", env), 15))


@pytest.mark.parametrize("processes", [False, True])
def test_whatever_moment_a_stop_comes_at(tmp_path: Path, processes: bool) -> None:
    """Several updates follow each step, so that a stop falls between them; and the ring is full before the end."""
    small = replace(short_config(tmp_path).replay, capacity=60)
    changes: dict[str, Any] = {"log_every": 1e-9, "train_ratio": 32.0, "replay": small, "processes": processes}
    whole = live(tiny(tmp_path / "whole", **changes))
    assert_alike(whole, live(tiny(tmp_path / "parts", **changes), 5, 19, 23))


def test_a_limit_that_is_raised_changes_nothing_either(tmp_path: Path) -> None:
    live(tiny(tmp_path / "parts", eval_every=36, steps=36))
    parts = live(tiny(tmp_path / "parts", eval_every=36))
    assert_alike(live(tiny(tmp_path / "whole", eval_every=36)), parts)


def test_what_was_lived_after_the_last_checkpoint_is_lived_again_and_not_held_twice(tmp_path: Path) -> None:
    """As after kill -9: replay and metrics have gone on, the checkpoint has not."""
    config = tiny(tmp_path / "run", log_every=1e-9)
    folder = RunFolder(config.run_dir)
    with pytest.raises(ConnectionError):
        live(config, 14, kind=Killed)
    live(config)
    tail, head = np.fromfile(folder.replay / "counters.raw", np.int64).reshape(2, -1)
    assert (tail.tolist(), head.tolist()) == ([0] * 3, [STEPS // 3] * 3)
    assert [row["step"] for row in timeless(folder)] == list(range(3, STEPS + 3, 3))


class Killed(Trainer):
    """Lives on for a few steps after a resume, and is gone."""

    def step(self) -> None:
        super().step()
        if self.counters.sessions == 2 and self.counters.steps > 60:
            raise ConnectionError


def test_a_run_without_its_replay_says_so_and_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tiny(tmp_path / "run")
    folder = live(config)
    shutil.rmtree(folder.replay)
    live(config)
    assert "the replay of this run is not here" in capsys.readouterr().out


def test_a_checkpoint_of_an_earlier_version_goes_on(tmp_path: Path) -> None:
    """It knows neither where its worlds were nor how far its replay had come: they begin new episodes."""
    config = tiny(tmp_path / "run", steps=48)
    live(config)
    folder = RunFolder(config.run_dir)
    checkpoint = checkpoints.load(folder.checkpoints)
    assert checkpoint is not None
    old = {name: value for name, value in checkpoint.state.items() if name not in ("driver", "loop")}
    del old["replay"]["heads"]
    tensors = {name: value for name, value in checkpoint.tensors.items() if not name.startswith("acting/")}
    checkpoints.save(folder.checkpoints, 48, tensors, old)
    shutil.rmtree(folder.tokenizer)
    live(replace(config, steps=10**6))
    _, head = np.fromfile(folder.replay / "counters.raw", np.int64).reshape(2, -1)
    assert head.tolist() == [STEPS // 3] * 3


def test_a_run_killed_before_its_first_checkpoint_begins_anew(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tiny(tmp_path / "run", log_every=1e-9)
    folder = live(config)
    shutil.rmtree(folder.checkpoints)
    live(config)
    assert "has no checkpoint yet; the run begins anew" in capsys.readouterr().out
    assert_alike(live(tiny(tmp_path / "whole", log_every=1e-9)), folder)


class Impatient(Trainer):
    """Is asked to stop in the middle of its first evaluation."""

    def look(self, last: bool) -> None:
        if self.counters.sessions == 1:
            self.stop.left = 3  # type: ignore[attr-defined]
        super().look(last)


def test_an_evaluation_that_a_stop_cut_off_is_made_up(tmp_path: Path) -> None:
    config = tiny(tmp_path / "run", eval_every=36, eval_episodes=3)
    folder = live(config, 10**6, kind=Impatient)
    assert [row["step"] for row in read_metrics(folder.metrics) if "eval/return" in row] == [36]
    assert_alike(live(tiny(tmp_path / "whole", eval_every=36, eval_episodes=3)), folder)


def test_a_finished_run_that_is_resumed_has_no_row_twice(tmp_path: Path) -> None:
    config = tiny(tmp_path / "run", steps=36)
    live(config)
    rows = timeless(live(config))
    assert [(row["step"], "eval/return" in row) for row in rows] == [(36, False), (36, True)]
