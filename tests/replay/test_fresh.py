"""What is new is served once, newest first, and what was dropped or overwritten is not."""

from pathlib import Path

from .ring import fill, make, starts, step


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
