"""Sentences for people: commands that they can copy, names that they may have meant, values cut to length."""

import shlex

import pytest

from dynalang_py import presets
from dynalang_py.config import flatten, to_dict
from dynalang_py.errors import UserError, command, nearest
from dynalang_py.options import refuse_options


def test_a_command_to_copy_survives_the_shell() -> None:
    words = ("dynalang", "train", "--resume", "my runs/it's $HOME", "--steps", 7)
    assert shlex.split(command(*words)) == [str(word) for word in words]
    assert command("dynalang", "eval", "runs/a") == "dynalang eval runs/a"


OPTIONS = [f"--{name.replace('_', '-')}" for name, _ in flatten(to_dict(presets.get("debug")))]


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("--stpes", "--steps"),
        ("--env.tusk", "--env.task"),
        ("--deter", "--model.rssm.deter"),
        ("--batch", "--batch-size"),
        ("--checkpoint", "--checkpoint-minutes"),
        ("--episodes", "--eval-episodes"),
        ("--rundir", "--run-dir"),
        ("--langauge", "--env.language"),
        ("--envtask", "--env.task"),
        ("--n-envs", "--envs"),
        *(
            (far, None)
            for far in ("--gpus", "--split", "--quux", "--resume", "--wandb", "--epochs", "--port", "--name")
        ),
    ],
)
def test_a_near_option_is_guessed_and_a_far_one_is_not(typed: str, meant: str | None) -> None:
    with pytest.raises(UserError) as refusal:
        refuse_options([typed], OPTIONS)
    assert str(refusal.value).endswith(f"Did you mean '{meant}'?" if meant else "--help lists them.")


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("babyia", "babyai"), ("homegrid", "homegrid-task"), ("vnl", "vln"), ("langrom", "langroom"), ("dbug", "debug")]
    + [(far, None) for far in ("atari", "crafter", "minecraft", "foo")],
)
def test_a_far_preset_is_no_guess(typed: str, meant: str | None) -> None:
    assert nearest(typed, presets.names()) == (f" Did you mean {meant!r}?" if meant else "")
