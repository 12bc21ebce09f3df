"""From houses to a trained agent and its table of metrics, by the commands that people type."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dynalang_py import cli, presets
from dynalang_py.contract import StepSpec
from dynalang_py.envs import VLNConfig
from dynalang_py.envs.vln import habitat
from dynalang_py.errors import UserError
from dynalang_py.run import checkpoint as checkpoints
from dynalang_py.run.build import build_agent
from dynalang_py.run.logger import read_metrics
from dynalang_py.run.train import train


@pytest.fixture(scope="session")
def run(world: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny agent that looked on while the expert walked, and imitates it."""
    folder = tmp_path_factory.mktemp("runs") / "vln"
    debug = presets.get("debug")
    config = replace(
        debug,
        behavior=replace(debug.behavior, imitation=1.0),
        env=VLNConfig(data=world.data, image_size=16, max_steps=60),
        run_dir=folder,
        steps=600,
        prefill=400,
        expert_prefill=1.0,
        expert_share=0.5,
        eval_every=0,
        eval_episodes=3,
        baseline_episodes=3,
    )
    train(config)
    return folder


def test_a_run_that_an_expert_leads_goes_on_as_if_it_had_not_stopped(world: Any, tmp_path: Path) -> None:
    debug = presets.get("debug")
    config = replace(
        debug,
        behavior=replace(debug.behavior, imitation=1.0),
        env=VLNConfig(data=world.data, image_size=16, max_steps=20),
        run_dir=tmp_path / "whole",
        steps=160,
        prefill=40,
        expert_prefill=0.7,
        expert_share=0.5,
        eval_every=0,
        eval_episodes=1,
        baseline_episodes=0,
    )
    train(config)
    parts = replace(config, run_dir=tmp_path / "parts")
    for steps in (60, 116):  # in the middle of episodes
        train(replace(parts, steps=steps), resume=steps > 60)
    train(parts, resume=True)
    found = [checkpoints.load(tmp_path / name / "checkpoints") for name in ("whole", "parts")]
    whole, resumed = (checkpoint.tensors if checkpoint else {} for checkpoint in found)
    assert whole
    assert whole.keys() == resumed.keys()
    assert [name for name in whole if not torch.equal(whole[name], resumed[name])] == []
    for file in (tmp_path / "whole" / "replay").glob("*.raw"):
        assert file.read_bytes() == (tmp_path / "parts" / "replay" / file.name).read_bytes(), file.name


def evaluate(capsys: pytest.CaptureFixture[str], run: Path, *args: str) -> dict[str, Any]:
    assert cli.main(["eval", str(run), "--json", *args]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_the_expert_fills_the_replay(run: Path) -> None:
    actions = np.fromfile(run / "replay" / "action.raw", np.uint8)
    assert (actions == 1).sum() > 250  # chance would step forward in 150 of 600 steps


def test_what_the_expert_walks_is_not_counted_as_the_agent_s(run: Path) -> None:
    counted = sum(row.get("episode/count", 0) for row in read_metrics(run / "metrics.jsonl"))
    streams = presets.get("debug").envs
    last, led = (
        np.fromfile(run / "replay" / f"{name}.raw", np.uint8).reshape(streams, -1)[:, : 600 // streams] == 1
        for name in ("is_last", "led")
    )
    assert (last & led).sum() >= 10
    assert counted == (last & ~led).sum() > 0


def test_replay_knows_what_the_expert_walked(run: Path) -> None:
    streams = presets.get("debug").envs
    led = np.fromfile(run / "replay" / "led.raw", np.uint8).reshape(streams, -1)[:, : 600 // streams]
    assert led[:, : 400 // streams].all()
    first = np.fromfile(run / "replay" / "is_first.raw", np.uint8).reshape(streams, -1)[:, : 600 // streams]
    later = led[:, 400 // streams :][first[:, 400 // streams :] == 1]  # half of the episodes since then
    assert 0 < later.mean() < 1


def test_the_table_has_every_metric_with_its_interval(capsys: pytest.CaptureFixture[str], run: Path) -> None:
    found = evaluate(capsys, run, "--policy", "expert", "--split", "train", "--simulator", "embree")
    summary = found["summary"]
    for name in ("success", "spl", "ne", "osr", "tl", "ndtw", "sdtw"):
        assert {"mean", "low", "high"} <= summary[name].keys()
        assert summary[name]["episodes"] == 3  # each one of the split, once
    assert summary["success"]["mean"] == 1
    assert summary["sdtw"]["mean"] > 0.7
    episodes = json.loads(Path(found["results"]).read_text())["episodes"]
    assert len({episode["text"] for episode in episodes}) == 3
    assert all(episode["ne"] < 0.5 for episode in episodes)


def test_the_agent_is_measured_on_another_split_and_filmed(
    capsys: pytest.CaptureFixture[str], run: Path, world: Any, tmp_path: Path
) -> None:
    file = (world.data / "train" / "train.json.gz").read_bytes()
    (tmp_path / "val_unseen.json.gz").write_bytes(file)
    args = ("--data", str(tmp_path), "--scenes", str(world.data / "scenes"), "--split=val_unseen")
    found = evaluate(capsys, run, *args, "--video", "1", "--max-steps", "10")
    assert found["env"]["split"] == "val_unseen"
    assert found["summary"]["acting_length"]["high"] <= 10
    assert Path(found["video"]).stat().st_size > 1000


def test_the_table_for_people_names_split_and_simulator(capsys: pytest.CaptureFixture[str], run: Path) -> None:
    assert cli.main(["eval", str(run), "--policy", "random"]) == 0
    out = capsys.readouterr().out
    assert "vln train in embree, 3 episodes, mean and 95 % interval" in out
    assert all(f"\n {name} " in out for name in ("success", "spl", "ne", "osr", "tl", "ndtw", "sdtw"))


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (("--split", "val_unsen"), "no split 'val_unsen'"),
        (("--simulator", "habitat", "--habitat-python", "nowhere"), "Simulator 'habitat' finds no program nowhere"),
        (("--simulator", "embre"), "--env.simulator is 'embre'; allowed is 'embree', 'habitat'"),
        (("--spilt", "train"), "there is no option --spilt. Did you mean '--env.split'?"),
        (("--data", "nowhere"), "there is no folder nowhere with episodes"),
        (("--policy", "chance"), "allowed is 'agent', 'random', 'expert'"),
        (("--episodes", "0"), "episodes must be at least 1 and at most 1,000,000, got 0"),
    ],
)
def test_bad_input_gets_one_sentence(
    capsys: pytest.CaptureFixture[str], run: Path, args: tuple[str, ...], sentence: str
) -> None:
    assert cli.main(["eval", str(run), *args]) == 2
    err = capsys.readouterr().err
    assert sentence in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("verb", [("eval", "{run}", "--policy", "random"), ("train", "--resume", "{run}")])
def test_a_program_that_a_run_s_folder_names_is_not_started(
    capsys: pytest.CaptureFixture[str],
    run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    verb: tuple[str, ...],
) -> None:
    monkeypatch.delenv("DYNALANG_HABITAT_PYTHON", raising=False)
    monkeypatch.setitem(habitat.__dict__, "_sound", set())
    program, mark = tmp_path / "python", tmp_path / "mark"
    program.write_text(f"#!/bin/sh\ntouch {mark}\n")
    program.chmod(0o755)
    shutil.copytree(run, tmp_path / "run")
    config = json.loads((run / "config.json").read_text())
    assert "habitat_python" not in config["env"]
    config["env"] |= {"simulator": "habitat", "habitat_python": str(program)}
    (tmp_path / "run" / "config.json").write_text(json.dumps(config))
    args = [arg.format(run=tmp_path / "run") for arg in verb]
    code = cli.main(args)  # under this interpreter, which has habitat_sim or hasn't
    assert code in (0, 2)
    assert not mark.exists()
    if verb[0] == "eval":
        assert cli.main([*args, "--habitat-python", str(program)]) == 2
        assert mark.exists()
        assert "habitat-sim ended as it started" in capsys.readouterr().err


def test_a_world_without_an_expert_says_so(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="dummy-discrete has no expert; vln has one"):
        train(replace(presets.get("debug"), expert_share=0.1, run_dir=tmp_path / "run"))
    debug = presets.get("debug")
    with pytest.raises(ValueError, match=r"behavior.imitation is 1.0, but the expert walks no episode"):
        replace(debug, behavior=replace(debug.behavior, imitation=1.0))
    with pytest.raises(ValueError, match=r"expert_share must be at least 0 and at most 1, got 1\.5"):
        replace(presets.get("debug"), expert_share=1.5)


def test_the_preset_knows_its_size_without_any_data(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["presets", "vln", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["settings"]["env"]["kind"] == "vln"
    assert shown["parameters"]["total"] > 1e6


def test_an_agent_that_is_overruled_remembers_what_was_done() -> None:
    config = presets.get("debug")
    agent = build_agent(config, StepSpec.from_spaces(*config.env.spaces()))
    state = agent.did(agent.initial(2), np.array([[1], [3]], np.uint8))
    assert state["action"].tolist() == [[0, 1, 0, 0], [0, 0, 0, 1]]
