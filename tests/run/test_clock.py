import time

import pytest

from dynalang_py.run.clock import Clock


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, to be set by hand."""
    now = [100.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    return now


def test_shares_are_of_the_time_since_the_last_restart(now: list[float]) -> None:
    clock = Clock()
    with clock("env"):
        now[0] += 1
    for _ in range(2):
        with clock("update"):
            now[0] += 3
    now[0] += 3
    elapsed, shares = clock.restart()
    assert elapsed == 10
    assert shares == pytest.approx({"env": 0.1, "update": 0.6, "other": 0.3})
    with clock("env"):
        now[0] += 2
    assert clock.restart() == (2, {"env": 1.0, "other": 0.0})


def test_pauses_do_not_count(now: list[float]) -> None:
    clock = Clock()
    now[0] += 1
    with clock.paused():
        now[0] += 50
        assert clock.elapsed == 1
    assert clock.elapsed == 1


def test_what_fails_took_its_time_nevertheless(now: list[float]) -> None:
    def fail(seconds: float) -> None:
        now[0] += seconds
        raise ValueError("no")

    clock = Clock()
    with pytest.raises(ValueError, match="no"), clock("env"):
        fail(4)
    with pytest.raises(ValueError, match="no"), clock.paused():
        fail(5)
    assert clock.restart() == (4, {"env": 1.0, "other": 0.0})
