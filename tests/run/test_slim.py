"""A run without what only going on needs."""

import shutil
from pathlib import Path

import pytest

from dynalang_py import cli
from dynalang_py.run import checkpoint as checkpoints
from dynalang_py.run.folder import RunFolder
from dynalang_py.run.slim import _encoded

from .runs import saved_steps


def test_it_can_be_evaluated_and_even_goes_on(
    finished: tuple[Path, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished[0], run)
    (run / "replay" / "mine.txt").write_text("somebody's")
    shutil.copy(run / "checkpoints/step-000000000600.safetensors", run / "checkpoints/step-000000000300.safetensors")
    before = checkpoints.load(run / "checkpoints")
    assert before is not None
    assert cli.main(["slim", str(run)]) == 0
    said = capsys.readouterr().out
    for what in ("Freed", "what optimisers remember", "older checkpoints", "replay", "left"):
        assert what in said
    assert [path.name for path in checkpoints.find(run / "checkpoints")] == ["step-000000000600.safetensors"]
    assert [path.name for path in (run / "replay").iterdir()] == ["mine.txt"]
    after = checkpoints.load(run / "checkpoints")
    assert after is not None
    assert after.state == before.state
    assert after.tensors.keys() == {name for name in before.tensors if not name.startswith("optimizer/")}
    for kept in ("config.json", "metrics.jsonl", "eval", "pictures", "tokenizer"):
        assert (run / kept).exists()
    assert cli.main(["slim", str(run)]) == 0
    assert "Freed 0.0 MB" in capsys.readouterr().out
    assert cli.main(["eval", str(run), "--episodes", "2"]) == 0
    assert cli.main(["train", "--resume", str(run), "--steps", "640", "--eval-every", "0"]) == 0
    said = capsys.readouterr().out
    assert "the replay of this run is not here" in said
    assert "this run was slimmed" in said
    assert saved_steps(run) == 640


def test_encoded_text_goes_and_what_a_link_leads_to_stays(tmp_path: Path) -> None:
    names = ["meta.json", "ids.raw", "starts.raw", "characters.raw"]
    for folder in ("elsewhere", "tokens/0123456789abcdef", "tokens/mine"):
        (tmp_path / folder).mkdir(parents=True)
        for name in names:
            (tmp_path / folder / name).touch()
    (tmp_path / "tokens" / "fedcba9876543210").symlink_to(tmp_path / "elsewhere")
    gone = list(_encoded(tmp_path / "tokens"))
    assert {path.parent.name for path in gone} == {"0123456789abcdef"}
    assert sorted(path.name for path in gone) == sorted(names)
    assert gone[0].name == "meta.json"


def test_what_is_no_run_is_in_use_or_has_no_checkpoint_stays_as_it_is(
    finished: tuple[Path, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for args, said in (([], "one run"), (["a", "b"], "got 2"), (["--out", "x"], "no option --out")):
        assert cli.main(["slim", *args]) == 2
        assert said in capsys.readouterr().err
    assert cli.main(["slim", str(tmp_path / "nowhere")]) == 2
    assert "is not a run" in capsys.readouterr().err
    assert not (tmp_path / "nowhere").exists()
    run = tmp_path / "run"
    shutil.copytree(finished[0], run)
    shutil.rmtree(run / "checkpoints")
    assert cli.main(["slim", str(run)]) == 2
    assert "no checkpoint yet" in capsys.readouterr().err
    assert (run / "replay" / "meta.json").exists()


def test_a_link_in_its_place_is_refused(
    finished: tuple[Path, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished[0], run)
    shutil.move(run / "replay", tmp_path / "elsewhere")
    (run / "replay").symlink_to(tmp_path / "elsewhere")
    assert cli.main(["slim", str(run)]) == 2
    assert "is a link" in capsys.readouterr().err
    assert (tmp_path / "elsewhere" / "meta.json").exists()
    assert RunFolder(run).config.exists()
