"""`dynalang vln check` says what is there and what is missing, before anything starts."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dynalang_py import cli
from dynalang_py.envs.vln.check import inspect
from dynalang_py.envs.vln.episodes import read_episodes, write_episodes

REAL = Path(__file__).parents[4] / "shared" / "data" / "vlnce"


def run(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[int, str, str]:
    code = cli.main(["vln", *args])
    out, err = capsys.readouterr()
    return code, out, err


def test_what_can_be_walked_is_ready(capsys: pytest.CaptureFixture[str], world: Any) -> None:
    code, out, err = run(capsys, "check", str(world.data))
    assert (code, err) == (0, "")
    lines = {line.split()[0]: line for line in out.splitlines() if line.strip()}
    assert "3 episodes in 1 scene, without ground truth" in lines["train"]
    assert lines["train"].endswith("ready")
    assert lines["test"].endswith("tells no goals")
    assert lines["embree"].endswith("ready")


def test_programs_get_json(capsys: pytest.CaptureFixture[str], world: Any) -> None:
    code, out, _ = run(capsys, "check", str(world.data), "--json")
    found = json.loads(out)
    assert code == 0
    assert found["splits"]["train"]["usable"]
    assert not found["splits"]["test"]["usable"]
    assert found["simulators"]["embree"] == "ready"


def test_a_split_tells_of_its_scenes_and_ground_truth(world: Any, tmp_path: Path) -> None:
    file = read_episodes(world.data / "train" / "train.json.gz")
    write_episodes(file, tmp_path / "train.json.gz")
    (split,) = inspect(tmp_path, None).splits
    assert (split.episodes, split.scenes, split.missing) == (3, 1, ("house/house.glb",))
    assert not split.has_truth
    assert not split.usable
    (split,) = inspect(tmp_path, world.data / "scenes").splits
    assert split.usable


def test_scenes_that_cannot_be_drawn_are_told_of_with_the_reason(
    capsys: pytest.CaptureFixture[str], world: Any, tmp_path: Path
) -> None:
    """An OBJ whose picture is missing: without it the wall would be grey, silently."""
    file = read_episodes(world.data / "train" / "train.json.gz")
    episodes = tuple(replace(episode, scene_id=f"{episode.episode_id}.obj") for episode in file.episodes)
    write_episodes(replace(file, episodes=episodes), tmp_path / "train.json.gz")
    (tmp_path / "scenes").mkdir()
    plain = "v 0 0 0\nv 9 0 0\nv 9 0 9\nvt 0 0\nusemtl a\nf 1/1 2/1 3/1\n"
    for number, head in (("1", ""), ("2", "mtllib s.mtl\n"), ("3", "surf 0 1\n")):
        (tmp_path / "scenes" / f"{number}.obj").write_text(head + plain)
    (tmp_path / "scenes" / "s.mtl").write_text("newmtl a\nmap_Kd wood.png\n")
    told: list[tuple[str, int, int]] = []
    (split,) = inspect(tmp_path, None, lambda *done: told.append(done)).splits
    assert told == [("train", 1, 3), ("train", 2, 3), ("train", 3, 3)]
    assert not split.usable
    assert ["2.obj can't be read: s.mtl, line 2: there is no picture wood.png" in split.unreadable[0]] == [True]
    assert "3.obj can't be read: line 1: 'surf' is no statement that is read" in split.unreadable[1]
    code, out, err = run(capsys, "check", str(tmp_path))
    assert code == 2
    assert "has 2 of 3 scenes that can't be drawn (Scene " in out
    assert err.count("\n") == 1


def test_values_that_nothing_needs_are_told_of_and_close_no_split(
    capsys: pytest.CaptureFixture[str], world: Any, tmp_path: Path
) -> None:
    file = read_episodes(world.data / "train" / "train.json.gz")
    wrong = tuple(replace(episode, extra={"info": 3}) for episode in file.episodes)
    write_episodes(replace(file, episodes=wrong), tmp_path / "train.json.gz")
    code, out, _ = run(capsys, "check", str(tmp_path), "--scenes", str(world.data / "scenes"))
    assert code == 0
    assert "ready; 3 values are wrong that nothing needs, such as in episode 1: info must be an object, got 3" in out


@pytest.mark.skipif(not REAL.is_dir(), reason="the files of R2R-CE are not here")
def test_real_episodes_without_their_scenes_are_no_use(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "check", str(REAL), "--scenes", "nowhere")
    assert code == 2
    assert "10,819 episodes in 61 scenes" in out
    assert err.count("\n") == 1
    assert "no split can be walked: train lacks 61 of 61 scenes" in err


def test_without_a_simulator_nothing_can_be_walked(
    capsys: pytest.CaptureFixture[str], world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "dynalang_py.envs.vln.embree", None)
    monkeypatch.setenv("DYNALANG_HABITAT_PYTHON", "nowhere")
    code, _, err = run(capsys, "check", str(world.data))
    assert code == 2
    assert "there is no simulator: " in err
    assert "pip install" in err


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        ((), "vln can check a folder, as in: dynalang vln check data/houses"),
        (("chek", "x"), "Did you mean 'check'?"),
        (("check",), "name one folder of episodes"),
        (("check", "a", "b"), "name one folder of episodes"),
        (("check", "nowhere"), "there is no folder nowhere with episodes"),
        (("check", "{tmp}"), "{tmp} has no split 'train'"),
        (("check", "x", "--scenes"), "--scenes needs a folder"),
        (("check", "x", "--scene", "y"), "there is no option --scene. Did you mean '--scenes'?"),
    ],
)
def test_bad_input_gets_one_sentence(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, args: tuple[str, ...], sentence: str
) -> None:
    code, _, err = run(capsys, *(arg.format(tmp=tmp_path) for arg in args))
    assert code == 2
    assert err.count("\n") == 1
    assert sentence.format(tmp=tmp_path) in err


def test_a_damaged_split_does_not_hide_the_others(
    capsys: pytest.CaptureFixture[str], world: Any, tmp_path: Path
) -> None:
    write_episodes(read_episodes(world.data / "train" / "train.json.gz"), tmp_path / "train.json.gz")
    (tmp_path / "val_seen.json.gz").write_bytes(b"no gzip")
    code, out, _ = run(capsys, "check", str(tmp_path), "--scenes", str(world.data / "scenes"))
    assert code == 0
    assert "can't be read" in out
