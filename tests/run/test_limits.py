"""What would never learn, and what no memory holds, is refused before anything is made of it; and threads may train."""

import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from dynalang_py import envs, presets
from dynalang_py.contract import StepSpec
from dynalang_py.envs import DummyConfig
from dynalang_py.envs.dummy import Dummy
from dynalang_py.errors import UserError
from dynalang_py.run import memory
from dynalang_py.run.build import build_agent
from dynalang_py.run.limits import refuse_without_update
from dynalang_py.run.train import train

from .runs import short_config, updates_of


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"steps": 100}, r"steps 100 .* before its first update, .* prefill 100 .* at least 104, or lower --prefill"),
        (
            {"steps": 40, "prefill": 0, "batch_length": 32},
            "batch_size 4 and batch_length 32 .* or lower --batch-length",
        ),
        ({"steps": 110, "train_ratio": 1}, "at least 132"),
        ({"train_ratio": 0}, "train_ratio is 0"),
        ({"batch_size": 100_000}, r"replay.capacity 4,000 can't hold the 100,000 windows of a batch"),
    ],
)
def test_a_run_that_would_never_learn_is_refused(changes: dict[str, Any], sentence: str, tmp_path: Path) -> None:
    config = replace(presets.get("debug"), run_dir=tmp_path / "run", **changes)
    with pytest.raises(UserError, match=sentence):
        train(config)
    assert not config.run_dir.exists()


@pytest.mark.parametrize("changes", [{"prefill": 20}, {"prefill": 57}, {"prefill": 0, "train_ratio": 3}])
def test_the_least_steps_that_are_named_make_the_first_update(changes: dict[str, Any], tmp_path: Path) -> None:
    config = short_config(tmp_path / "run", baseline_episodes=0, eval_episodes=1, **changes)
    few = next(steps for steps in range(1, 200) if _allowed(replace(config, steps=steps)))
    train(replace(config, steps=few))
    assert updates_of(config.run_dir) == 1


def _allowed(config: Any) -> bool:
    try:
        refuse_without_update(config)
    except UserError:
        return False
    return True


def test_a_run_whose_minutes_ended_before_its_first_update_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = short_config(tmp_path / "run", baseline_episodes=0, eval_episodes=1, steps=200, minutes=1e-9)
    train(config)
    assert (
        "Not one update was made: the run's limits were reached before prefill (100 steps)" in capsys.readouterr().out
    )


def test_a_thread_may_train(tmp_path: Path) -> None:
    config = short_config(tmp_path / "run", steps=104, baseline_episodes=0)
    raised: list[BaseException] = []

    def work() -> None:
        try:
            train(config)
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert not raised
    assert updates_of(config.run_dir) == 1


@pytest.mark.parametrize("learns", [False, True])
def test_what_no_memory_holds_is_refused_with_its_size(learns: bool) -> None:
    config = presets.get("debug")
    wide = replace(config, model=replace(config.model, rssm=replace(config.model.rssm, hidden=2**16, deter=2**16)))
    spec = StepSpec.from_spaces(*config.env.spaces())
    with pytest.raises(UserError, match=r"of [0-9,]{14,} parameters, .* GB.* lower the widths"):
        build_agent(wide, spec, learns=learns)
    long = replace(config, batch_size=2**20, batch_length=1024)
    with pytest.raises(UserError, match="lower batch_size"):
        build_agent(long, spec, learns=True)
    build_agent(long, spec)  # whoever only plays needs no batch


def test_memory_is_what_the_process_may_take() -> None:
    script = (
        "import resource, torch; from dynalang_py.run.memory import memory;"
        "resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30)); print(memory(torch.device('cpu')))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert float(done.stdout) == 3 << 30
    assert 1e8 < memory.memory(torch.device("cpu")) < 1e16


def test_a_world_of_ones_own_is_told_what_it_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    class Settings:
        task = "mine"

    with pytest.raises(UserError, match=r"no world of the settings Settings; there are BabyAIConfig, .*extend\.md"):
        envs.make(Settings())  # type: ignore[arg-type]
    init = Dummy.__init__

    def wordless(self: Dummy, *args: Any) -> None:
        init(self, *args)
        del self.vocabulary

    monkeypatch.setattr(Dummy, "__init__", wordless)
    with pytest.raises(UserError, match="Dummy has no vocabulary"):
        envs.make(DummyConfig())
