import errno
import fcntl
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from dynalang_py import config as configs
from dynalang_py import presets
from dynalang_py.errors import UserError
from dynalang_py.run.folder import FILES, FOLDERS, RunFolder
from dynalang_py.text.config import PretrainConfig

HOLD = """
import sys, time
from pathlib import Path
from dynalang_py.run.folder import RunFolder
with RunFolder(Path(sys.argv[1])).locked():
    print("locked", flush=True)
    time.sleep(60)
"""


def test_a_new_or_empty_folder_may_become_a_run(tmp_path: Path) -> None:
    RunFolder(tmp_path / "a" / "b").check_new()
    RunFolder(tmp_path).check_new()
    (tmp_path / "lock").touch()  # of a start that failed
    (tmp_path / "replay").mkdir()
    RunFolder(tmp_path).check_new()


def test_a_folder_with_a_run_is_not_begun_again(tmp_path: Path) -> None:
    configs.save(presets.get("debug"), RunFolder(tmp_path).config)
    with pytest.raises(UserError, match=rf"{tmp_path} already holds a run; .*dynalang train --resume {tmp_path}"):
        RunFolder(tmp_path).check_new()


def test_a_folder_of_other_things_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(UserError, match=r"holds 'thesis\.tex' and is no run"):
        RunFolder(tmp_path).check_new()
    with pytest.raises(UserError, match=r"thesis\.tex is a file"):
        RunFolder(tmp_path / "thesis.tex").check_new()


def test_what_desktops_and_notebooks_leave_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / ".DS_Store").touch()
    (tmp_path / ".ipynb_checkpoints").mkdir()
    RunFolder(tmp_path).check_new()


@pytest.mark.parametrize("name", [*FOLDERS, *FILES])
@pytest.mark.parametrize("what", ["a link", "of the wrong kind", "a pipe"])
def test_a_place_of_a_run_is_opened_as_what_it_is_or_not_at_all(tmp_path: Path, name: str, what: str) -> None:
    run, elsewhere = tmp_path / "run", tmp_path / "elsewhere"
    configs.save(presets.get("debug"), run / "config.json")
    (run / name).unlink(missing_ok=True)
    if what == "a link":
        elsewhere.mkdir() if name in FOLDERS else elsewhere.write_text("keep me")
        (run / name).symlink_to(elsewhere)
    elif what == "a pipe":
        os.mkfifo(run / name)
    else:
        (run / name).touch() if name in FOLDERS else (run / name).mkdir()
    sentence = rf"{run / name} is (a link|a file|a folder|a device, pipe or socket); it must be a (file|folder)"
    for work in (RunFolder(run).load, lambda: RunFolder(run).locked().__enter__()):
        with pytest.raises(UserError, match=sentence):
            work()
    if what == "a link":
        assert list(elsewhere.iterdir()) == [] if name in FOLDERS else elsewhere.read_text() == "keep me"


def test_what_a_killed_process_left_is_cleared_away_and_nothing_else(tmp_path: Path) -> None:
    left = [".config.json.7.partial", "eval/.random.json.7.partial", "pictures/.learning_curve.png.7.partial"]
    foreign = [".notes.json.7.partial", "eval/.20260102-030405-agent.json.7.partial", "pictures/.learning_curve.png.x"]
    for name in [*left, *foreign]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    with RunFolder(tmp_path).locked():
        assert not any((tmp_path / name).exists() for name in left)
        assert all((tmp_path / name).exists() for name in foreign)


def test_a_run_may_lie_behind_a_link(tmp_path: Path) -> None:
    configs.save(presets.get("debug"), tmp_path / "run" / "config.json")
    (tmp_path / "link").symlink_to("run")
    with RunFolder(tmp_path / "link").locked():
        assert RunFolder(tmp_path / "link").load().run_dir == tmp_path / "link"
    assert (tmp_path / "run" / "lock").read_text() == str(os.getpid())


def test_a_lock_that_has_another_name_elsewhere_is_not_written_to(tmp_path: Path) -> None:
    (tmp_path / "theirs").write_text("keep me")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "lock").hardlink_to(tmp_path / "theirs")
    with RunFolder(tmp_path / "run").locked():
        assert (tmp_path / "theirs").read_text() == "keep me"


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_disk_without_locks_is_used_with_a_warning(
    tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch, notices: list[str]
) -> None:
    def refuse(*_: object) -> None:  # as some network file systems do
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "lockf", refuse)
    with RunFolder(tmp_path).locked():
        assert (tmp_path / "lock").read_text() == str(os.getpid())
    (notice,) = notices
    assert f"{tmp_path} can't be locked" in notice


@pytest.mark.parametrize("content", [b"", b"[]", b"3", b"\x00\xff", b"[" * 100_000, b'{"a": ' * 100_000])
def test_settings_that_are_none_are_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(UserError, match=r"config\.json"):
        RunFolder(tmp_path).load()


def test_the_kind_of_a_run_is_told_by_its_settings_not_by_their_text(tmp_path: Path) -> None:
    config = replace(presets.get("debug"), pretrained=Path('a"valid_share"b'))
    configs.save(config, RunFolder(tmp_path).config)
    assert RunFolder(tmp_path).load().pretrained == config.pretrained
    with pytest.raises(UserError, match="is a run of dynalang train, and a run of dynalang pretrain is needed"):
        RunFolder(tmp_path).load_as(PretrainConfig)


def test_a_run_that_goes_on_encodes_into_its_own_folder(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    assert run.tokens_in(None) == run.tokens
    assert run.tokens_in(Path("~/cache")) == Path.home() / "cache"
    configs.save(presets.get("debug"), run.config)
    assert run.tokens_in(Path("~/cache")) == run.tokens


def test_a_run_that_was_moved_is_found_where_it_lies(tmp_path: Path) -> None:
    configs.save(presets.get("debug"), RunFolder(tmp_path).config)
    assert RunFolder(tmp_path).load().run_dir == tmp_path


def test_what_is_no_run_is_said_to_be_none(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no folder"):
        RunFolder(tmp_path / "nowhere").load()
    with pytest.raises(UserError, match="is not a run"):
        RunFolder(tmp_path).load()


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_a_run_in_use_is_refused_and_a_dead_owner_does_not_count(tmp_path: Path, end: signal.Signals) -> None:
    owner = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    assert owner.stdout.readline() == "locked\n"
    with pytest.raises(UserError, match=f"{tmp_path} is in use by process {owner.pid}$"), RunFolder(tmp_path).locked():
        pass
    owner.send_signal(end)
    owner.wait()
    with RunFolder(tmp_path).locked():
        pass
