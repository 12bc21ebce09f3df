"""The real loop interrupted, killed, damaged and resumed, mostly through the real command line."""

import functools
import itertools
import json
import operator
import os
import resource
import shutil
import signal
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dynalang_py import cli
from dynalang_py.config import flatten
from dynalang_py.envs.dummy import Dummy
from dynalang_py.errors import UserError
from dynalang_py.run import checkpoint as checkpoints
from dynalang_py.run.console import Face
from dynalang_py.run.folder import RunFolder
from dynalang_py.run.logger import read_metrics
from dynalang_py.run.signals import StopRequest
from dynalang_py.run.train import Trainer, train

from .runs import call, command, environment, same_weights, saved_steps, short_config, start, updates_of, wait_for

ENDLESS = ("--steps", "1000000", "--eval-every", "0", "--log-every", "0.2", "--baseline-episodes", "2")


def test_an_interrupted_run_is_saved_and_goes_on(tmp_path: Path) -> None:
    run = tmp_path / "run"
    process = start("train", "debug", "--run-dir", run, *ENDLESS)
    wait_for(lambda: updates_of(run) > 5, process)
    second = call("train", "--resume", run)
    assert (second.returncode, second.stderr) == (2, f"dynalang: {run} is in use by process {process.pid}\n")
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate()
    assert (process.returncode, err) == (0, "")
    stopped = saved_steps(run)
    assert f"Stopped at step {stopped:,}. Go on with: dynalang train --resume {run}" in out
    done = call("train", "--resume", run, "--steps", stopped + 100, "--eval-episodes", "2")
    assert done.returncode == 0, done.stderr
    assert f"Going on at step {stopped:,}" in done.stdout
    assert f"{stopped:,} steps held" in done.stdout
    assert "Measuring the random policy" not in done.stdout
    assert saved_steps(run) == stopped + 100
    steps = [row["step"] for row in read_metrics(run / "metrics.jsonl")]
    assert steps == sorted(steps)
    assert steps[-1] == stopped + 100


def test_a_killed_run_goes_on_from_its_last_checkpoint(tmp_path: Path) -> None:
    run = tmp_path / "run"
    process = start("train", "debug", "--run-dir", run, "--processes", "--checkpoint-minutes", "0.005", *ENDLESS)
    wait_for(lambda: len(checkpoints.find(run / "checkpoints")) == 2 and updates_of(run) > 5, process)
    process.kill()
    process.wait()
    saved = saved_steps(run)
    logged = [row for row in read_metrics(run / "metrics.jsonl") if row["step"] <= saved]
    done = call("train", "--resume", run, "--steps", saved + 50, "--no-processes", "--eval-episodes", "2")
    assert done.returncode == 0, done.stderr
    assert f"Going on at step {saved:,}" in done.stdout
    rows = read_metrics(run / "metrics.jsonl")
    assert rows[: len(logged)] == logged
    assert [row["step"] for row in rows] == sorted(row["step"] for row in rows)
    assert not list((run / "checkpoints").glob(".*"))  # nothing half-written is left
    assert saved_steps(run) == saved + 52  # four environments at a time


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_ends_the_process_at_once(number: signal.Signals) -> None:
    script = (
        "import time\nfrom dynalang_py.run.signals import StopRequest\nwith StopRequest() as stop:\n"
        "    print('ready', flush=True)\n    while not stop.received: time.sleep(0.01)\n"
        "    print('received', flush=True)\n    time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for said in ("ready", "received"):
        assert process.stdout.readline() == f"{said}\n"
        process.send_signal(number)
    assert process.wait() == 130


def test_a_resumed_run_depends_on_its_folder_alone(tmp_path: Path) -> None:
    train(short_config(tmp_path / "a"))
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    for name in ("a", "b"):
        train(short_config(tmp_path / name, steps=300), resume=True)
    assert saved_steps(tmp_path / "a") == 300
    assert same_weights(tmp_path / "a", tmp_path / "b")


def test_learning_goes_on_after_a_resume_as_if_nothing_had_happened(tmp_path: Path) -> None:
    """The worlds begin new episodes, so new experience differs; from the same experience the same is learned."""
    folder = RunFolder(tmp_path / "a")
    copy = RunFolder(tmp_path / "b")
    learned = []
    with ExitStack() as stack:
        trainer = Trainer(short_config(folder.path), folder, None, Face(), StopRequest(), stack)
        trainer.run()
        shutil.copytree(folder.path, copy.path)
        learned.append([trainer.learn() for _ in range(5)])
    with ExitStack() as stack:
        checkpoint = checkpoints.load(copy.checkpoints)
        resumed = Trainer(short_config(copy.path), copy, checkpoint, Face(), StopRequest(), stack)
        seconds = resumed.counters.seconds
        assert resumed.counters == replace(trainer.counters, sessions=2, updates=25, seconds=seconds)
        learned.append([resumed.learn() for _ in range(5)])
    assert learned[0] == learned[1]
    assert len({row["loss/image"] for row in learned[0]}) == 5


def _damaged_copy(finished: tuple[Path, str], tmp_path: Path) -> Path:
    run = tmp_path / "run"
    shutil.copytree(finished[0], run)
    return run


def test_a_truncated_checkpoint_is_told_and_the_one_before_it_used(finished: tuple[Path, str], tmp_path: Path) -> None:
    run = _damaged_copy(finished, tmp_path)
    whole, broken = (run / "checkpoints" / f"step-{step:012d}.safetensors" for step in (600, 9000))
    broken.write_bytes(whole.read_bytes()[:-100])
    done = call("train", "--resume", run, "--steps", "620", "--eval-episodes", "2")
    assert done.returncode == 0, done.stderr
    assert f"dynalang: {broken} is damaged" in done.stdout
    assert f"going back to {whole}" in done.stdout
    assert "Going on at step 600" in done.stdout
    assert [path.name for path in checkpoints.find(run / "checkpoints")] == [
        "step-000000000620.safetensors",
        "step-000000000600.safetensors",
    ]
    assert broken.with_suffix(".damaged").exists()


@pytest.mark.parametrize(
    ("change", "told"),
    [({"model": {"rssm": {"deter": 64}}}, "model.rssm.deter (was 32, is 64)"), ({"envs": 7}, "envs (was 4, is 7)")],
)
def test_a_checkpoint_of_other_settings_is_refused(
    finished: tuple[Path, str], tmp_path: Path, capsys: pytest.CaptureFixture[str], change: dict[str, Any], told: str
) -> None:
    run = _damaged_copy(finished, tmp_path)
    settings = json.loads((run / "config.json").read_text())
    for name, value in flatten(change):
        *path, last = name.split(".")
        functools.reduce(operator.getitem, path, settings)[last] = value
    (run / "config.json").write_text(json.dumps(settings))
    assert cli.main(["train", "--resume", str(run)]) == 2
    assert f"was made by other settings: {told}" in capsys.readouterr().err
    assert cli.main(["train", "--resume", str(run), "--seed", "7"]) == 2
    assert "keeps its settings, but seed (was 0, is 7)" in capsys.readouterr().err
    assert cli.main(["train", "--resume", str(run), "--run-dir", str(tmp_path / "b")]) == 2
    assert "leave out --run-dir" in capsys.readouterr().err
    assert cli.main(["train", "debug", "--run-dir", str(run)]) == 2
    assert f"dynalang train --resume {run}" in capsys.readouterr().err
    if "model" in change:  # weights don't depend on how many environments there were
        assert cli.main(["eval", str(run), "--episodes", "2"]) == 2
        assert "deter" in capsys.readouterr().err


def test_a_loss_that_is_no_number_stops_the_run_and_spares_the_checkpoint(
    finished: tuple[Path, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = _damaged_copy(finished, tmp_path)
    (path,) = checkpoints.find(run / "checkpoints")
    before = path.read_bytes()
    rewards = run / "replay" / "reward.raw"
    rewards.write_bytes(b"\xff\xff\xff\x7f" * (rewards.stat().st_size // 4))  # NaN everywhere
    assert cli.main(["train", "--resume", str(run), "--steps", "2000"]) == 2
    err = capsys.readouterr().err
    assert "loss/reward is not finite" in err
    assert f"the last good checkpoint is {path}" in err
    assert f"dynalang train --resume {run}" in err
    assert checkpoints.find(run / "checkpoints") == [path]
    assert path.read_bytes() == before


def test_a_disk_that_fills_up_costs_nothing_that_was_saved(finished: tuple[Path, str], tmp_path: Path) -> None:
    run = _damaged_copy(finished, tmp_path)
    (run / "metrics.jsonl").write_text("")  # a slow machine has written many rows

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))  # no file may grow larger; a checkpoint would

    done = subprocess.run(
        command("train", "--resume", run, "--steps", "640", "--eval-every", "0", "--log-every", "1000"),
        capture_output=True,
        text=True,
        env=environment(),
        preexec_fn=limit,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("dynalang: the checkpoint ")
    assert done.stderr.count("\n") == 1
    assert "could not be written" in done.stderr
    assert "the last good checkpoint is" in done.stderr
    assert [path.name for path in checkpoints.find(run / "checkpoints")] == ["step-000000000600.safetensors"]
    assert saved_steps(run) == 600


def test_a_run_that_was_killed_before_its_first_checkpoint_begins_again(tmp_path: Path) -> None:
    config = short_config(tmp_path / "run")
    train(config)
    for path in checkpoints.find(RunFolder(config.run_dir).checkpoints):
        path.unlink()
    train(replace(config, steps=100), resume=True)
    assert saved_steps(config.run_dir) == 100


def test_a_world_that_gives_up_ends_the_run_but_costs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = short_config(tmp_path / "run", steps=1000)
    steps, step = itertools.count(), Dummy.step

    def breaks(self: Dummy, action: Any) -> Any:
        if next(steps) > 150:
            raise RuntimeError("no floor")
        return step(self, action)

    monkeypatch.setattr(Dummy, "step", breaks)
    with pytest.raises(UserError, match="crashed more than 10 times"):
        train(config)
    assert 100 < saved_steps(config.run_dir) < 1000


def test_ctrl_c_while_chance_is_measured_leaves_a_run_that_measures_it_when_it_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = short_config(tmp_path / "run", steps=120, baseline_episodes=50)
    steps, step = itertools.count(1), Dummy.step

    def interrupted(self: Dummy, action: Any) -> Any:
        if next(steps) == 30:
            os.kill(os.getpid(), signal.SIGINT)
        return step(self, action)

    monkeypatch.setattr(Dummy, "step", interrupted)
    train(config)
    assert "Stopped at step 0. Go on with: dynalang train --resume" in capsys.readouterr().out
    baseline = config.run_dir / "eval" / "random.json"
    assert not baseline.exists()
    train(config, resume=True)
    assert len(json.loads(baseline.read_text())["episodes"]) == 50
    assert saved_steps(config.run_dir) >= 120
