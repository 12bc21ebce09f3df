"""`dynalang houses` as it is typed."""

import resource
from pathlib import Path

import pytest

pytest.importorskip("embreex")
pytest.importorskip("trimesh")

from dynalang_py.cli import main


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_it_makes_a_data_set_and_tells_what_is_in_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "houses"
    words = (
        f"houses --out {out} --train 1 --val-unseen 1 --paths 2 --val-seen-paths 1 --furniture builtin --processes 1"
    )
    assert main(words.split()) == 0
    told = capsys.readouterr().out
    for part in ("built-in shapes", "val_unseen", "6 episodes", f"dynalang train vln --env.data {out}"):
        assert part in told
    assert main(["vln", "check", str(out)]) == 0
    assert capsys.readouterr().out.count("ready") >= 3


def test_a_full_disk_gets_a_sentence_and_nothing_is_left(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, old = tmp_path / "houses", resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, old[1]))
    try:
        assert main(f"houses --out {out} --train 1 --val-unseen 1 --furniture builtin --processes 1".split()) == 2
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
    assert capsys.readouterr().err.startswith(f"dynalang: {out} could not be written: File too large")
    assert [path.name for path in tmp_path.iterdir() if path.name != "cache"] == []


def test_a_second_time_it_refuses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.txt").write_text("keep me")
    assert main(["houses", "--out", str(tmp_path)]) == 2
    assert "not empty" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("--train 0", "houses.train must be from 1 to 9000, got 0"),
        ("--level flat", "'goto', 'rooms', 'houses'"),
        ("--furniture bultin", "Did you mean 'builtin'?"),
        ("--trian 3", "Did you mean '--train'?"),
    ],
)
def test_what_makes_no_sense_is_told(
    words: str, complaint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["houses", "--out", str(tmp_path / "out"), *words.split()]) == 2
    assert complaint in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
