import itertools
import json
import os
import re
import resource
import shutil
import signal
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dynalang_py import cli, envs
from dynalang_py.contract import StepSpec
from dynalang_py.envs import DummyConfig
from dynalang_py.envs.dummy import Dummy
from dynalang_py.errors import UserError
from dynalang_py.run import evaluate
from dynalang_py.run.driver import RandomPolicy
from dynalang_py.run.episodes import means
from dynalang_py.run.evaluate import Evaluation, Evaluator, interval, summarise

CONFIG = DummyConfig(max_steps=3)


class Obedient:
    """Does what it hears; the word comes at the first step and is remembered."""

    def initial(self, n: int) -> NDArray[np.int64]:
        return np.zeros(n, np.int64)

    def act(
        self, obs: dict[str, NDArray[Any]], is_first: NDArray[np.bool_], state: NDArray[np.int64]
    ) -> tuple[NDArray[Any], NDArray[np.int64], dict[str, NDArray[Any]]]:
        state = np.where(is_first, obs["token"] - 2, state)
        return state[:, None], state, {}


def _spec() -> StepSpec:
    env = envs.make(CONFIG)
    return StepSpec.from_spaces(env.observation_space, env.action_space)


def _play(slots: int, count: int, *, policy: Any = None, movies: int = 0) -> Evaluation:
    evaluator = Evaluator(CONFIG, _spec(), slots, render=movies > 0)
    found = evaluator.play(policy or RandomPolicy(_spec(), seed=0), range(100, 100 + count), movies=movies)
    evaluator.close()
    return found


@pytest.mark.parametrize("slots", [1, 4, 40])
def test_every_seed_is_played_once_whatever_the_episodes_last(slots: int) -> None:
    found = _play(slots, 30)
    assert [episode["seed"] for episode in found.episodes] == list(range(100, 130))
    assert len({episode["length"] for episode in found.episodes}) > 1


def test_a_seed_is_the_same_episode_in_any_company() -> None:
    alone, together = _play(1, 20, policy=Obedient()), _play(7, 20, policy=Obedient())
    assert alone.episodes == together.episodes
    assert len({episode["text"] for episode in alone.episodes}) == 4


def test_who_obeys_succeeds_and_who_guesses_does_not() -> None:
    assert summarise(_play(4, 20, policy=Obedient()).episodes)["success"] == {
        "mean": 1.0,
        "low": 1.0,
        "high": 1.0,
        "episodes": 20,
    }
    assert summarise(_play(4, 200).episodes)["return"]["mean"] < 0.6


def test_the_first_episodes_are_filmed_from_their_first_to_their_last_frame() -> None:
    found = _play(2, 5, policy=Obedient(), movies=3)
    assert len(found.movies) == 3
    for movie, episode in zip(found.movies, found.episodes, strict=False):
        assert movie.episode == episode
        assert len(movie.frames) == len(movie.words) == len(movie.sentences) == episode["length"] + 1
        assert movie.words[0] == movie.sentences[0] == episode["text"]
        assert movie.frames[0].shape == (64, 64, 3)


def test_an_evaluation_that_is_broken_off_counts_no_episode_for_being_short() -> None:
    """Where the first episode is the longest, those behind it are over before it: they are told apart."""
    whole = _play(5, 50).episodes
    begin = next(i for i in range(40) if whole[i]["length"] > max(whole[i + 1]["length"], whole[i + 2]["length"]))
    evaluator = Evaluator(CONFIG, _spec(), 3)
    told: list[int] = []

    def progress(done: int, share: float) -> None:
        told.append(done)
        assert 0 <= share <= 1
        assert (share > 0) == (done > 0)

    seeds = range(100 + begin, 150)
    found = evaluator.play(
        RandomPolicy(_spec(), seed=0), seeds, stop=lambda: len(told) > 2 and told[-1] > 0, progress=progress
    )
    evaluator.close()
    ended = [*found.episodes, *found.later]
    assert 0 < len(ended) == told[-1] < len(seeds)
    assert [episode["seed"] for episode in found.episodes] == list(seeds[: len(found.episodes)])


def test_ctrl_c_keeps_the_episodes_that_had_ended(
    finished: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "debug"
    shutil.copytree(finished[0], run)
    before = set((run / "eval").iterdir())
    steps, step = itertools.count(1), Dummy.step

    def interrupted(self: Dummy, action: Any) -> Any:
        if next(steps) == 100:
            os.kill(os.getpid(), signal.SIGINT)
        return step(self, action)

    monkeypatch.setattr(Dummy, "step", interrupted)
    assert cli.main(["eval", str(run), "--episodes", "400", "--policy", "random"]) == 130
    (kept,) = set((run / "eval").iterdir()) - before
    saved = json.loads(kept.read_text())
    played = len(saved["episodes"])
    assert 0 < played < 400
    assert saved["stopped"] == {"asked": 400, "played": played}
    assert saved["summary"]["return"]["episodes"] == played
    assert [episode["seed"] for episode in saved["episodes"]] == list(range(1_000_000, 1_000_000 + played))
    assert f"{played} of 400 episodes; stopped" in capsys.readouterr().out


def test_ctrl_c_before_an_episode_ended_keeps_nothing(
    finished: tuple[Path, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = set((finished[0] / "eval").iterdir())
    reset = Dummy.reset

    def interrupted(self: Dummy, **seed: Any) -> Any:
        os.kill(os.getpid(), signal.SIGINT)
        monkeypatch.undo()  # the second one would end this process
        return reset(self, **seed)

    monkeypatch.setattr(Dummy, "reset", interrupted)
    assert cli.main(["eval", str(finished[0]), "--json"]) == 130
    out, err = capsys.readouterr()
    assert out == ""
    assert "Stopped before the first episode had ended" in err
    assert set((finished[0] / "eval").iterdir()) == before


def _copied(finished: tuple[Path, str], tmp_path: Path) -> Path:
    shutil.copytree(finished[0], tmp_path / "debug", ignore=shutil.ignore_patterns("replay", "events", "pictures"))
    return tmp_path / "debug"


def test_evaluations_of_one_second_are_kept_side_by_side(
    finished: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stopped(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> "Stopped":
            return cls(2026, 1, 2, 3, 4, 5)

    monkeypatch.setattr(evaluate, "datetime", Stopped)
    run = _copied(finished, tmp_path)
    for seed in (1, 2, 3):
        call = ["eval", str(run), "--episodes", "1", "--policy", "random", "--seed", str(seed), "--video", "1"]
        assert cli.main(call) == 0
    kept = {path.name: path for path in (run / "eval").glob("20260102-030405*")}
    stems = [f"20260102-030405-random{end}" for end in ("", "-2", "-3")]
    assert kept.keys() == {f"{stem}{kind}" for stem in stems for kind in (".json", ".gif")}
    seeds = [json.loads(kept[f"{stem}.json"].read_text())["episodes"][0]["seed"] for stem in stems]
    assert seeds == [1, 2, 3]


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_what_can_not_be_saved_is_printed_all_the_same(
    finished: tuple[Path, str], tmp_path: Path, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    run = _copied(finished, tmp_path)
    before = {path.name for path in (run / "eval").iterdir()}
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, old[1]))  # root may write where nobody may
    try:
        assert cli.main(["eval", str(run), "--episodes", "2", "--policy", "random", *options]) == 0
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
    out, err = capsys.readouterr()
    assert "return" in (json.loads(out)["summary"] if options else out)
    assert re.fullmatch(rf"dynalang: {run}/eval/\S+-random\.json could not be written: File too large\n", err)
    assert {path.name for path in (run / "eval").iterdir()} == before


@pytest.mark.parametrize(
    "text",
    [
        *("", "{}", "[]", "3", "[" * 100_000, '{"summary": 3}', '{"summary": []}', '{"summary": {"return": {}}}'),
        '{"summary": {"return": {"mean": "x", "low": 0, "high": 0, "episodes": 1}}}',
        '{"summary": {"return": {"mean": 1e999, "low": 0, "high": 0, "episodes": 1}}}',
    ],
)
def test_a_baseline_of_other_things_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "random.json").write_text(text)
    assert evaluate.load_summary(tmp_path / "random.json") is None
    assert evaluate.load_summary(tmp_path / "nowhere.json") is None


def test_a_baseline_with_strange_names_is_shown_as_it_is(
    finished: tuple[Path, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = _copied(finished, tmp_path)
    entry = {"mean": 1, "low": 0, "high": 2, "episodes": 3}
    (run / "eval" / "random.json").write_text(json.dumps({"summary": {"[/b]": entry}}))
    assert cli.main(["eval", str(run), "--episodes", "2"]) == 0
    assert "[/b]" in capsys.readouterr().out


def test_a_world_that_breaks_is_made_anew_and_its_episode_played_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    whole = _play(2, 6, policy=Obedient())
    steps, step = itertools.count(1), Dummy.step

    def sometimes(self: Dummy, action: Any) -> Any:
        if next(steps) in (2, 9):
            raise RuntimeError("the simulator ran out of floor")
        return step(self, action)

    monkeypatch.setattr(Dummy, "step", sometimes)
    assert _play(2, 6, policy=Obedient()).episodes == whole.episodes
    assert [record.levelname for record in caplog.records] == ["WARNING"] * 2


def test_a_world_that_always_breaks_ends_the_evaluation(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(self: Dummy, action: Any) -> Any:
        raise RuntimeError("no floor at all")

    monkeypatch.setattr(Dummy, "step", never)
    with pytest.raises(UserError, match="failed 3 times at seed 100: RuntimeError"):
        _play(1, 2)


def test_intervals_are_as_wide_as_theory_says() -> None:
    values = np.random.default_rng(1).normal(5, 2, 400)
    low, high = interval(values.tolist())
    half = 1.96 * values.std() / np.sqrt(len(values))
    assert low == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert high == pytest.approx(values.mean() + half, abs=0.1 * half)
    assert interval([3.0]) == (3.0, 3.0)


def test_a_number_that_does_not_apply_does_not_count() -> None:
    episodes: list[dict[str, Any]] = [
        {"seed": 0, "text": "a", "return": 1.0, "faced": float("nan"), "never": float("nan")},
        {"seed": 1, "text": "b", "return": 0.0, "faced": 1.0, "never": float("nan")},
    ]
    summary = summarise(episodes)
    assert summary.keys() == {"return", "faced"}
    assert (summary["faced"]["mean"], summary["faced"]["episodes"]) == (1.0, 1)
    assert means([{k: v for k, v in episode.items() if k != "seed"} for episode in episodes]) == {
        "return": 0.5,
        "faced": 1.0,
    }
