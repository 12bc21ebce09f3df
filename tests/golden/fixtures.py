"""The folder of golden numbers, and samples that fall as they fell there."""

import json
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dynalang_py.behavior import ActorCriticConfig
from dynalang_py.contract import StepSpec
from dynalang_py.nn.random import Noise
from dynalang_py.world_model import RSSMConfig, WorldModelConfig
from dynalang_py.world_model.decoder import DecoderConfig
from dynalang_py.world_model.encoder import EncoderConfig
from dynalang_py.world_model.model import HeadConfig
from dynalang_py.world_model.objective import KLConfig

from .names import Array, tensor

FOLDER = Path(os.environ.get("GOLDEN_DIR") or Path(__file__).parents[2] / "../shared/golden").resolve()


@dataclass(frozen=True)
class Check:
    """One array of the folder, named "file/array", and what we compute in its place."""

    name: str
    ours: Tensor
    rtol: float = 1e-5
    atol: float = 1e-6
    summed: bool = False
    """Entries are sums over many features, whose float32 rounding goes with the terms and not with a small result:
    errors count relative to the array's largest entry too."""
    theirs: Tensor | None = None
    """What to compare with where it is not the array as it is, but in our layout, say."""


class File:
    """One file of arrays."""

    def __init__(self, name: str) -> None:
        self.name = name
        with np.load(FOLDER / f"{name}.npz", allow_pickle=False) as arrays:
            self.arrays: dict[str, Array] = {key: arrays[key] for key in arrays.files}

    def __getitem__(self, key: str) -> Tensor:
        return tensor(self.arrays[key])

    def under(self, prefix: str) -> dict[str, Array]:
        """Arrays below a prefix, by the rest of their names."""
        return {key.removeprefix(prefix): value for key, value in self.arrays.items() if key.startswith(prefix)}

    def check(self, key: str, ours: Tensor, **tolerance: Any) -> Check:
        return Check(f"{self.name}/{key}", ours, **tolerance)


class Golden:
    """The whole folder: what golden.json says, the files, and our configuration of the same model."""

    def __init__(self) -> None:
        self.about: dict[str, Any] = json.loads((FOLDER / "golden.json").read_text("utf-8"))
        self.config: dict[str, Any] = self.about["config"]
        self.files = {name: File(name) for name in self.about["files"]}

    def __getitem__(self, name: str) -> Tensor:
        """An array by "file/array"."""
        file, _, array = name.partition("/")
        return self.files[file][array]

    def names(self) -> list[str]:
        return [f"{file}/{array}" for file, about in self.about["files"].items() for array in about["arrays"]]

    def said(self, file: str, array: str | None, pattern: str) -> list[float]:
        """Numbers that only the prose of golden.json gives: the groups of a pattern in a note or a description."""
        about = self.about["files"][file]
        text = about["note"] if array is None else about["arrays"][array]["desc"]
        found = re.search(pattern, text)
        assert found, f"{text!r} does not say {pattern!r}"
        return [float(group) for group in found.groups()]

    @cached_property
    def spec(self) -> StepSpec:
        height, width, channels = self.config["image"]
        return StepSpec(
            images={"image": (height, width, channels)}, vocab=self.config["vocab"], actions=(self.config["actions"],)
        )

    def rssm(self, bottleneck: int = 0) -> RSSMConfig:
        c = self.config
        return RSSMConfig(
            deter=c["deter"],
            hidden=c["units"],
            stoch=c["stoch"],
            classes=c["classes"],
            blocks=1,
            bottleneck=bottleneck,
            unimix=c["unimix"],
            prior_layers=1,
        )

    @cached_property
    def model(self) -> WorldModelConfig:
        c, scales = self.config, self.config["loss_scales"]
        size = {"units": c["units"], "layers": c["layers"]}
        return WorldModelConfig(
            family="dreamer2023",
            encoder=EncoderConfig(cnn_depth=c["cnn_depth"], **size),
            rssm=self.rssm(),
            decoder=DecoderConfig(**size),
            heads=HeadConfig(**size),
            kl=KLConfig(free_nats=c["free"], dyn=scales["dyn"], rep=scales["rep"]),
            image_scale=scales["image"],
            token_scale=scales["token"],
            reward_scale=scales["reward"],
            continue_scale=scales["cont"],
            stored_latents=True,  # a row of the batch goes on from a given belief
        )

    @cached_property
    def behavior(self) -> ActorCriticConfig:
        c = self.config
        return ActorCriticConfig(
            units=c["units"],
            layers=c["layers"],
            horizon=c["imag_horizon"],
            discount_horizon=c["horizon"],
            return_lambda=c["return_lambda"],
            entropy=c["actent"],
            unimix=c["unimix"],
            actor_scale=1.0,
            discounted_continue=False,
            replay_value=0.0,
        )


class Recorded(Noise):
    """Gives the uniform numbers that make an inverted cumulative distribution fall on recorded classes."""

    def __init__(self, draws: Iterable[Tensor]) -> None:
        super().__init__(torch.device("cpu"), 0)
        self.draws = list(draws)

    def uniform(self, *shape: int) -> Tensor:
        draw = self.draws.pop(0)
        assert draw.shape == shape, f"{shape} numbers are asked for where {tuple(draw.shape)} were recorded"
        return draw

    def normal(self, *shape: int) -> Tensor:
        raise AssertionError("nothing normal was recorded")


def draw(log_prob: Tensor, onehot: Tensor) -> Tensor:
    """The middle of the drawn class's share of [0, 1]: log_prob (…, K), onehot (…, K) → (…, 1)."""
    prob = log_prob.double().exp()
    before = prob.cumsum(-1) - prob
    return ((before + prob / 2) * onehot).sum(-1, keepdim=True).float()
