import logging

import pytest

from dynalang_py.run.console import Face, Progress, duration, interval


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (59.4, "0:59"), (61, "1:01"), (3599.9, "1:00:00"), (36_061, "10:01:01")]
)
def test_durations_are_read_like_a_clock(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_means_come_with_their_interval() -> None:
    assert interval({"mean": 0.97, "low": 0.95, "high": 0.99}) == "0.970 (0.950 to 0.990)"
    assert interval({"mean": 21.25, "low": 20.0, "high": 22.5}) == "21.2 (20.0 to 22.5)"
    assert interval(None) == ""


def test_data_has_stdout_for_itself_where_asked(capsys: pytest.CaptureFixture[str]) -> None:
    face = Face(quiet=True)
    face.say("[bold] is no markup here")
    face.table("Title", [("a", "1"), ("long name", "x" * 300)])
    logging.getLogger("dynalang.envs").warning("environment 3 crashed")
    out, err = capsys.readouterr()
    assert out == ""
    assert "[bold] is no markup here\n" in err
    assert "long name  " + "x" * 300 + "\n" in err  # never cut off: it may be a path to copy
    assert "dynalang: environment 3 crashed\n" in err


def test_without_a_terminal_the_live_line_becomes_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(Face()) as progress:
        assert not progress.due()
        progress.draw("never seen")
        progress.log("10/20 steps")
        progress.log("20/20 steps")
    assert capsys.readouterr().out == "10/20 steps\n20/20 steps\n"
