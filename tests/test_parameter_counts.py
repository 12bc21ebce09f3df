"""Parameter counts of the published sizes, counted on the meta device: no memory, no time."""

import pytest
import torch

from dynalang_py.agent import Agent
from dynalang_py.behavior import ActorCriticConfig
from dynalang_py.contract import StepSpec
from dynalang_py.nn.optim import OptimizerConfig
from dynalang_py.world_model import RSSMConfig, WorldModelConfig
from dynalang_py.world_model.decoder import DecoderConfig
from dynalang_py.world_model.encoder import EncoderConfig
from dynalang_py.world_model.model import HeadConfig

IMAGE = {"image": (64, 64, 3)}
WORLD_MODEL = ("image encoder", "text encoder", "dynamics", "image decoder", "text decoder", "reward", "continue")


def count_2025(spec: StepSpec, deter: int, units: int, classes: int, depth: int) -> dict[str, int]:
    model = WorldModelConfig(
        encoder=EncoderConfig(cnn_depth=depth, units=units),
        rssm=RSSMConfig(deter=deter, hidden=units, classes=classes),
        decoder=DecoderConfig(units=units),
        heads=HeadConfig(units=units),
    )
    return count(spec, model, ActorCriticConfig(units=units), OptimizerConfig())


def count_2023(
    spec: StepSpec, deter: int, depth: int, units: int, layers: int, *, bottleneck: int = 0, latents: int = 32
) -> dict[str, int]:
    rssm = RSSMConfig(deter=deter, hidden=units, stoch=latents, classes=latents, bottleneck=bottleneck, prior_layers=1)
    model = WorldModelConfig(
        family="dreamer2023",
        encoder=EncoderConfig(cnn_depth=depth, units=units, layers=layers),
        rssm=rssm,
        decoder=DecoderConfig(units=units, layers=layers),
        heads=HeadConfig(units=units, layers=layers),
    )
    behavior = ActorCriticConfig(units=units, layers=layers, replay_value=0.0)
    return count(spec, model, behavior, OptimizerConfig(joint=False))


def count(
    spec: StepSpec, model: WorldModelConfig, behavior: ActorCriticConfig, optimizer: OptimizerConfig
) -> dict[str, int]:
    device = torch.device("meta")
    agent = Agent(spec, model=model, behavior=behavior, optimizer=optimizer, device=device)
    assert all(tensor.is_meta for tensor in [*agent.model.parameters(), *agent.behavior.parameters()])
    table = agent.parameter_table()
    assert table["total"] == sum(number for part, number in table.items() if part != "total")
    return table


# Sizes by name: deter, hidden, classes, depth; counts with 17 actions (DreamerV3, code of 2025).
@pytest.mark.parametrize(
    ("size", "total"),
    [
        ((512, 64, 4, 4), 687_875),
        ((2048, 256, 16, 16), 10_498_259),
        ((3072, 384, 24, 24), 23_495_475),
        ((4096, 512, 32, 32), 41_658_259),
        ((6144, 768, 48, 48), 93_480_531),
        ((8192, 1024, 64, 64), 165_965_075),
        ((12288, 1536, 96, 96), 372_920_979),
    ],
)
def test_sizes_of_2025(size: tuple[int, int, int, int], total: int) -> None:
    assert count_2025(StepSpec(images=IMAGE, actions=(17,)), *size)["total"] == total


def test_the_parts_of_200m() -> None:
    table = count_2025(StepSpec(images=IMAGE, actions=(17,)), 8192, 1024, 64, 64)
    assert table == {
        "dynamics": 95_495_168,
        "image decoder": 20_282_115,
        "critic": 12_850_431,
        "actor": 12_606_481,
        "reward": 10_749_183,
        "continue": 10_488_833,
        "image encoder": 3_492_864,
        "total": 165_965_075,
    }


def test_the_parts_of_1m_on_walker() -> None:
    """24 numbers seen, 6 continuous actions, no image; tokens and vectors share their nets, under the texts' name."""
    assert count_2025(StepSpec(vectors={"state": 24}, continuous=6), 512, 64, 4, 4) == {
        "dynamics": 364_416,
        "critic": 66_111,
        "reward": 57_663,
        "text decoder": 51_096,
        "actor": 50_316,
        "continue": 41_153,
        "text encoder": 10_112,
        "total": 640_867,
    }


SMALL, MEDIUM, LARGE, XLARGE = (512, 32, 512, 2), (1024, 48, 640, 3), (2048, 64, 768, 4), (4096, 96, 1024, 5)


# Dynalang's figures (arXiv 2308.01399), in millions; `vocab` 32,100 is T5's, one-hot.
@pytest.mark.parametrize(
    ("spec", "size", "bottleneck", "millions"),
    [
        (StepSpec(images=IMAGE, vocab=32_100, actions=(10,)), SMALL, 0, 52.4),
        (StepSpec(images=IMAGE, vocab=32_100, actions=(10,)), MEDIUM, 0, 81.4),
        (StepSpec(images=IMAGE, vocab=32_100, actions=(10,)), LARGE, 0, 132.6),
        (StepSpec(images=IMAGE, vocab=32_100, actions=(10,)), XLARGE, 0, 281.2),
        (StepSpec(images=IMAGE, vocab=40, actions=(10,)), SMALL, 0, 19.5),
        (StepSpec(images=IMAGE, vocab=40, actions=(10,)), XLARGE, 0, 215.5),
        (StepSpec(images={"image": (16, 16, 17)}, token_embed=512, actions=(5,)), XLARGE, 0, 148.1),
        (
            StepSpec(images={"depth": (64, 64, 3), **IMAGE}, token_embed=512, actions=(4,)),
            (8192, 96, 1024, 5),
            1024,
            267.9,
        ),
        (StepSpec(images=IMAGE, vocab=15, actions=(4, 15)), (6144, 96, 1024, 5), 2048, 244.9),
    ],
    ids=[
        "homegrid S",
        "homegrid M",
        "homegrid L",
        "homegrid XL",
        "40 ids S",
        "40 ids XL",
        "messenger",
        "vln",
        "langroom",
    ],
)
def test_sizes_of_2023(spec: StepSpec, size: tuple[int, int, int, int], bottleneck: int, millions: float) -> None:
    assert round(count_2023(spec, *size, bottleneck=bottleneck)["total"] / 1e6, 1) == millions


def test_the_world_model_that_reads_alone() -> None:
    """Messenger's with T5's vocabulary: what pretraining on text trains."""
    table = count_2023(StepSpec(images={"image": (16, 16, 17)}, vocab=32_100, actions=(5,)), *XLARGE)
    assert round(sum(table[part] for part in WORLD_MODEL) / 1e6, 1) == 193.6


def test_the_parts_of_a_small_homegrid_agent() -> None:
    spec = StepSpec(images=IMAGE, vocab=32_100, actions=(10,))
    assert count_2023(spec, 256, 16, 256, 2, latents=16) == {
        "image encoder": 173_280,
        "text encoder": 8_284_160,
        "dynamics": 1_317_120,
        "image decoder": 1_223_651,
        "text decoder": 8_447_332,
        "reward": 263_167,
        "continue": 197_889,
        "actor": 200_202,
        "critic": 263_167,
        "total": 20_369_968,
    }
