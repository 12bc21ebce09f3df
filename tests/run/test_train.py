"""The real loop, mostly through the real command line: trained, interrupted, killed, damaged and resumed."""

import itertools
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from dynalang_py import cli, presets
from dynalang_py.config import Config
from dynalang_py.envs import DummyConfig
from dynalang_py.envs.dummy import Dummy
from dynalang_py.errors import UserError
from dynalang_py.run import checkpoint as checkpoints
from dynalang_py.run.console import Face
from dynalang_py.run.folder import RunFolder
from dynalang_py.run.logger import read_metrics
from dynalang_py.run.signals import StopRequest
from dynalang_py.run.train import Trainer, train

ENDLESS = ("--steps", "1000000", "--eval-every", "0", "--log-every", "0.2", "--baseline-episodes", "2")


def _command(*args: str | Path | int) -> list[str]:
    return [sys.executable, "-m", "dynalang_py", *map(str, args)]


def _environment() -> dict[str, str]:
    return os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "200"}


def _run(*args: str | Path | int) -> subprocess.CompletedProcess[str]:
    return subprocess.run(_command(*args), capture_output=True, text=True, env=_environment())


def _start(*args: str | Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        _command(*args), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=_environment()
    )


def _wait_for(condition: Callable[[], Any], process: subprocess.Popen[str]) -> None:
    """Until it holds; a process that ends before is a failure."""
    while not condition():
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)


def _updates(run: Path) -> int:
    rows = read_metrics(run / "metrics.jsonl")
    return int(max((row.get("updates", 0) for row in rows), default=0))


def _same(a: Path, b: Path) -> bool:
    """Whether the newest checkpoints of two runs hold the same tensors, bit for bit."""
    found = [checkpoints.load(RunFolder(path).checkpoints) for path in (a, b)]
    assert found[0] is not None
    assert found[1] is not None
    ours, theirs = found[0].tensors, found[1].tensors
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def _steps(run: Path) -> int:
    found = checkpoints.load(RunFolder(run).checkpoints)
    assert found is not None
    return int(found.state["counters"]["steps"])


@pytest.mark.parametrize("preset", ["gotodoor", "babyai-local"])
def test_an_agent_with_a_map_learns_and_goes_on(preset: str, tmp_path: Path) -> None:
    """Real tiles become prototypes; a resumed run knows them by the same names."""
    pytest.importorskip("minigrid")
    run = tmp_path / "run"
    short = ("--prefill", 256, "--batch-length", 8, "--replay.capacity", 4000, "--eval-every", 0, "--eval-episodes", 1)
    assert _run("train", preset, "--run-dir", run, "--steps", 288, "--baseline-episodes", 0, *short).returncode == 0

    def prototypes() -> torch.Tensor:
        found = checkpoints.load(RunFolder(run).checkpoints)
        assert found is not None
        kept = int(found.tensors["world_model/encoder.image.kept"])
        return found.tensors["world_model/encoder.image.prototypes"][:kept]

    before, updates = prototypes(), _updates(run)
    assert len(before) > 5
    assert _run("train", "--resume", run, "--steps", 352).returncode == 0
    assert _updates(run) > updates > 0
    assert prototypes()[: len(before)].equal(before)


def _config(run: Path, **changes: Any) -> Config:
    config = replace(presets.get("debug"), run_dir=run, steps=200, eval_every=0, eval_episodes=2, baseline_episodes=2)
    return replace(config, **changes)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A run of the debug preset from its beginning to its end, and what it printed. Tests copy what they change."""
    run = tmp_path_factory.mktemp("runs") / "debug"
    done = _run("train", "debug", "--run-dir", run)
    assert done.returncode == 0, done.stderr
    return run, done.stdout


def test_a_run_makes_all_that_it_promises_and_says_where(finished: tuple[Path, str]) -> None:
    run, said = finished
    made = {
        "metrics.jsonl",
        "pictures/learning_curve.png",
        "pictures/episodes.gif",
        "pictures/open_loop.gif",
        "checkpoints/step-000000000600.safetensors",
    }
    for name in made:
        assert (run / name).stat().st_size > 1000
        assert str(run / name) in said
    assert list((run / "events").iterdir())
    assert f"tensorboard --logdir {run}" in said
    for label in ("parameters: total", "replay", "GB on disk", "updates per environment step  0.25", "cpu, float32"):
        assert label in said
    assert "random policy" in said
    assert "steps/s | return" in said


def test_every_figure_is_logged(finished: tuple[Path, str]) -> None:
    rows = read_metrics(finished[0] / "metrics.jsonl")
    names = {name for row in rows for name in row}
    assert names >= {"step", "time", "minutes", "episodes", "updates", "acting_steps", "replay/steps"}
    assert names >= {"episode/return", "episode/success", "episode/length", "episode/count"}
    assert names >= {"eval/return", "eval/success", "eval/success_low", "eval/success_high"}
    assert names >= {"speed/steps_per_s", "speed/updates_per_s"}
    assert names >= {
        "train/loss/image",
        "train/loss/token",
        "train/loss/actor",
        "train/model/kl",
        "train/grad_norm/joint",
    }
    assert any(name.startswith("train/behavior/entropy") for name in names)
    last = [row for row in rows if "time/env" in row][-1]
    shares = {name: last[f"time/{name}"] for name in ("env", "policy", "replay", "update", "other")}
    assert sum(shares.values()) == pytest.approx(1)
    assert min(shares.values()) > 0
    assert [row["step"] for row in rows] == sorted(row["step"] for row in rows)
    assert {row["step"] for row in rows if "eval/return" in row} == {300, 600}
    assert last["updates"] == (600 - 100) / 4  # the steps after the random ones, at 1/4 update each
    assert sum(row.get("episode/count", 0) for row in rows) == last["episodes"]


def test_evaluation_results_are_kept(finished: tuple[Path, str], capsys: pytest.CaptureFixture[str]) -> None:
    run, _ = finished
    settings = (run / "config.json").read_text()
    assert {path.name for path in (run / "eval").glob("*0.json")} == {
        "step-000000000300.json",
        "step-000000000600.json",
    }
    assert cli.main(["eval", str(run), "--episodes", "6", "--seed", "5", "--json", "--video", "2"]) == 0
    first = _json(capsys)
    assert cli.main(["eval", str(run), "--episodes", "6", "--seed", "5", "--json"]) == 0
    again = _json(capsys)
    assert first["summary"] == again["summary"]
    assert first["step"] == 600
    assert Path(first["video"]).read_bytes().startswith(b"GIF89a")
    kept = json.loads(Path(first["results"]).read_text())
    assert [episode["seed"] for episode in kept["episodes"]] == [5, 6, 7, 8, 9, 10]
    assert kept["summary"] == first["summary"]
    assert (
        cli.main(["eval", str(run), "--episodes", "9", "--policy", "random", "--env.language", "none", "--json"]) == 0
    )
    other = _json(capsys)
    assert (other["policy"], other["env"]["language"]) == ("random", "none")
    assert cli.main(["eval", str(run), "--episodes", "6", "--seed", "5", "--greedy", "--json"]) == 0
    greedy = _json(capsys)
    assert (first["greedy"], greedy["greedy"]) == (False, True)
    assert greedy["summary"] != first["summary"]
    assert (run / "config.json").read_text() == settings
    assert cli.main(["eval", str(run), "--episodes", "3"]) == 0
    assert "success" in capsys.readouterr().out


def _json(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    out = capsys.readouterr().out
    shown: dict[str, Any] = json.loads(out)
    return shown


def test_an_interrupted_run_is_saved_and_goes_on(tmp_path: Path) -> None:
    run = tmp_path / "run"
    process = _start("train", "debug", "--run-dir", run, *ENDLESS)
    _wait_for(lambda: _updates(run) > 5, process)
    second = _run("train", "--resume", run)
    assert (second.returncode, second.stderr) == (2, f"dynalang: {run} is in use by process {process.pid}\n")
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate()
    assert (process.returncode, err) == (0, "")
    stopped = _steps(run)
    assert f"Stopped at step {stopped:,}. Go on with: dynalang train --resume {run}" in out
    done = _run("train", "--resume", run, "--steps", stopped + 100, "--eval-episodes", "2")
    assert done.returncode == 0, done.stderr
    assert f"Going on at step {stopped:,}" in done.stdout
    assert f"{stopped:,} steps held" in done.stdout
    assert "Measuring the random policy" not in done.stdout
    assert _steps(run) == stopped + 100
    steps = [row["step"] for row in read_metrics(run / "metrics.jsonl")]
    assert steps == sorted(steps)
    assert steps[-1] == stopped + 100


def test_a_killed_run_goes_on_from_its_last_checkpoint(tmp_path: Path) -> None:
    run = tmp_path / "run"
    process = _start("train", "debug", "--run-dir", run, "--processes", "--checkpoint-minutes", "0.005", *ENDLESS)
    _wait_for(lambda: len(checkpoints.find(run / "checkpoints")) == 2 and _updates(run) > 5, process)
    process.kill()
    process.wait()
    saved = _steps(run)
    logged = [row for row in read_metrics(run / "metrics.jsonl") if row["step"] <= saved]
    done = _run("train", "--resume", run, "--steps", saved + 50, "--no-processes", "--eval-episodes", "2")
    assert done.returncode == 0, done.stderr
    assert f"Going on at step {saved:,}" in done.stdout
    rows = read_metrics(run / "metrics.jsonl")
    assert rows[: len(logged)] == logged
    assert [row["step"] for row in rows] == sorted(row["step"] for row in rows)
    assert not list((run / "checkpoints").glob(".*"))  # nothing half-written is left
    assert _steps(run) == saved + 52  # four environments at a time


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


def test_one_seed_is_one_run_and_another_seed_another(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        train(_config(tmp_path / name, seed=seed))
    assert _same(tmp_path / "a", tmp_path / "b")
    assert not _same(tmp_path / "a", tmp_path / "c")


def test_to_look_does_not_change_what_is_seen(tmp_path: Path) -> None:
    train(_config(tmp_path / "blind", baseline_episodes=0))
    train(_config(tmp_path / "seen", eval_every=20, eval_episodes=5, log_every=0.05))
    assert len(list((tmp_path / "seen" / "eval").glob("step-*"))) == 10
    assert _same(tmp_path / "blind", tmp_path / "seen")


def test_a_resumed_run_depends_on_its_folder_alone(tmp_path: Path) -> None:
    train(_config(tmp_path / "a"))
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    for name in ("a", "b"):
        train(_config(tmp_path / name, steps=300), resume=True)
    assert _steps(tmp_path / "a") == 300
    assert _same(tmp_path / "a", tmp_path / "b")


def test_learning_goes_on_after_a_resume_as_if_nothing_had_happened(tmp_path: Path) -> None:
    """The worlds begin new episodes, so new experience differs; from the same experience the same is learned."""
    folder = RunFolder(tmp_path / "a")
    copy = RunFolder(tmp_path / "b")
    learned = []
    with ExitStack() as stack:
        trainer = Trainer(_config(folder.path), folder, None, Face(), StopRequest(), stack)
        trainer.run()
        shutil.copytree(folder.path, copy.path)
        learned.append([trainer.learn() for _ in range(5)])
    with ExitStack() as stack:
        checkpoint = checkpoints.load(copy.checkpoints)
        resumed = Trainer(_config(copy.path), copy, checkpoint, Face(), StopRequest(), stack)
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
    done = _run("train", "--resume", run, "--steps", "620", "--eval-episodes", "2")
    assert done.returncode == 0, done.stderr
    assert f"dynalang: {broken} is damaged" in done.stdout
    assert f"going back to {whole}" in done.stdout
    assert "Going on at step 600" in done.stdout
    assert [path.name for path in checkpoints.find(run / "checkpoints")] == [
        "step-000000000620.safetensors",
        "step-000000000600.safetensors",
    ]
    assert broken.with_suffix(".damaged").exists()


def test_a_checkpoint_of_other_settings_is_refused(
    finished: tuple[Path, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = _damaged_copy(finished, tmp_path)
    settings = json.loads((run / "config.json").read_text())
    settings["model"]["rssm"]["deter"] = 64
    (run / "config.json").write_text(json.dumps(settings))
    assert cli.main(["train", "--resume", str(run)]) == 2
    assert "was made by other settings: model.rssm.deter (was 32, is 64)" in capsys.readouterr().err
    assert cli.main(["train", "--resume", str(run), "--seed", "7"]) == 2
    assert "keeps its settings, but seed (was 0, is 7)" in capsys.readouterr().err
    assert cli.main(["train", "--resume", str(run), "--run-dir", str(tmp_path / "b")]) == 2
    assert "leave out --run-dir" in capsys.readouterr().err
    assert cli.main(["train", "debug", "--run-dir", str(run)]) == 2
    assert f"dynalang train --resume {run}" in capsys.readouterr().err
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

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))  # no file may grow larger; a checkpoint would

    done = subprocess.run(
        _command("train", "--resume", run, "--steps", "640", "--eval-every", "0"),
        capture_output=True,
        text=True,
        env=_environment(),
        preexec_fn=limit,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("dynalang: the checkpoint ")
    assert done.stderr.count("\n") == 1
    assert "could not be written" in done.stderr
    assert "the last good checkpoint is" in done.stderr
    assert [path.name for path in checkpoints.find(run / "checkpoints")] == ["step-000000000600.safetensors"]
    assert _steps(run) == 600


def test_a_run_that_was_killed_before_its_first_checkpoint_begins_again(tmp_path: Path) -> None:
    config = _config(tmp_path / "run")
    train(config)
    for path in checkpoints.find(RunFolder(config.run_dir).checkpoints):
        path.unlink()
    train(replace(config, steps=100), resume=True)
    assert _steps(config.run_dir) == 100


def test_a_world_that_gives_up_ends_the_run_but_costs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = _config(tmp_path / "run", steps=1000)
    steps, step = itertools.count(), Dummy.step

    def breaks(self: Dummy, action: Any) -> Any:
        if next(steps) > 150:
            raise RuntimeError("no floor")
        return step(self, action)

    monkeypatch.setattr(Dummy, "step", breaks)
    with pytest.raises(UserError, match="crashed more than 10 times"):
        train(config)
    assert 100 < _steps(config.run_dir) < 1000


def test_short_windows_and_unmeasured_chance_are_no_obstacle(tmp_path: Path) -> None:
    config = _config(tmp_path / "run", batch_length=3, baseline_episodes=0)
    train(config)
    assert {path.name for path in (config.run_dir / "pictures").iterdir()} == {"episodes.gif", "learning_curve.png"}


@pytest.mark.parametrize("task", ["dummy-multi", "dummy-continuous"])
def test_every_kind_of_action_goes_through_the_loop(tmp_path: Path, task: str) -> None:
    config = _config(tmp_path / "run", env=DummyConfig(task=task))
    train(config)
    assert _steps(config.run_dir) == 200


def test_time_limits_end_a_run_too(tmp_path: Path) -> None:
    config = _config(tmp_path / "run", steps=1_000_000, minutes=0.02)
    train(config)
    found = checkpoints.load(RunFolder(config.run_dir).checkpoints)
    assert found is not None
    assert found.state["counters"]["seconds"] >= 1.2
    assert 0 < found.state["counters"]["steps"] < 1_000_000
