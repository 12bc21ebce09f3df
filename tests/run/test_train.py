"""The real loop from its beginning to its end, mostly through the real command line."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from dynalang_py import cli
from dynalang_py.envs import DummyConfig
from dynalang_py.run import checkpoint as checkpoints
from dynalang_py.run.folder import RunFolder
from dynalang_py.run.logger import read_metrics
from dynalang_py.run.train import train

from .runs import call, same_weights, saved_steps, short_config, updates_of


@pytest.mark.parametrize("preset", ["gotodoor", "babyai-local"])
def test_an_agent_with_a_map_learns_and_goes_on(preset: str, tmp_path: Path) -> None:
    """Real tiles become prototypes; a resumed run knows them by the same names."""
    pytest.importorskip("minigrid")
    run = tmp_path / "run"
    short = ("--prefill", 256, "--batch-length", 8, "--replay.capacity", 4000, "--eval-every", 0, "--eval-episodes", 1)
    assert call("train", preset, "--run-dir", run, "--steps", 288, "--baseline-episodes", 0, *short).returncode == 0

    def prototypes() -> torch.Tensor:
        found = checkpoints.load(RunFolder(run).checkpoints)
        assert found is not None
        kept = int(found.tensors["world_model/encoder.image.kept"])
        return found.tensors["world_model/encoder.image.prototypes"][:kept]

    before, updates = prototypes(), updates_of(run)
    assert len(before) > 5
    assert call("train", "--resume", run, "--steps", 352).returncode == 0
    assert updates_of(run) > updates > 0
    assert prototypes()[: len(before)].equal(before)


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


def test_one_seed_is_one_run_and_another_seed_another(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        train(short_config(tmp_path / name, seed=seed))
    assert same_weights(tmp_path / "a", tmp_path / "b")
    assert not same_weights(tmp_path / "a", tmp_path / "c")


def test_to_look_does_not_change_what_is_seen(tmp_path: Path) -> None:
    train(short_config(tmp_path / "blind", baseline_episodes=0))
    train(short_config(tmp_path / "seen", eval_every=20, eval_episodes=5, log_every=0.05))
    assert len(list((tmp_path / "seen" / "eval").glob("step-*"))) == 10
    assert same_weights(tmp_path / "blind", tmp_path / "seen")


def test_a_run_is_evaluated_as_greedily_as_it_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = []
    for greedy in (False, True):
        run = tmp_path / str(greedy)
        train(short_config(run, eval_episodes=20, greedy_eval=greedy))
        capsys.readouterr()
        assert cli.main(["eval", str(run), "--episodes", "2", "--json"]) == 0
        assert _json(capsys)["greedy"] == greedy
        found.append(json.loads((run / "eval" / "step-000000000200.json").read_text())["episodes"])
    assert same_weights(tmp_path / "False", tmp_path / "True")
    assert found[0] != found[1]


def test_short_windows_and_unmeasured_chance_are_no_obstacle(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = short_config(tmp_path / "run", batch_length=3, baseline_episodes=0)
    train(config)
    assert {path.name for path in (config.run_dir / "pictures").iterdir()} == {"episodes.gif", "learning_curve.png"}
    assert "no picture of what the agent imagines: windows of" in capsys.readouterr().out


@pytest.mark.parametrize("task", ["dummy-multi", "dummy-continuous"])
def test_every_kind_of_action_goes_through_the_loop(tmp_path: Path, task: str) -> None:
    config = short_config(tmp_path / "run", env=DummyConfig(task=task))
    train(config)
    assert saved_steps(config.run_dir) == 200


def test_time_limits_end_a_run_too(tmp_path: Path) -> None:
    config = short_config(tmp_path / "run", steps=1_000_000, minutes=0.02)
    train(config)
    found = checkpoints.load(RunFolder(config.run_dir).checkpoints)
    assert found is not None
    assert found.state["counters"]["seconds"] >= 1.2
    assert 0 < found.state["counters"]["steps"] < 1_000_000
