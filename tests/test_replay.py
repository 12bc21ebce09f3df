"""The ring on disk against plain Python lists."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, precondition, rule
from numpy.typing import NDArray

from dynalang_py.errors import UserError
from dynalang_py.replay import Field, Replay, ReplayConfig

FIELDS: dict[str, Field] = {
    "image": ((2, 3), np.uint8),
    "serial": ((), np.int32),
    "reward": ((), np.float32),
    "is_first": ((), bool),
    "is_last": ((), bool),
    "deter": ((2,), np.float16),
}


def make(path: Path, fields: dict[str, Field] = FIELDS, **kwargs: Any) -> Replay:
    return Replay(path, fields, **{"streams": 1, "capacity": 32, "length": 4, "seed": 0, **kwargs})


def step(serial: Iterable[int], first: Iterable[bool] = (), last: Iterable[bool] = ()) -> dict[str, NDArray[Any]]:
    """One step of each stream, every value a function of its serial."""
    serials = np.array(list(serial))
    none = np.zeros(len(serials), bool)
    return {
        "image": (serials[:, None, None] + np.arange(6).reshape(2, 3)).astype(np.uint8),
        "serial": serials,
        "reward": serials / 2,
        "is_first": np.array(list(first)) if first else none,
        "is_last": np.array(list(last)) if last else none,
        "deter": np.stack([serials, -serials], 1).astype(np.float16),
        "log_success": np.full(len(serials), np.nan),
    }


def fill(replay: Replay, serials: Iterable[int], episode: int = 5, streams: int = 1) -> None:
    """Add steps in episodes of a fixed length; stream i counts from 1000 · i."""
    for serial in serials:
        phase = serial % episode
        firsts, lasts = [phase == 0] * streams, [phase == episode - 1] * streams
        replay.add(step([1000 * i + serial for i in range(streams)], firsts, lasts))


def starts(replay: Replay, batch: int) -> list[int]:
    return [int(serial) for serial in replay.sample(batch)[0]["serial"][:, 0]]


def enumerate_windows(replay: Replay) -> NDArray[Any]:
    """Serials of every window the sampler can draw, once for each of its equally likely draws: (N, context + T)."""
    totals: list[int] = []
    replay._queue.clear()
    replay._rng = SimpleNamespace(integers=lambda total, size: totals.append(int(total)) or np.zeros(size, np.int64))  # type: ignore[assignment,func-returns-value]
    replay.sample(1)
    replay._rng = SimpleNamespace(integers=lambda total, size: np.arange(total))  # type: ignore[assignment]
    batch, _ = replay.sample(totals[0])
    serials: NDArray[Any] = batch["serial"]
    return serials


def test_every_window_of_every_stream_is_drawn_by_exactly_one_number(tmp_path: Path) -> None:
    replay = make(tmp_path, streams=3, capacity=3 * 11, length=3, context=1)
    for serial in range(25):  # stream 0 wraps twice, stream 1 is half full, stream 2 holds too little for a window
        mask = np.array([True, serial < 6, serial < 3])
        replay.add(step([1000 * i + serial for i in range(3)], [serial == 0] * 3), mask)
    assert len(replay) == 11 + 6 + 3
    expected = [range(s, s + 4) for s in range(14, 22)] + [range(s, s + 4) for s in range(1000, 1003)]
    assert sorted(map(tuple, enumerate_windows(replay).tolist())) == [tuple(window) for window in expected]


def test_draws_are_uniform(tmp_path: Path) -> None:
    replay = make(tmp_path, streams=2, capacity=2 * 9, length=4, online=False)
    for serial in range(20):
        replay.add(step([serial, 1000 + serial], [serial == 0] * 2), np.array([True, serial < 7]))
    counts = Counter(starts(replay, 10_000))
    assert sorted(counts) == [11, 12, 13, 14, 15, 16, 1000, 1001, 1002, 1003]
    chi_square = sum((count - 1000) ** 2 / 1000 for count in counts.values())
    assert chi_square < 27.9  # 9 degrees of freedom: 1 in 1000


def test_windows_span_episodes_and_carry_their_flags(tmp_path: Path) -> None:
    replay = make(tmp_path, length=8)
    fill(replay, range(20), episode=3)
    batch, _ = replay.sample(64)
    assert np.array_equal(batch["is_first"], batch["serial"] % 3 == 0)
    assert np.array_equal(batch["is_last"], batch["serial"] % 3 == 2)
    assert np.array_equal(batch["image"][..., 0, 0], batch["serial"])
    assert batch["serial"].max() == 19, "the newest transition must be sampled"


def test_batches_have_the_fields_and_dtypes_and_no_log_keys(tmp_path: Path) -> None:
    replay = make(tmp_path, streams=2, capacity=64, context=1)
    fill(replay, range(12), streams=2)
    batch, index = replay.sample(3)
    assert {name: (value.shape, value.dtype) for name, value in batch.items()} == {
        name: ((3, 5, *shape), np.dtype(dtype)) for name, (shape, dtype) in FIELDS.items()
    }
    assert index.shape == (3, 2)
    assert not list(tmp_path.glob("*log_*"))


def test_batches_are_no_views_of_the_ring(tmp_path: Path) -> None:
    replay = make(tmp_path, online=False)
    fill(replay, range(4))
    for value in replay.sample(1)[0].values():
        value.fill(1)
    batch, _ = replay.sample(1)
    assert batch["serial"].tolist() == [[0, 1, 2, 3]]
    fill(replay, range(40, 80))
    assert batch["serial"].tolist() == [[0, 1, 2, 3]], "adding must not reach into a batch that was handed out"


def test_it_is_ready_when_there_are_as_many_windows_as_the_batch_is_large(tmp_path: Path) -> None:
    replay = make(tmp_path, context=1)
    fill(replay, range(4))
    assert not replay.ready(1)
    fill(replay, range(4, 6))
    assert replay.ready(2)
    assert not replay.ready(3)


def test_a_step_of_the_wrong_shape_is_not_broadcast(tmp_path: Path) -> None:
    replay = make(tmp_path, streams=2)
    with pytest.raises(AssertionError, match="reward"):
        replay.add(step([0, 0]) | {"reward": np.zeros(1)})


def test_fresh_windows_are_served_once_newest_first_and_cover_each_trained_step_once(tmp_path: Path) -> None:
    replay = make(tmp_path, streams=2, capacity=128, length=4, context=1)
    fill(replay, range(15), streams=2)  # three windows of each stream: trained on 1 … 4, 5 … 8, 9 … 12
    batch, _ = replay.sample(4)
    assert batch["serial"][:, 0].tolist() == [1008, 8, 1004, 4]
    assert starts(replay, 2) == [1000, 0]
    assert not replay._queue
    fill(replay, range(15, 17), streams=2)
    assert starts(replay, 2) == [1012, 12]


def test_without_the_online_queue_all_windows_are_drawn(tmp_path: Path) -> None:
    replay = make(tmp_path, online=False, length=2)
    fill(replay, range(30))
    assert len(set(starts(replay, 100))) > 20


def test_fresh_windows_that_were_overwritten_are_not_served(tmp_path: Path) -> None:
    replay = make(tmp_path, capacity=10, length=4)
    fill(replay, range(23))  # holds 13 … 22; whole fresh window: 16 … 19
    assert starts(replay, 1) == [16]
    assert not replay._serve(1)


def test_a_dropped_episode_is_forgotten_and_its_fresh_windows_with_it(tmp_path: Path) -> None:
    replay = make(tmp_path, streams=2, capacity=128, length=4)
    fill(replay, range(13), episode=10, streams=2)  # the second episodes are three steps old
    replay.drop_episode(0)
    assert len(replay) == 10 + 13
    assert starts(replay, 5)[:5] == [1008, 1004, 4, 1000, 0]
    replay.add(step([50, 1013], [True, False]))
    replay.add(step([51, 1014]))
    batch, _ = replay.sample(1)
    assert batch["serial"].tolist() == [[8, 9, 50, 51]], "the steps before the dropped ones are still fresh"
    assert batch["is_last"].tolist() == [[False, True, False, False]]


def test_a_crash_between_episodes_keeps_the_finished_one(tmp_path: Path) -> None:
    replay = make(tmp_path)
    fill(replay, range(10), episode=5)
    replay.drop_episode(0)
    assert len(replay) == 10


def test_a_dropped_episode_longer_than_the_ring_leaves_nothing(tmp_path: Path) -> None:
    replay = make(tmp_path, capacity=8)
    fill(replay, range(20), episode=100)
    replay.drop_episode(0)
    assert len(replay) == 0
    assert not replay.ready(1)
    replay.drop_episode(0)
    fill(replay, range(100, 104), episode=100)
    assert starts(replay, 1) == [100]


def test_after_a_first_episode_that_was_dropped_the_next_is_fresh_from_its_first_step(tmp_path: Path) -> None:
    replay = make(tmp_path, context=1)
    fill(replay, range(3))
    replay.drop_episode(0)
    fill(replay, range(10, 15))
    assert replay._serve(2) == [(0, 0)]


def test_a_saved_state_older_than_a_drop_offers_no_dropped_step(tmp_path: Path) -> None:
    replay = make(tmp_path)
    fill(replay, range(18), episode=10)
    state = replay.state()
    replay.drop_episode(0)
    reopened = make(tmp_path)
    reopened.load_state(state)
    assert starts(reopened, 2) == [4, 0]
    assert not reopened._serve(1)
    fill(reopened, range(50, 54))
    assert starts(reopened, 1) == [50]


def test_steps_may_be_trained_on_one_by_one(tmp_path: Path) -> None:
    replay = make(tmp_path, capacity=1, length=1)
    for serial in range(3):
        replay.add(step([serial], [True]))
        batch, _ = replay.sample(2)
        assert batch["serial"].tolist() == [[serial]] * 2
        assert not batch["is_last"].any()


def test_latents_return_to_their_rows_across_the_wrap(tmp_path: Path) -> None:
    replay = make(tmp_path, capacity=10, length=4, context=2, online=False)
    fill(replay, range(17))  # rows 0 … 6 hold 10 … 16, rows 7 … 9 hold 7 … 9
    batch, index = replay.sample(20)
    trained = batch["serial"][:, 2:]
    replay.update(index, {"deter": np.stack([trained + 100, trained + 200], -1)})
    after, _ = replay.sample(20)
    serial, deter = after["serial"], after["deter"]
    touched = np.isin(serial, trained)
    assert touched.any()
    assert not touched.all()
    assert np.array_equal(deter[..., 0], np.where(touched, serial + 100, serial))
    assert np.array_equal(deter[..., 1], np.where(touched, serial + 200, -serial))


def test_latents_of_overwritten_and_dropped_steps_are_discarded(tmp_path: Path) -> None:
    replay = make(tmp_path, capacity=8, length=4, online=False)
    fill(replay, range(8))
    _, index = replay.sample(30)
    fill(replay, range(8, 13))  # 0 … 4 are gone, 5 … 7 are still there
    replay.update(index, {"deter": np.full((30, 4, 2), 99)})
    batch, _ = replay.sample(30)
    assert set(batch["serial"][batch["deter"][..., 0] == 99].tolist()) <= {5, 6, 7}
    _, index = replay.sample(30)
    replay.drop_episode(0)
    fill(replay, range(20, 23))
    replay.update(index, {"deter": np.full((30, 4, 2), 77)})
    batch, _ = replay.sample(30)
    assert not (batch["deter"][batch["serial"] >= 20] == 77).any()


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


def test_it_knows_its_size_and_reserves_it(tmp_path: Path) -> None:
    replay = make(tmp_path, streams=2, capacity=1000)
    files = list(tmp_path.glob("*.raw"))
    assert replay.nbytes == sum(file.stat().st_size for file in files) == 1000 * (6 + 4 + 4 + 1 + 1 + 4) + 2 * 2 * 8
    assert replay.gigabytes == replay.nbytes / 1e9
    if hasattr(os, "posix_fallocate"):
        assert all(file.stat().st_blocks * 512 >= file.stat().st_size for file in files)


def test_a_disk_without_room_is_refused_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=int(3.1e9)))
    with pytest.raises(UserError, match=r"needs 12\.3 GB at .*replay but only 3\.1 GB are free; lower --replay\.capa"):
        make(tmp_path / "replay", FIELDS | {"image": ((64, 64, 3), "u1")}, capacity=1_000_000)
    assert not list((tmp_path / "replay").iterdir())


def test_a_disk_that_fills_while_reserving_is_refused_and_left_clean(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []

    def fallocate(_file: int, _offset: int, nbytes: int) -> None:
        calls.append(nbytes)
        if len(calls) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", fallocate, raising=False)
    with pytest.raises(UserError, match=r"lower --replay\.capacity"):
        make(tmp_path)
    assert not list(tmp_path.iterdir())
    monkeypatch.undo()
    fill(make(tmp_path), range(9))


def test_where_space_cannot_be_reserved_it_works_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "posix_fallocate", raising=False)
    replay = make(tmp_path / "none")
    fill(replay, range(9))
    assert len(replay) == 9

    def unsupported(*_: int) -> None:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(os, "posix_fallocate", unsupported, raising=False)
    replay = make(tmp_path / "unsupported")
    fill(replay, range(9))
    assert len(replay) == 9


def test_continuing_needs_no_free_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(make(tmp_path), range(9))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=0))
    assert len(make(tmp_path)) == 9


def test_a_start_that_was_killed_half_way_is_begun_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(make(tmp_path), range(9))
    (tmp_path / "meta.json").unlink()
    (tmp_path / "deter.raw").unlink()
    left: list[Path] = []

    def disk_usage(path: Path) -> SimpleNamespace:
        left.extend(path.glob("*.raw"))
        return SimpleNamespace(free=10**6)

    monkeypatch.setattr(shutil, "disk_usage", disk_usage)
    assert len(make(tmp_path)) == 0
    assert not left, "what a half-made replay occupies is free for the new one"


@pytest.mark.parametrize(
    ("fields", "kwargs", "sentence"),
    [
        (FIELDS | {"image": ((3, 3), np.uint8)}, {}, r"field 'image' as uint8 \(2, 3\) where .* uint8 \(3, 3\)"),
        (FIELDS | {"reward": ((), np.float64)}, {}, r"field 'reward' as float32 \(\) where .* float64 \(\)"),
        (FIELDS | {"stoch": ((4,), np.uint8)}, {}, r"no field 'stoch' where .* field 'stoch' as uint8 \(4,\)"),
        ({k: v for k, v in FIELDS.items() if k != "deter"}, {}, r"'deter' as float16 \(2,\) where .* no field 'deter'"),
        (FIELDS, {"streams": 2, "capacity": 64}, "has 1 streams where this run needs 2 streams"),
        (FIELDS, {"capacity": 33}, "has 32 steps per stream where this run needs 33 steps per stream"),
    ],
)
def test_another_layout_is_refused_by_name(
    tmp_path: Path, fields: dict[str, Field], kwargs: dict[str, int], sentence: str
) -> None:
    fill(make(tmp_path), range(9))
    with pytest.raises(UserError, match=sentence):
        make(tmp_path, fields, **kwargs)
    assert len(make(tmp_path)) == 9


def test_windows_of_another_length_may_be_sampled_from_the_same_files(tmp_path: Path) -> None:
    fill(make(tmp_path, length=4), range(20))
    assert make(tmp_path, length=7, context=1).sample(2)[0]["serial"].shape == (2, 8)


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    make(tmp_path)
    os.truncate(tmp_path / "image.raw", 5)
    with pytest.raises(UserError, match=r"image\.raw has 5 bytes instead of 192"):
        make(tmp_path)
    (tmp_path / "meta.json").write_text("{}")
    with pytest.raises(UserError, match=r"meta\.json does not describe a replay"):
        make(tmp_path)


def test_a_capacity_below_one_window_per_stream_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"capacity 64 leaves 4 steps to each of 16 .* at least 80"):
        make(tmp_path, streams=16, capacity=64, length=4, context=1)
    with pytest.raises(ValueError, match=r"replay\.capacity must be at least 1 step, got 0"):
        ReplayConfig(capacity=0)


class AgainstLists(RuleBasedStateMachine):
    """Any order of adding, dropping, sampling, refreshing and reopening leaves what plain lists would hold."""

    STREAMS = 3
    batches: Bundle[Any] = Bundle("batches")

    @initialize(ring=st.integers(5, 9), length=st.integers(1, 4), context=st.integers(0, 1), online=st.booleans())
    def begin(self, ring: int, length: int, context: int, online: bool) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.ring, self.context, self.window = ring, context, context + length
        self.settings: dict[str, Any] = {"length": length, "context": context, "online": online}
        self.open()
        self.model: list[list[dict[str, Any]]] = [[] for _ in range(self.STREAMS)]
        self.drops = [0] * self.STREAMS
        self.count = 0

    def open(self) -> None:
        capacity = self.STREAMS * self.ring + 1
        self.replay = make(Path(self.folder.name), streams=self.STREAMS, capacity=capacity, **self.settings)
        self.must_begin = [True] * self.STREAMS

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            self.folder.cleanup()

    @rule(data=st.data(), repeat=st.integers(1, 4))
    def add(self, data: st.DataObject, repeat: int) -> None:
        flags = st.lists(st.booleans(), min_size=self.STREAMS, max_size=self.STREAMS)
        mask = np.array(data.draw(flags))
        for _ in range(repeat):
            first = [begin or drawn for begin, drawn in zip(self.must_begin, data.draw(flags), strict=True)]
            last = data.draw(flags)
            values = step(range(self.count, self.count + self.STREAMS), first, last)
            self.count += self.STREAMS
            self.replay.add(values, None if mask.all() else mask)
            for i in np.flatnonzero(mask):
                if first[i] and self.model[i]:
                    self.model[i][-1]["is_last"] = True
                self.model[i].append({name: values[name][i] for name in FIELDS})
                del self.model[i][: -self.ring]
                self.must_begin[i] = last[i]

    @rule(stream=st.integers(0, STREAMS - 1))
    def drop(self, stream: int) -> None:
        self.replay.drop_episode(stream)
        steps = self.model[stream]
        if steps and not steps[-1]["is_last"]:
            while steps and not steps.pop()["is_first"]:
                pass
            self.drops[stream] += 1
        self.must_begin[stream] = True

    @rule(with_state=st.booleans())
    def reopen(self, with_state: bool) -> None:
        state = json.loads(json.dumps(self.replay.state()))
        self.open()
        if with_state:
            self.replay.load_state(state)

    @precondition(lambda self: self.replay.ready(1))
    @rule(target=batches, size=st.integers(1, 5))
    def sample(self, size: int) -> Any:
        batch, index = self.replay.sample(size)
        for b in range(size):
            steps = self.model[index[b, 0]]
            at = [held["serial"] for held in steps].index(batch["serial"][b, 0])
            assert len(steps[at:]) >= self.window
            for t, held in enumerate(steps[at : at + self.window]):
                for name in FIELDS:
                    assert np.array_equal(batch[name][b, t], held[name]), name
        return self.replay, list(self.drops), batch["serial"][:, self.context :], index

    @rule(sampled=consumes(batches))
    def update(self, sampled: Any) -> None:
        replay, drops, serials, index = sampled
        if replay is not self.replay:
            return  # an index is good for the process that sampled it
        self.count += 1
        latent = np.stack([serials % 97, np.full(serials.shape, self.count % 1000)], -1)
        replay.update(index, {"deter": latent})
        for (stream, _), row, values in zip(index, serials, latent, strict=True):
            for held in self.model[stream]:
                if held["serial"] in row and self.drops[stream] == drops[stream]:
                    held["deter"] = values[row == held["serial"]][0]

    @rule()
    def every_window_can_be_drawn(self) -> None:
        expected = [
            [int(held["serial"]) for held in steps[k : k + self.window]]
            for steps in self.model
            for k in range(len(steps) - self.window + 1)
        ]
        assert self.replay.ready(len(expected))
        assert not self.replay.ready(len(expected) + 1)
        if expected:
            state, rng = self.replay.state(), self.replay._rng
            assert sorted(enumerate_windows(self.replay).tolist()) == sorted(expected)
            self.replay._rng = rng
            self.replay.load_state(state)

    @invariant()
    def rows_are_what_the_lists_hold(self) -> None:
        assert len(self.replay) == sum(map(len, self.model))
        for stream, steps in enumerate(self.model):
            rows = stream * self.ring + np.arange(self.replay._tail[stream], self.replay._head[stream]) % self.ring
            for row, held in zip(rows, steps, strict=True):
                for name in FIELDS:
                    assert np.array_equal(self.replay._rows[name][row], held[name]), name


AgainstLists.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestAgainstLists = AgainstLists.TestCase
