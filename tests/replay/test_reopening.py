"""A replay that is opened again, after a stop, a torn step or a kill."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dynalang_py.replay import Field

from .ring import enumerate_windows, fill, make, starts, step


def test_a_cut_stream_gets_is_last_before_the_next_is_first(tmp_path: Path) -> None:
    make_and_fill = make(tmp_path)
    fill(make_and_fill, range(3), episode=100)
    reopened = make(tmp_path)
    fill(reopened, range(100, 103), episode=100)
    (window,) = (w for w in enumerate_windows(reopened).tolist() if w[0] == 1)
    batch, _ = reopened.sample(3)
    assert window == [1, 2, 100, 101]
    assert np.array_equal(batch["is_last"], batch["serial"] == 2)


def test_reopened_it_goes_on_with_the_same_draws(tmp_path: Path) -> None:
    replay = make(tmp_path, streams=2, capacity=64)
    fill(replay, range(20), streams=2)
    starts(replay, 3)
    state = json.loads(json.dumps(replay.state()))
    expected = starts(replay, 40)
    reopened = make(tmp_path, streams=2, capacity=64, seed=7)
    reopened.load_state(state)
    assert starts(reopened, 40) == expected


def test_steps_written_after_the_saved_state_are_fresh(tmp_path: Path) -> None:
    replay = make(tmp_path)
    fill(replay, range(6))
    starts(replay, 1)
    state = replay.state()
    fill(replay, range(6, 13))
    reopened = make(tmp_path)
    reopened.load_state(state)
    assert starts(reopened, 2) == [8, 4]


def test_without_a_saved_state_only_what_comes_next_is_fresh(tmp_path: Path) -> None:
    fill(make(tmp_path, context=1), range(9))
    reopened = make(tmp_path, context=1)
    assert not reopened._queue
    fill(reopened, range(10, 14))
    assert reopened.sample(1)[0]["serial"].tolist() == [[8, 10, 11, 12, 13]]
    assert not reopened._serve(1)


class Torn(dict[str, Any]):
    """A step whose last field cannot be read: the add is interrupted after the others were written."""

    def __getitem__(self, key: str) -> Any:
        if key == "deter":
            raise InterruptedError
        return super().__getitem__(key)


@pytest.mark.parametrize("held", [6, 30])
def test_a_step_torn_in_the_middle_is_not_seen(tmp_path: Path, held: int) -> None:
    replay = make(tmp_path, capacity=12)
    fill(replay, range(held))
    with pytest.raises(InterruptedError):
        replay.add(Torn(step([99])))
    reopened = make(tmp_path, capacity=12)
    windows = enumerate_windows(reopened)
    assert windows.max() == held - 1
    assert (np.diff(windows) == 1).all()


ENDLESS = """
import sys
from pathlib import Path
import numpy as np
from dynalang_py.replay import Replay
shape = (64, 64, 3)
fields = {"serial": ((), "i4"), "image": (shape, "u1"), "is_first": ((), "?"), "is_last": ((), "?"), "last": ((), "i4")}
replay = Replay(Path(sys.argv[1]), fields, streams=4, capacity=400, length=8)
for serial in range(10**9):
    no, serials = np.zeros(4, bool), np.full(4, serial)
    image = np.full((4, *shape), serial % 251)
    replay.add({"serial": serials, "image": image, "is_first": no, "is_last": no, "last": serials})
    if serial == 150:
        print("going", flush=True)
"""


def test_it_survives_a_kill_at_any_moment(tmp_path: Path) -> None:
    path = tmp_path / "replay"
    with subprocess.Popen([sys.executable, "-c", ENDLESS, str(path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"going\n"
        process.send_signal(signal.SIGKILL)
    fields: dict[str, Field] = {"serial": ((), "i4"), "image": ((64, 64, 3), "u1"), "is_first": ((), "?")}
    replay = make(path, fields | {"is_last": ((), "?"), "last": ((), "i4")}, streams=4, capacity=400, length=8)
    assert len(replay) >= 4 * 99
    batch, _ = replay.sample(200)
    assert (np.diff(batch["serial"]) == 1).all()
    assert np.array_equal(batch["serial"], batch["last"])
    assert (batch["image"] == (batch["serial"] % 251)[..., None, None, None]).all()
