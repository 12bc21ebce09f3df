"""The faithful presets against the published figures, and their sizes through the command line."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from dynalang_py import cli, presets
from dynalang_py.config import Config, flatten, to_dict
from dynalang_py.contract import StepSpec
from dynalang_py.envs import HomeGridConfig, LangRoomConfig, MessengerConfig, VLNConfig
from dynalang_py.published import PUBLISHED
from dynalang_py.run.describe import parameter_table
from dynalang_py.sizes import resized
from dynalang_py.text import config as readers

HOMEGRID = tuple(f"dynalang-homegrid-{kind}" for kind in ("task", "future", "dynamics", "corrections"))
MESSENGER = tuple(f"dynalang-messenger-s{stage}" for stage in (1, 2, 3))

# name: windows, length, train ratio, deter, bottleneck, million steps, million parameters
FIGURES: dict[str, tuple[int, int, float, int, int, float, float]] = {
    **dict.fromkeys(HOMEGRID, (16, 256, 32, 4096, 0, 50, 281.2)),
    "dynalang-messenger-s1": (16, 256, 64, 4096, 0, 1, 148.1),
    "dynalang-messenger-s2": (24, 256, 64, 4096, 0, 25, 148.1),
    "dynalang-messenger-s3": (24, 512, 32, 4096, 0, 50, 148.1),
    "dynalang-vln": (8, 256, 32, 8192, 1024, 30, 267.9),
    "dynalang-langroom": (16, 64, 16, 6144, 2048, 45, 244.9),
}

# What all of them share: Dynalang's world model, actor-critic and optimisers (arXiv 2308.01399, DreamerV3 of 2023).
SHARED = {
    "model.family": "dreamer2023",
    "model.encoder.cnn_depth": 96,
    "model.encoder.units": 1024,
    "model.encoder.layers": 5,
    "model.encoder.learned_absence": False,
    "model.rssm.hidden": 1024,
    "model.rssm.stoch": 32,
    "model.rssm.classes": 32,
    "model.rssm.unimix": 0.01,
    "model.rssm.prior_layers": 1,
    "model.decoder.units": 1024,
    "model.decoder.layers": 5,
    "model.heads.units": 1024,
    "model.heads.layers": 5,
    "model.kl.free_nats": 1.0,
    "model.kl.dyn": 0.5,
    "model.kl.rep": 0.1,
    "model.token_scale": 1.0,
    "model.stored_latents": False,
    "behavior.units": 1024,
    "behavior.layers": 5,
    "behavior.horizon": 15,
    "behavior.starts": 1.0,
    "behavior.discount_horizon": 333.0,
    "behavior.return_lambda": 0.95,
    "behavior.entropy": 3e-4,
    "behavior.unimix": 0.01,
    "behavior.actor_scale": 1.0,
    "behavior.slow_rate": 0.02,
    "behavior.slow_weight": 1.0,
    "behavior.discounted_continue": False,
    "behavior.replay_value": 0.0,
    "optimizer.joint": False,
    "optimizer.lr": 1e-4,
    "optimizer.behavior_lr": 3e-5,
    "optimizer.model_norm": 1000.0,
    "optimizer.behavior_norm": 100.0,
    "replay.capacity": 1_000_000,
    "replay.online": False,
    "minutes": None,
}


def settings(config: Config) -> dict[str, Any]:
    return dict(flatten(to_dict(config)))


def test_there_is_a_preset_for_every_figure() -> None:
    assert FIGURES.keys() == PUBLISHED.keys()
    assert PUBLISHED.keys() <= presets.PRESETS.keys()


@pytest.mark.parametrize("name", FIGURES)
def test_settings_are_the_published_ones(name: str) -> None:
    config = presets.get(name)
    windows, length, ratio, deter, bottleneck, million_steps, _ = FIGURES[name]
    found = settings(config)
    assert {key: found[key] for key in SHARED} == SHARED
    assert (config.batch_size, config.batch_length, config.train_ratio) == (windows, length, ratio)
    assert (config.model.rssm.deter, config.model.rssm.bottleneck) == (deter, bottleneck)
    assert config.steps == million_steps * 1e6
    assert config.prefill == windows * length
    # Time limits are stored as ends in all tasks but LangRoom.
    assert config.timeout_is_terminal == (name != "dynalang-langroom")
    assert config.model.decoder.image_loss == ("bernoulli" if name in MESSENGER else "mse")
    assert {config.model.image_scale, config.model.reward_scale, config.model.continue_scale} == {1.0}
    assert (config.model.foretell_scale, config.model.foresee_scale) == (0, 0)


def test_the_tasks_themselves() -> None:
    for name in HOMEGRID:
        assert presets.get(name).env == HomeGridConfig(task=name.removeprefix("dynalang-"), tokens="t5")
    for stage, share in ((1, 0.75), (2, 0.5), (3, 0.75)):
        env = presets.get(f"dynalang-messenger-s{stage}").env
        assert env == MessengerConfig(task=f"messenger-s{stage}", tokens="embed", several_roles=share)
    assert presets.get("dynalang-langroom").env == LangRoomConfig(task="answer-only")
    env = presets.get("dynalang-vln").env
    assert isinstance(env, VLNConfig)
    # Everything but where the data lie, how it is drawn and what is heard is R2R's in continuous environments, too.
    assert env == VLNConfig(
        data=env.data,
        scenes=env.scenes,
        simulator="habitat",
        render_size=256,
        depth_channels=3,
        tokens="embed",
        pause=0,
        radius=3,
    )
    assert (env.max_steps, env.forward, env.turn, env.stop_reward, env.stop_penalty) == (500, 0.25, 15, 1000, -10)


IMAGE = {"image": (64, 64, 3)}


@pytest.mark.parametrize(
    ("name", "spec"),
    [
        ("dynalang-homegrid-task", StepSpec(images=IMAGE, vocab=32_100, actions=(10,))),
        ("dynalang-messenger-s3", StepSpec(images={"image": (16, 16, 17)}, token_embed=512, actions=(5,))),
        ("dynalang-vln", StepSpec(images={"depth": (64, 64, 3), **IMAGE}, token_embed=512, actions=(4,))),
        ("dynalang-langroom", StepSpec(images=IMAGE, vocab=15, actions=(5, 15))),
    ],
)
def test_what_is_seen_heard_and_done(name: str, spec: StepSpec) -> None:
    assert StepSpec.from_spaces(*presets.get(name).env.spaces()) == spec


@pytest.fixture
def _bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """No task's package is installed."""
    for module in ("homegrid", "langroom", "messenger", "messenger.envs", "gym", "transformers"):
        monkeypatch.setitem(sys.modules, module, None)


@pytest.mark.usefixtures("_bare")
@pytest.mark.parametrize("name", FIGURES)
def test_the_command_line_tells_the_published_size(capsys: pytest.CaptureFixture[str], name: str) -> None:
    assert cli.main(["presets", name, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    parts = shown["parameters"]
    assert round(parts["total"] / 1e6, 1) == FIGURES[name][-1]
    assert parts["total"] == sum(number for part, number in parts.items() if part != "total")
    assert shown["settings"]["batch_length"] == FIGURES[name][1]
    assert parameter_table(presets.get(name)) == parts


@pytest.mark.parametrize(("size", "millions"), [("small", 52.4), ("medium", 81.4), ("large", 132.6), ("xlarge", 281.2)])
def test_homegrid_in_every_size(capsys: pytest.CaptureFixture[str], size: str, millions: float) -> None:
    assert cli.main(["presets", "dynalang-homegrid-future", "--size", size, "--json"]) == 0
    assert round(json.loads(capsys.readouterr().out)["parameters"]["total"] / 1e6, 1) == millions


def test_the_same_size_again_changes_nothing() -> None:
    for name in (*HOMEGRID, *MESSENGER):
        assert resized(presets.get(name), "xlarge") == presets.get(name)


@pytest.mark.parametrize("size", ["small", "cpu"])
def test_another_size_keeps_what_belongs_to_the_task(size: str) -> None:
    text, messenger = resized(readers.get("dynalang-text"), size), resized(presets.get("dynalang-messenger-s1"), size)
    assert text.model.decoder.image_loss == messenger.model.decoder.image_loss == "bernoulli"
    assert (text.model.image_scale, text.model.reward_scale, text.model.continue_scale) == (0, 0, 0)
    assert text.model.encoder.units < 1024


def test_another_size_keeps_tiles_and_experts() -> None:
    """An agent of another size sees the same tiles, of as many kinds, and imitates whoever the first one did."""
    door, bigger = presets.get("gotodoor").model, resized(presets.get("gotodoor"), "size12m").model
    assert bigger.rssm.deter > door.rssm.deter
    assert (bigger.encoder.patch, bigger.encoder.prototypes) == (door.encoder.patch, True)
    assert (bigger.rssm.classes, bigger.rssm.patch_stoch) == (door.rssm.classes, 1)
    assert (bigger.rssm.unimix, bigger.rssm.map) == (door.rssm.unimix, door.rssm.map)
    home = resized(presets.get("homegrid-task"), "size12m").model
    assert (home.encoder.patch, home.rssm.patch_stoch, home.rssm.classes) == (8, 4, 16)
    assert resized(presets.get("babyai"), "size12m").model.rssm.echo == presets.get("babyai").model.rssm.echo > 0
    walker = presets.get("vln")
    larger = resized(walker, "size12m")
    assert larger.model.rssm.mapped
    assert larger.model.rssm.map == walker.model.rssm.map
    for name in ("imitation", "inflection"):
        assert getattr(larger.behavior, name) == getattr(walker.behavior, name) > 0


def test_the_published_reading_is_that_of_512_windows_of_128() -> None:
    config = readers.get("dynalang-text")
    assert (config.batch_size, config.batch_length, config.tokenizer, config.reset) == (512, 128, "t5", False)
    assert (config.model.image_scale, config.model.reward_scale, config.model.continue_scale) == (0, 0, 0)
    assert (config.model.token_scale, config.model.foretell_scale) == (1, 0)
    shared = {name: value for name, value in SHARED.items() if name.split(".")[0] in ("model", "optimizer")}
    found = dict(flatten(to_dict(config)))
    assert {key: found[key] for key in shared} == shared
    assert config.spec(32_100) == StepSpec(images={"image": (16, 16, 17)}, vocab=32_100, actions=(5,))


def test_a_world_model_that_reads_alone_has_no_actor(capsys: pytest.CaptureFixture[str]) -> None:
    table = parameter_table(readers.get("dynalang-text"))
    assert table["total"] == 193_641_845
    assert not {"actor", "critic"} & table.keys()
    assert {"reward", "continue", "image encoder", "image decoder"} <= table.keys()
    assert {"actor", "critic"} <= parameter_table(presets.get("dynalang-messenger-s1")).keys()


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (("presets", "debug", "--size", "smal"), "there is no size 'smal'; "),
        (("presets", "debug", "--size", "size12"), "Did you mean 'size12m'?"),
        (("presets", "debug", "--size"), "--size needs the name of a size"),
        (("presets", "--size", "small"), "name the preset whose size shall be small"),
        (("train", "dynalang-messenger-s9"), "Did you mean 'dynalang-messenger-s"),
        (("train", "debug", "--size", "sizem"), "there is no size 'sizem'"),
    ],
)
def test_mistakes_are_told(capsys: pytest.CaptureFixture[str], args: tuple[str, ...], sentence: str) -> None:
    assert cli.main(args) == 2
    assert sentence in capsys.readouterr().err


def test_every_summary_is_one_line_that_says_published() -> None:
    for name in PUBLISHED:
        assert presets.summary(name).startswith("Published: ")
        assert presets.summary(name).endswith(".")
    assert Path("runs", "dynalang-vln") == presets.get("dynalang-vln").run_dir
