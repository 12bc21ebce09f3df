"""States of a wrong type: the checkpoint before is taken, and nothing ends in a traceback."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dynalang_py import cli
from dynalang_py.errors import UserError
from dynalang_py.replay_ends import Ends
from dynalang_py.run import checkpoint as checkpoints
from dynalang_py.run.state import check_reading, check_training
from dynalang_py.text.tokens import Tokens
from dynalang_py.text.windows import Windows

GENERATOR: dict[str, Any] = dict(np.random.default_rng(0).bit_generator.state)
TRAINING: dict[str, Any] = {
    "config": {"envs": 2},
    "counters": {"steps": 3, "seconds": 1.5},
    "replay": {"heads": [9, 1], "random": GENERATOR, "queue": [[1, 4]], "fresh": [8, 0]},
    "text": {"epoch": 0, "taken": 3, "place": [[-1, 0], [2, 5]]},
    "random": GENERATOR,
    "driver": {
        "worlds": {
            "worlds": {"seed": 3, "series": [[3, 0], [4, 1]], "revivals": [0, 0], "ended": [False, True]},
            "seen": [5, 6],
            "reward": [0.0, 1.0],
            "is_first": [False, False],
            "terminated": [False, True],
            "truncated": [False, False],
            "meter": {"return": [0.0, 1.0], "length": [3, 4], "acting": [3, 4]},
        },
        "policy": 1,
        "guided": [None, {"random": GENERATOR, "led": [True, False]}],
        "ended": [{"return": 1.0, "text": "go", "success": float("nan")}],
        "recent": [],
    },
    "loop": {"logged_at": 3, "looked_at": 0, "metrics": {"loss": [1.0, float("nan")]}},
}
READING: dict[str, Any] = {
    "config": {},
    "progress": {"updates": 3, "best": None},
    "windows": TRAINING["text"],
    "text": ["a", "b"],
    "tokenizer": "c",
    "loop": TRAINING["loop"],
}
CHECKS: list[tuple[dict[str, Any], Callable[[Any], None]]] = [
    (TRAINING, check_training),
    (READING, check_reading),
]


@pytest.mark.parametrize(("state", "check"), CHECKS)
def test_every_part_of_a_state_has_its_type(state: dict[str, Any], check: Callable[[Any], None]) -> None:
    check(state)
    for name, part in state.items():
        for wrong in (float("nan"), [["x"]]):
            changes: list[dict[str, Any]] = [{name: wrong}]
            if isinstance(part, dict) and name != "random":
                changes += [{name: part | {key: wrong}} for key in part]
            for change in changes:
                with pytest.raises(ValueError, match=rf"its state has no '{name}' that a run could go on with"):
                    check(state | change)


@pytest.mark.parametrize(
    "change",
    [
        {"random": GENERATOR | {"bit_generator": "MT19937"}},
        {"random": GENERATOR | {"state": {"state": -1, "inc": 10**99}}},
        {"replay": {"random": {}, "queue": [], "fresh": [0, 0]}},
        *({"counters": counters} for counters in (None, {"steps": -1}, {"steps": 10**30}, {"seconds": "1"}, {"a": 1})),
        *({"replay": TRAINING["replay"] | {"queue": queue}} for queue in ([[1, 2, 3]], [[2, 0]], [[0, 10**30]], [5])),
        *({"replay": TRAINING["replay"] | {"fresh": fresh}} for fresh in ([1], [1, 2, 3], [1, -2], [0, 10**30])),
        *({"driver": TRAINING["driver"] | {"policy": policy}} for policy in (2, -1, "1")),
        {"driver": TRAINING["driver"] | {"ended": [{"return": []}]}},
        {"driver": TRAINING["driver"] | {"worlds": TRAINING["driver"]["worlds"] | {"reward": [float("inf"), 0]}}},
        {"loop": TRAINING["loop"] | {"metrics": {"loss": 3}}},
        *({"text": TRAINING["text"] | {"place": place}} for place in ([[-2, 0]], [[1]], [[True, 0]])),
    ],
)
def test_numbers_of_a_state_are_of_their_kind(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="its state has no"):
        check_training(TRAINING | change)


def test_a_state_of_more_environments_is_not_of_fewer() -> None:
    for envs in (1, 3):
        with pytest.raises(ValueError, match="has no 'replay'"):
            check_training(TRAINING | {"config": {"envs": envs}})


def test_a_state_of_an_earlier_version_may_lack_what_came_later() -> None:
    state = {name: part for name, part in TRAINING.items() if name not in ("driver", "loop")}
    check_training(state | {"replay": {name: state["replay"][name] for name in ("random", "queue", "fresh")}})


def test_a_run_goes_back_to_the_checkpoint_before_a_state_of_a_wrong_type(
    finished: tuple[Path, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "debug"
    shutil.copytree(finished[0], run, ignore=shutil.ignore_patterns("events", "pictures"))
    good = checkpoints.load(run / "checkpoints")
    assert good is not None
    bad = checkpoints.save(run / "checkpoints", 700, good.tensors, good.state | {"counters": []})
    assert cli.main(["eval", str(run), "--episodes", "1", "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["step"] == 600
    assert (
        f"{bad} is damaged (its state has no 'counters' that a run could go on with); going back to {good.path}" in err
    )


@pytest.mark.parametrize("name", ["token", "action", "stoch"])
def test_ids_in_replay_that_there_are_none_of_are_told(
    finished: tuple[Path, str], tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "debug"
    shutil.copytree(finished[0], run, ignore=shutil.ignore_patterns("events", "pictures"))
    path = run / "replay" / f"{name}.raw"
    content = bytearray(path.read_bytes())
    content[100] ^= 0x80
    path.write_bytes(content)
    assert cli.main(["train", "--resume", str(run), "--steps", "800"]) == 2
    assert f"dynalang: {path} is damaged" in capsys.readouterr().err


def test_a_replay_that_is_older_than_its_checkpoint_is_told(
    finished: tuple[Path, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "debug"
    shutil.copytree(finished[0], run, ignore=shutil.ignore_patterns("events", "pictures"))
    meta = json.loads((run / "replay" / "meta.json").read_text())
    ends = Ends(run / "replay", meta["streams"], meta["steps per stream"])
    ends.head[:] -= 3
    ends.write()
    assert cli.main(["train", "--resume", str(run), "--steps", "604", "--eval-episodes", "1"]) == 0
    assert f"the replay lacks {3 * meta['streams']} steps that the checkpoint knows" in capsys.readouterr().out


def test_weights_that_do_not_fit_are_told_with_the_name_of_the_file(
    finished: tuple[Path, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "debug"
    shutil.copytree(finished[0], run, ignore=shutil.ignore_patterns("events", "pictures", "replay"))
    good = checkpoints.load(run / "checkpoints")
    assert good is not None
    garbage = torch.full_like(good.tensors["random/learning"], 255)
    for name, value in (
        ("updates", torch.zeros(3)),
        ("updates", torch.tensor(float("nan"))),
        ("random/acting", garbage),
    ):
        bad = checkpoints.save(run / "checkpoints", 700, good.tensors | {name: value}, good.state)
        assert cli.main(["eval", str(run), "--episodes", "1"]) == 2
        assert f"dynalang: {bad} can't be gone on with" in capsys.readouterr().err


@pytest.mark.parametrize(
    "change", [{"taken": 4}, {"place": [[0, 0]]}, {"place": [[3, 0], [0, 0]]}, {"place": [[0, 3], [1, 0]]}]
)
def test_a_place_that_the_text_does_not_have_is_refused(change: dict[str, Any]) -> None:
    tokens = Tokens(np.arange(6, dtype=np.uint8), np.array([0, 2, 4, 6]), np.array([2, 2, 2]), "")
    windows = Windows(tokens, 2, 3, seed=0, reset=True)
    windows.next()
    state = windows.state()
    windows.load_state(state)
    with pytest.raises(UserError, match="a place that the text here doesn't have"):
        windows.load_state(state | change)
    assert windows.state() == state
