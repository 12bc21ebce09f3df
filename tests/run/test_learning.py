"""The whole loop learns to listen, from nothing, in a minute or so: the one test that no single part can pass."""

from dataclasses import replace
from pathlib import Path

import pytest

from dynalang_py import presets
from dynalang_py.behavior import ActorCriticConfig
from dynalang_py.config import Config
from dynalang_py.envs import DummyConfig
from dynalang_py.nn.layers import Family
from dynalang_py.nn.optim import OptimizerConfig
from dynalang_py.run.evaluate import EvalConfig, evaluate_run
from dynalang_py.run.folder import RunFolder
from dynalang_py.run.train import train
from dynalang_py.world_model import RSSMConfig, WorldModelConfig
from dynalang_py.world_model.decoder import DecoderConfig
from dynalang_py.world_model.encoder import EncoderConfig
from dynalang_py.world_model.model import HeadConfig


def listener(run_dir: Path, family: Family) -> Config:
    """Four words, four actions, one image that tells nothing: 4 points for who listens, about 1.3 for who doesn't."""
    return Config(
        env=DummyConfig(),
        model=WorldModelConfig(
            family=family,
            encoder=EncoderConfig(cnn_depth=4, units=64, layers=1),
            rssm=RSSMConfig(deter=64, hidden=64, stoch=8, classes=8, blocks=4, prior_layers=1),
            decoder=DecoderConfig(units=64, layers=1),
            heads=HeadConfig(units=64),
        ),
        behavior=ActorCriticConfig(units=64, layers=1, horizon=5, discount_horizon=20, entropy=1e-2),
        optimizer=OptimizerConfig(lr=3e-3, warmup=20),
        replay=presets.get("debug").replay,
        run_dir=run_dir,
        envs=8,
        batch_size=16,
        batch_length=8,
        train_ratio=32,
        prefill=512,
        eval_every=0,
        eval_episodes=16,
        baseline_episodes=0,
        precision="float32",
    )


@pytest.mark.parametrize("family", ["dreamer2023", "dreamer2025"])
def test_an_agent_learns_to_do_what_it_is_told(family: Family, tmp_path: Path) -> None:
    config = listener(tmp_path / "run", family)
    folder = RunFolder(config.run_dir)

    def reached(world: DummyConfig) -> float:
        return evaluate_run(folder, EvalConfig(env=world, episodes=64))["summary"]["return"]["mean"]

    for steps in range(4_000, 16_001, 4_000):
        train(replace(config, steps=steps), resume=folder.config.exists())
        told, misled = reached(DummyConfig()), reached(DummyConfig(language="shuffled"))
        if told > 3 and misled < 2:
            break
    assert told > 3
    assert misled < 2
