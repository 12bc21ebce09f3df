import json
import os
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import get_args

import pytest

from dynalang_py import cli, presets, verbs
from dynalang_py.config import Config
from dynalang_py.envs import EnvConfig, list_tasks
from dynalang_py.options import descriptions
from dynalang_py.run.evaluate import EvalConfig

LATER = "import atexit; atexit.register(lambda: (os.kill(os.getpid(), signal.SIGINT), time.sleep(60)))"
"""While the interpreter shuts down."""


def _run(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[int, str, str]:
    code = cli.main(args)
    out, err = capsys.readouterr()
    return code, out, err


@pytest.mark.parametrize("args", [(), ("--help",), ("help",)])
def test_help_shows_every_verb_with_an_example(capsys: pytest.CaptureFixture[str], args: tuple[str, ...]) -> None:
    code, out, _ = _run(capsys, *args)
    assert code == 0
    for verb in verbs.VERBS:
        assert f"\n  dynalang {verb}" in out


def test_presets_are_listed_one_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = _run(capsys, "presets")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == presets.names()
    assert all(len(line.split()) > 3 for line in out.splitlines())
    assert list(json.loads(_run(capsys, "presets", "--json")[1])) == presets.names()


def test_a_preset_is_shown_with_its_settings_and_sizes(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = _run(capsys, "presets", "debug", "--json")
    shown = json.loads(out)
    assert code == 0
    assert shown["settings"]["model"]["rssm"]["deter"] == 32
    parts = shown["parameters"]
    assert parts["total"] == sum(count for part, count in parts.items() if part != "total") > 1000
    assert "model.rssm.deter" in _run(capsys, "presets", "debug")[1]


@pytest.mark.parametrize("command", ["train debug --help", *(f"{verb} --help" for verb in verbs.VERBS)])
def test_each_verb_explains_itself(capsys: pytest.CaptureFixture[str], command: str) -> None:
    with pytest.raises(SystemExit) as end:  # as tyro ends; the others return
        sys.exit(cli.main(command.split()))
    assert not end.value.code
    assert f"dynalang {command.split()[0]}" in capsys.readouterr().out


def test_help_without_a_preset_or_a_run_lists_what_can_be_set(capsys: pytest.CaptureFixture[str]) -> None:
    trains = _run(capsys, "train", "--help")[1]
    for name in presets.PRESETS:
        assert f"  {name} " in trains
    for word in ("--steps ", "--env.task ", "--size ", "dynalang train --resume RUN"):
        assert word in trains
    reads = _run(capsys, "pretrain", "--help")[1]
    assert "text-small" in reads
    assert "--corpus " in reads
    plays = _run(capsys, "eval", "--help")[1]
    for word in ("--episodes", "--policy {agent,random,expert}", "--language shuffled", "dynalang eval RUN [-h]"):
        assert word in plays
    assert "--env.choices" not in plays
    assert "--temperature" in _run(capsys, "generate", "--help")[1]


def test_docstrings_are_shown_without_the_line_breaks_of_the_source() -> None:
    for kind in (Config, EvalConfig, *get_args(EnvConfig)):
        texts = descriptions(kind)
        assert texts.keys() == {item.name for item in fields(kind)}
        assert not any("\n" in text or "  " in text for text in texts.values())


def test_worlds_are_listed_with_their_tasks_and_settings(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = _run(capsys, "worlds")
    assert code == 0
    for family, tasks in list_tasks().items():
        assert family in out
        assert tasks[0] in out if tasks else f"dynalang_py[{family}]" in out
    code, out, _ = _run(capsys, "worlds", "homegrid")
    assert code == 0
    assert out.splitlines()[:4] == list(list_tasks()["homegrid"])
    assert "--env.read-steps" in out
    shown = json.loads(_run(capsys, "worlds", "dummy", "--json")[1])
    assert shown["dummy"]["settings"]["choices"] == 4
    assert shown["dummy"]["tasks"] == list(list_tasks()["dummy"])


def test_options_carry_their_docstrings(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["train", "debug", "--help"])
    shown = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "--train-ratio FLOAT How often each environment step is replayed" in shown
    assert "--env.task STR" in shown
    assert "--model.rssm.deter INT D: width of the deterministic state. (default: 32)" in shown


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        ("trian babyai", "there is no verb 'trian'; there are presets, train, eval, pretrain, "),
        ("presets babyia", "there is no preset 'babyia'; "),
        ("presets a b", "name one preset, got a b"),
        ("worlds babyay", "there is no family of worlds 'babyay'; there are babyai, "),
        ("worlds a b", "name one family of worlds, got a b"),
        ("train debug --env.task nothing-near-it --run-dir {tmp}", "All are listed by: dynalang worlds dummy"),
        (
            "train debug --behavior.actor-scale 1e400",
            "behavior.actor_scale must be at least 0 and at most 1e+30, got inf",
        ),
        ("train debug --model.heads.layers 2147483648", "model.heads.layers must be at least 1 and at most 100"),
        ("train debug --seed 1000000000000000000000000000000", "seed must be at least 0"),
        (
            "train debug --model.rssm.hidden 60000 --model.rssm.deter 60000 --run-dir {tmp}/x",
            "GB for weights, gradients and the optimiser",
        ),
        ("bench --actions=-9", "actions must be at least 1 and at most 4,096, got -9"),
        ("train debug --run-dir ~nobody-is-called-this/x", "begins with ~, and there is no such home folder"),
        ("train --resume a\0b", "has a zero byte in it"),
        ("presets --jsn", "there is no option --jsn. Did you mean '--json'?"),
        ("train", "name a preset, as in: dynalang train babyai"),
        ("train babyay", "Did you mean 'babyai'?"),
        ("train --steps 3 debug", "name a preset before --steps"),
        ("train --resume", "--resume needs the folder of a run"),
        ("train debug --stpes 3", "there is no option --stpes. Did you mean '--steps'?"),
        ("train debug --deter 3", "there is no option --deter. Did you mean '--model.rssm.deter'?"),
        ("train debug --env.tusk x", "there is no option --env.tusk. Did you mean '--env.task'?"),
        ("train debug --quux", "there is no option --quux. --help lists them."),
        ("train debug --size smal", "there is no size 'smal'; "),
        ("train debug --size", "--size needs the name of a size"),
        ("train debug --steps many", "--steps is 'many'; allowed is a whole number"),
        ("train debug --batch_size=x", "--batch-size is 'x'; allowed is a whole number"),
        ("train debug --minutes x", "--minutes is 'x'; allowed is a number or nothing"),
        ("train debug --steps", "--steps needs a value: a whole number"),
        ("train debug --device tpu", "--device is 'tpu'; allowed is 'auto', 'cpu', 'cuda'"),
        ("train debug --compile yes", "Unrecognized options: yes; dynalang train debug --help lists the options"),
        ("train debug --steps -3", "steps must be at least 1, got -3"),
        ("train debug --model.rssm.deter 33", "model.rssm.deter must be divisible by blocks (2), got 33"),
        ("train debug --env.task dummy-discreet --run-dir {tmp}", "Did you mean 'dummy-discrete'?"),
        ("train debug --replay.capacity 20 --run-dir {tmp}", "replay.capacity 20 can't hold the 4 windows of a batch"),
        ("train --resume {tmp}/nowhere", "there is no folder {tmp}/nowhere"),
        ("train --resume {tmp}", "{tmp} is not a run: it has no config.json"),
        ("eval", "name the folder of a run, as in: dynalang eval runs/babyai"),
        ("eval --json", "name the folder of a run before --json"),
        ("eval {tmp}", "{tmp} is not a run: it has no config.json"),
    ],
)
def test_bad_input_gets_one_sentence_and_exit_code_2(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, command: str, sentence: str
) -> None:
    code, out, err = _run(capsys, *command.format(tmp=tmp_path).split())
    assert code == 2
    assert out == ""
    assert err.startswith("dynalang: ")
    assert err.count("\n") == 1
    assert sentence.format(tmp=tmp_path) in err


def test_a_missing_extra_is_named_with_the_command_that_brings_it(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "minigrid", None)
    code, _, err = _run(capsys, "train", "babyai", "--run-dir", str(tmp_path / "run"))
    assert code == 2
    assert "pip install 'dynalang_py[babyai]'" in err
    assert not (tmp_path / "run" / "config.json").exists()


def test_what_can_be_said_without_torch_is_said_without_it() -> None:
    script = (
        "import sys; from dynalang_py.cli import main; main(['--help']); main(['--version']); main(['trian']);"
        "sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)


def test_the_working_directory_shadows_nothing(tmp_path: Path) -> None:
    for name in ("difflib", "tokenizers", "torch"):
        (tmp_path / f"{name}.py").write_text("raise RuntimeError('imported from the working directory')")
    env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [sys.executable, "-m", "dynalang_py", "presets"]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "babyai" in done.stdout


@pytest.mark.parametrize("when", ["import slow", "os.kill(os.getpid(), signal.SIGINT); time.sleep(60)", LATER])
def test_ctrl_c_ends_with_130_and_no_traceback_whenever_it_comes(when: str, tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text("import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(60)\n")
    script = f"""
import os, signal, sys, time
from dynalang_py import cli, verbs
def work(args):
    {when}
verbs.VERBS["bench"] = work
sys.argv = ["dynalang", "bench"]
sys.exit(cli.main())
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 130
    assert not done.stderr


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("[enforce] can't allocate memory: you tried ...\nmore")])
def test_a_lack_of_memory_is_told_in_one_sentence(
    error: Exception, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def work(args: list[str]) -> None:
        raise error

    monkeypatch.setitem(verbs.VERBS, "bench", work)
    code, _, err = _run(capsys, "bench")
    assert code == 2
    assert err.startswith("dynalang: there is not enough memory")
    assert err.count("\n") == 1


@pytest.mark.parametrize("args", [["--help"], ["--version"], ["presets"], ["train", "debug", "--help"]])
def test_a_reader_that_has_seen_enough_is_no_error(args: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Even if all that it has not read is still in the buffer when the command ends."""
    read, write = os.pipe()
    os.close(read)
    out = open(write, "w", buffering=2**20)  # noqa: SIM115  closed below, where it used to fail
    monkeypatch.setattr(sys, "stdout", out)
    assert cli.main(args) == 0
    out.close()
