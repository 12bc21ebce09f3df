"""Belief → what should be seen and heard in it: image, token and vectors, each with its loss."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dynalang_py.bounds import Layers, Width, check
from dynalang_py.contract import StepSpec
from dynalang_py.nn.conv import ImageDecoder2023, ImageDecoder2025, Pyramid
from dynalang_py.nn.functional import symlog, token_nll
from dynalang_py.nn.layers import MLP, Family, linear
from dynalang_py.nn.patches import PatchDecoder, Patches, PrototypeDecoder
from dynalang_py.world_model.encoder import EncoderConfig, merge_images, merged_image
from dynalang_py.world_model.rssm import RSSMConfig, State


@dataclass(frozen=True, kw_only=True)
class DecoderConfig:
    units: Width = 256
    """Width of the layers that predict tokens and vectors."""
    layers: Layers = 3
    """How many such layers."""
    image_loss: Literal["mse", "bernoulli"] = "mse"
    """Squared error summed over pixels, or a Bernoulli per entry for symbolic images, whose entries are 0 or 255."""

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class Decoded:
    """Predictions (…) of one belief; None where the environment gives no such thing."""

    image: Tensor | None = None
    """(…, height, width, C): mean in [0, 1], or Bernoulli logits."""
    token: Tensor | None = None
    """(…, V) logits, or (…, width): the token embedding, symlog-squashed."""
    vectors: Tensor | None = None
    """(…, width): all vectors side by side, symlog-squashed."""


class Decoder(nn.Module):
    """Predict the observation from deter (…, D) and stoch (…, S, K), and score it against the truth."""

    def __init__(
        self, spec: StepSpec, encoder: EncoderConfig, rssm: RSSMConfig, config: DecoderConfig, family: Family
    ) -> None:
        super().__init__()
        self.spec = spec
        self.config = config
        self.family = family
        self.deter = rssm.deter
        """Width of the cell's state, with which deter begins."""
        stoch = free = rssm.stoch * rssm.classes
        self.image: nn.Module | None = None
        if spec.images:
            height, width, channels = merged_image(spec)
            if encoder.patch:
                patches = Patches(height, width, encoder.patch)
                own = rssm.patch_stoch * rssm.classes
                stoch += patches.count * own
                if encoder.prototypes:
                    self.image = PrototypeDecoder(patches, own, channels, family)
                else:
                    self.image = PatchDecoder(patches, rssm.deter, own, channels, encoder.cnn_depth, family)
            elif family == "dreamer2023":
                self.image = ImageDecoder2023(Pyramid(height, width), rssm.deter, stoch, channels, encoder.cnn_depth)
            else:
                self.image = ImageDecoder2025(
                    Pyramid(height, width), rssm.deter, stoch, channels, encoder.cnn_depth, rssm.hidden, rssm.blocks
                )
        self.silent = stoch - free if encoder.prototypes or rssm.mapped else 0
        """How much of stoch belongs to patches, and with a map says nothing of tokens and vectors."""
        self.flat: MLP | None = None
        flat_sizes = {"token": spec.vocab or spec.token_embed, "vectors": sum(spec.vectors.values())}
        if any(flat_sizes.values()):
            self.flat = MLP(rssm.deter + stoch - self.silent, config.units, config.layers, family)
            self.outs = nn.ModuleDict(
                {name: linear(config.units, size, family) for name, size in flat_sizes.items() if size}
            )

    def forward(self, state: State, image: bool = True) -> Decoded:
        """image: whether to predict images too; where only the text counts it saves most of the time."""
        deter = state["deter"][..., : self.deter]
        stoch = state["stoch"].flatten(-2).to(deter.dtype)
        seen = None
        if self.image is not None and image:
            lead = deter.shape[:-1]
            seen = self.image(deter.flatten(0, -2), stoch.flatten(0, -2)).unflatten(0, lead)
            if self.family == "dreamer2023":
                seen = seen + 0.5  # to logits too, as in the release
            elif self.config.image_loss == "mse":
                seen = seen.sigmoid()
        if self.flat is None:
            return Decoded(image=seen)
        x = self.flat(torch.cat([deter, stoch[..., self.silent :]], -1))
        return Decoded(image=seen, **{name: out(x) for name, out in self.outs.items()})

    def losses(self, decoded: Decoded, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Loss of each prediction in nats or squared units: {image, token, vectors} → (B, T).

        A key `image_present` or `token_present` (B, T) in the batch silences the loss of what is absent.
        """
        losses = {}
        if decoded.image is not None:
            target = merge_images(self.spec, batch) / 255
            if self.config.image_loss == "mse":
                error = F.mse_loss(decoded.image, target, reduction="none")
            else:
                error = F.binary_cross_entropy_with_logits(decoded.image, target, reduction="none")
            losses["image"] = error.sum((-3, -2, -1))
        if decoded.token is not None:
            if self.spec.vocab:
                losses["token"] = token_nll(decoded.token, batch["token"])
            else:
                losses["token"] = (decoded.token.float() - symlog(batch["token_embed"])).square().sum(-1)
        if decoded.vectors is not None:
            vectors = torch.cat([batch[name].float() for name in self.spec.vectors], -1)
            losses["vectors"] = (decoded.vectors.float() - symlog(vectors)).square().sum(-1)
        for name in losses.keys() & {"image", "token"}:
            if f"{name}_present" in batch:
                losses[name] = losses[name] * batch[f"{name}_present"]
        return losses

    def pixels(self, image: Tensor) -> Tensor:
        """Predicted image → (…, height, width, C) uint8."""
        mean = image if self.config.image_loss == "mse" else image.sigmoid()
        return (mean.clamp(0, 1) * 255).round().to(torch.uint8)
