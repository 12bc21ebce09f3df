"""Faults of the release that no other test keeps us from; and that the tests named in docs/faithful.md exist."""

import re
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces

from dynalang_py.contract import StepSpec
from dynalang_py.envs import VectorEnv
from dynalang_py.nn.layers import Family, Norm
from dynalang_py.replay import Replay
from dynalang_py.run.clock import Clock
from dynalang_py.run.counters import Counters
from dynalang_py.run.driver import Driver, RandomPolicy
from dynalang_py.world_model import RSSMConfig, WorldModelConfig
from dynalang_py.world_model.decoder import DecoderConfig
from dynalang_py.world_model.encoder import EncoderConfig
from dynalang_py.world_model.model import HeadConfig, WorldModel

ROOT = Path(__file__).parents[1]
SPEC = StepSpec(images={"depth": (16, 16, 1), "image": (16, 16, 3)}, vocab=5, actions=(3,))


def world_model(spec: StepSpec, family: Family = "dreamer2023", **decoder: Any) -> WorldModel:
    config = WorldModelConfig(
        family=family,
        encoder=EncoderConfig(cnn_depth=2, units=8, layers=1),
        rssm=RSSMConfig(deter=8, hidden=8, stoch=2, classes=4, blocks=2),
        decoder=DecoderConfig(units=8, layers=1, **decoder),
        heads=HeadConfig(units=8),
    )
    return WorldModel(spec, config)


def read(model: WorldModel, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """What the image encoder is given: (B·T, height, width, C)."""
    given: list[torch.Tensor] = []
    assert model.encoder.image is not None
    model.encoder.image.register_forward_pre_hook(lambda _, args: given.append(args[0]))
    model.encoder(batch)
    return given[0]


def test_depth_is_normalised_once_as_every_image_is() -> None:
    grey = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16, 1)
    batch = {"depth": grey, "image": grey.expand(-1, -1, -1, -1, 3), "token": torch.zeros(1, 1)}
    seen = read(world_model(SPEC), batch)
    assert seen.shape == (1, 16, 16, 4)
    torch.testing.assert_close(seen[0, ..., 0].flatten(), torch.linspace(-0.5, 0.5, 256))
    assert (seen == seen[..., :1]).all()


@pytest.mark.parametrize("family", ["dreamer2023", "dreamer2025"])
def test_symbols_are_read_as_zero_and_one_and_predicted_as_such(family: Family) -> None:
    spec = StepSpec(images={"image": (16, 16, 17)}, vocab=5, actions=(3,))
    model = world_model(spec, family, image_loss="bernoulli")
    symbols = torch.randint(2, (2, 3, 16, 16, 17), generator=torch.Generator().manual_seed(0), dtype=torch.uint8) * 255
    batch = {"image": symbols, "token": torch.zeros(2, 3, dtype=torch.long)}
    assert set(read(model, batch).unique().tolist()) == {-0.5, 0.5}
    belief = {"deter": torch.randn(2, 3, 8), "stoch": torch.randn(2, 3, 2, 4)}
    decoded = model.decoder(belief)
    loss = model.decoder.losses(decoded, batch)["image"]
    assert decoded.image is not None
    probability = decoded.image.sigmoid()
    expected = -torch.where(symbols == 255, probability, 1 - probability).log().sum((-3, -2, -1))
    torch.testing.assert_close(loss, expected)


def test_symbols_of_2023_have_their_logits_shifted_by_a_half() -> None:
    """As the release's do, whose decoder adds it to squared-error means and logits alike."""
    spec = StepSpec(images={"image": (16, 16, 2)}, actions=(3,))
    belief = {"deter": torch.zeros(1, 1, 8), "stoch": torch.zeros(1, 1, 2, 4)}
    for loss in ("mse", "bernoulli"):
        model = world_model(spec, image_loss=loss)
        assert model.decoder.image is not None
        for param in model.decoder.image.parameters():
            torch.nn.init.zeros_(param)
        assert model.decoder(belief).image.unique().tolist() == [0.5]


@pytest.mark.parametrize(("family", "offset"), [("dreamer2023", True), ("dreamer2025", False)])
def test_the_norm_of_2025_has_no_offset(family: Family, offset: bool) -> None:
    norm = Norm(4, family)
    assert (len(list(norm.parameters())) == 2) == offset
    assert (norm(torch.zeros(3, 4)) == 0).all()


class Wordless(gymnasium.Env[Any, Any]):
    """Neither words nor reading steps."""

    vocabulary = ("<pad>",)
    observation_space = spaces.Dict({"image": spaces.Box(0, 255, (8, 8, 3), np.uint8)})
    action_space = spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self._age = 0
        return {"image": np.zeros((8, 8, 3), np.uint8)}, {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self._age += 1
        return {"image": np.full((8, 8, 3), self._age, np.uint8)}, 1.0, self._age == 5, False, {}


def test_an_environment_need_not_know_of_reading_steps(tmp_path: Path) -> None:
    with VectorEnv(Wordless, 2, processes=False) as vector:
        spec = StepSpec.from_spaces(vector.single_observation_space, vector.single_action_space)
        replay = Replay(tmp_path, spec.fields(), streams=2, capacity=100, length=4)
        counters = Counters()
        driver = Driver(vector, spec, replay, seed=0, timeout_is_terminal=True, clock=Clock(), counters=counters)
        policy = RandomPolicy(spec, seed=0)
        ended = [episode for _ in range(12) for episode in driver.step(policy)]
    assert counters.steps == counters.acting_steps == 24
    assert [(episode["length"], episode["acting_length"]) for episode in ended] == [(5, 5)] * 4


def test_the_page_on_faithfulness_names_tests_that_exist() -> None:
    page = (ROOT / "docs" / "faithful.md").read_text("utf-8")
    named = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", page)
    assert len(named) > 20
    for path, test in named:
        assert re.search(rf"^def {test}\(", (ROOT / path).read_text("utf-8"), re.MULTILINE), f"{path}::{test}"
