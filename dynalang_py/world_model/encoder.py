"""One observation → one embedding: [image features, features of token and vectors]."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dynalang_py.bounds import Layers, Width, Within, check
from dynalang_py.contract import StepSpec
from dynalang_py.errors import UserError
from dynalang_py.nn.conv import ConvEncoder, Pyramid
from dynalang_py.nn.functional import symlog
from dynalang_py.nn.layers import MLP, Family, NormSiLU, initialise
from dynalang_py.nn.patches import NO_SITES, PatchEncoder, Patches, PrototypeEncoder, Sites


@dataclass(frozen=True, kw_only=True)
class EncoderConfig:
    cnn_depth: Annotated[int, Within(1, 4096)] = 16
    """Channels of the image encoder and decoder are multiples of this."""
    downsample: Literal["stride", "pool"] = "stride"
    """How 2025 encoders halve an image: stride 2 (the paper; fast on a CPU) or max-pooling (the released code)."""
    patch: Annotated[int, Within(0, 1024)] = 0
    """Side in pixels of patches that are read and drawn by the same layers each, instead of convolutions; for worlds of
    tiles, whose side it should be. 0: convolutions."""
    prototypes: bool = False
    """Name each patch by the nearest of up to rssm.classes prototypes, which are patches that were seen, instead of
    learning latents for it, and keep a map of them (settings rssm.map): for worlds of few kinds of tiles."""
    units: Width = 256
    """Width of the layers that read tokens and vectors."""
    layers: Layers = 3
    """How many such layers."""
    learned_absence: bool = False
    """An absent image or token is a learned vector instead of zeros: for models that also learn from text alone."""

    def __post_init__(self) -> None:
        check(self)
        if self.prototypes and not self.patch:
            raise ValueError("prototypes needs patch, the side of what they name, got 0")


class Encoder(nn.Module):
    """Batch of observations → embed (B, T, E).

    Reads the images (B, T, height, width, C) uint8, `token` (B, T) ids or `token_embed` (B, T, width) floats, and the
    vectors (B, T, width) floats. A key `image_present` or `token_present` (B, T) bool, where it is there, replaces the
    features of what is absent by zeros or by a learned vector. A batch that has no images at all, only text, costs
    nothing for them.
    """

    def __init__(self, spec: StepSpec, config: EncoderConfig, family: Family, names: int) -> None:
        """names: up to how many prototypes are kept, where the configuration wants any."""
        super().__init__()
        self.spec = spec
        self.image: ConvEncoder | PatchEncoder | PrototypeEncoder | None = None
        self.flat: FlatEncoder | None = None
        self.size = 0
        self.sites = NO_SITES
        if spec.images:
            height, width, channels = merged_image(spec)
            if config.patch:
                patches = Patches(height, width, config.patch)
                if config.prototypes:
                    self.image = PrototypeEncoder(patches, channels, names)
                else:
                    self.image = PatchEncoder(patches, channels, config.cnn_depth, family)
                self.sites = Sites(patches.rows, patches.columns, self.image.width)
            else:
                self.image = ConvEncoder(
                    Pyramid(height, width), channels, config.cnn_depth, family, config.downsample == "pool"
                )
            self.absent_image = _absent(self.image.size, config.learned_absence and not config.prototypes)
            self.size += self.image.size
        if spec.vocab or spec.token_embed or spec.vectors:
            self.flat = FlatEncoder(spec, config, family)
            self.absent_token = _absent(config.units, config.learned_absence)
            self.size += config.units

    def take_in(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Let what is new in a batch's images become prototypes, where there are any; returns figures to show."""
        if not isinstance(self.image, PrototypeEncoder):
            return {}
        if has_images(self.spec, batch):
            self.image.take_in(self._pixels(batch).flatten(0, 1))
        return {"model/prototypes": self.image.kept}

    def _pixels(self, batch: Mapping[str, Tensor]) -> Tensor:
        return merge_images(self.spec, batch) / 255 - 0.5

    def forward(self, batch: Mapping[str, Tensor]) -> Tensor:
        parts = []
        if self.image is not None and has_images(self.spec, batch):
            pixels = self._pixels(batch)
            image = self.image(pixels.flatten(0, 1)).unflatten(0, pixels.shape[:2])
            parts.append(_where_present(batch.get("image_present"), image, self.absent_image))
        elif self.image is not None:
            lead = batch["is_first"].shape
            zeros = torch.zeros(self.image.size, device=batch["is_first"].device)
            parts.append((zeros if self.absent_image is None else self.absent_image).expand(*lead, -1))
        if self.flat is not None:
            flat = self.flat(batch)
            parts.append(_where_present(batch.get("token_present"), flat, self.absent_token))
        return torch.cat(parts, -1)


class FlatEncoder(nn.Module):
    """MLP over [vectors, token], whose first layer looks token ids up in a table (a one-hot times a matrix)."""

    def __init__(self, spec: StepSpec, config: EncoderConfig, family: Family) -> None:
        super().__init__()
        self.spec = spec
        floats = sum(spec.vectors.values()) + spec.token_embed
        inputs = floats + spec.vocab
        # One matrix for all inputs: its first rows read the floats, one row each belongs to the tokens.
        self.table = nn.Parameter(torch.empty(inputs, config.units))
        initialise(self.table, inputs, config.units, family)
        self.bias = nn.Parameter(torch.zeros(config.units)) if family == "dreamer2025" else None
        self.norm = NormSiLU(config.units, family)
        self.mlp = MLP(config.units, config.units, config.layers - 1, family)

    def forward(self, batch: Mapping[str, Tensor]) -> Tensor:
        floats = [symlog(batch[name].float()) for name in self.spec.vectors]
        if self.spec.token_embed:
            floats.append(batch["token_embed"])
        parts = []
        if floats:
            parts.append(torch.cat(floats, -1) @ self.table[: self.table.shape[0] - self.spec.vocab])
        if self.spec.vocab:
            parts.append(F.embedding(batch["token"].long(), self.table[-self.spec.vocab :]))
        if self.bias is not None:
            parts.append(self.bias)
        return self.mlp(self.norm(torch.stack(torch.broadcast_tensors(*parts)).sum(0)))


def merged_image(spec: StepSpec) -> tuple[int, int, int]:
    """(height, width, channels) of all images of a step laid over each other. Raises UserError if sizes differ."""
    sizes = {(height, width) for height, width, _ in spec.images.values()}
    if len(sizes) != 1:
        raise UserError(f"all images of an observation must have one size, got {dict(spec.images)}")
    (height, width) = sizes.pop()
    return height, width, sum(channels for _, _, channels in spec.images.values())


def has_images(spec: StepSpec, batch: Mapping[str, Tensor]) -> bool:
    """Whether a batch shows anything at all; windows of text don't."""
    return all(name in batch for name in spec.images)


def merge_images(spec: StepSpec, batch: Mapping[str, Tensor]) -> Tensor:
    """The images of a batch side by side on the channel axis, as floats from 0 to 255: (B, T, height, width, C)."""
    return torch.cat([batch[name] for name in spec.images], -1).float()


def _absent(width: int, learned: bool) -> nn.Parameter | None:
    return nn.Parameter(torch.zeros(width)) if learned else None


def _where_present(present: Tensor | None, features: Tensor, absent: Tensor | None) -> Tensor:
    if present is None:
        return features
    if absent is None:
        return features * present[..., None]
    return torch.where(present[..., None], features, absent.to(features.dtype))
