import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dynalang_py import config as configs
from dynalang_py import presets
from dynalang_py.errors import UserError
from dynalang_py.run.folder import RunFolder

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
