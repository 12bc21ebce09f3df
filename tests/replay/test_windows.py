"""Windows: which are drawn, how often, what they carry, and refreshed latents on their way back."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from .ring import FIELDS, enumerate_windows, fill, make, starts, step


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
