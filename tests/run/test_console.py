import logging

import pytest

from dynalang_py.run import console
from dynalang_py.run.console import Face, Progress, duration, intervals


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (59.4, "0:59"), (61, "1:01"), (3599.9, "1:00:00"), (36_061, "10:01:01")]
)
def test_durations_are_read_like_a_clock(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_means_come_with_their_interval_and_stand_below_each_other() -> None:
    one, other = {"mean": 0.97, "low": 0.95, "high": 0.99}, {"mean": 121.25, "low": 20.0, "high": 222.5}
    assert intervals([one]) == ["0.970 (0.950 to 0.990)"]
    assert intervals([one, None, other]) == ["0.970 (0.950 to 0.990)", "", "121.2 ( 20.0 to 222.5)"]


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


def test_work_tells_how_far_it_is_and_what_is_left(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with Progress(Face()) as progress:
        count = progress.counting("episodes", 4_000, "evaluating: ")
        count(1)
        assert capsys.readouterr().out == ""  # no terminal: a line now and then, not one for each
        monkeypatch.setattr(console, "SPARSE", 0.0)
        count = progress.counting("episodes", 4_000, "evaluating: ")
        count(0)
        count(2_000)
        count(2_000, 0.9999)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "evaluating: 0 of 4,000 episodes"
    assert lines[1:] == ["evaluating: 2,000 of 4,000 episodes, 0:00 left"] * 2


@pytest.mark.parametrize("terminal", ["xterm", "dumb"])
def test_only_a_terminal_that_can_gets_control_characters(
    terminal: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", terminal)
    with Progress(Face()) as progress:
        progress.draw("3/20 steps")
        progress.log("10/20 steps")
    out = capsys.readouterr().out
    assert ("\x1b[?25l" in out) == ("3/20 steps" in out) == (terminal == "xterm")
    assert ("10/20 steps\n" in out) == (terminal == "dumb")


@pytest.mark.parametrize("width", [20, 40, 100])
def test_a_narrow_terminal_cuts_no_number(
    width: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    summary = {"success": {"mean": 0.5, "low": 0.25, "high": 0.75}}
    Face().results("task, 100 episodes", {"agent": summary, "random policy": summary})
    lines = capsys.readouterr().out.splitlines()
    rows = [line.split() for line in lines if line.strip().startswith("success")]
    numbers = ["0.500", "(0.250", "to", "0.750)"]
    assert rows == ([["success", *numbers, *numbers]] if width == 100 else [["success", *numbers]] * 2)
