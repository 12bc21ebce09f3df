"""Images to features and back, channels last, in the two styles that DreamerV3 has had.

Every stage halves (or doubles) height and width; the smallest map is at least 4 pixels wide and high. Sizes that do
not divide are padded on the right and below, and cropped again on the way out.
"""

import itertools
import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dynalang_py.errors import UserError
from dynalang_py.kernels import fused
from dynalang_py.nn.layers import BlockLinear, Dense, Family, NormSiLU, initialise, linear

_MULTIPLES_2025 = (2, 3, 4, 4)  # channels of a stage in units of the depth; later stages repeat the last


@dataclass(frozen=True)
class Pyramid:
    """The sizes of the maps between an image (height, width) and its smallest map."""

    height: int
    width: int

    @property
    def stages(self) -> int:
        shorter = min(self._to(self.height, 8), self._to(self.width, 8))
        return int(math.log2(shorter / 4))

    @property
    def padded(self) -> tuple[int, int]:
        step = max(8, 2**self.stages)
        return self._to(self.height, step), self._to(self.width, step)

    @property
    def smallest(self) -> tuple[int, int]:
        return self.padded[0] >> self.stages, self.padded[1] >> self.stages

    def channels(self, depth: int, family: Family) -> list[int]:
        """Channels after each stage of the encoder, first stage first."""
        if family == "dreamer2023":
            return [depth * 2**i for i in range(self.stages)]
        return [depth * _MULTIPLES_2025[min(i, 3)] for i in range(self.stages)]

    @staticmethod
    def _to(size: int, step: int) -> int:
        return -(-size // step) * step


class ConvEncoder(nn.Module):
    """(N, height, width, C) floats → (N, size).

    2023: 4×4 convolutions of stride 2. 2025: 5×5 convolutions, each followed by 2×2 max-pooling (`pool`, as released)
    or of stride 2 (as the paper prints; several times cheaper on a CPU).
    """

    def __init__(self, pyramid: Pyramid, channels: int, depth: int, family: Family, pool: bool) -> None:
        super().__init__()
        self.pyramid = pyramid
        self.pool = pool and family == "dreamer2025"
        widths = pyramid.channels(depth, family)
        kernel = 4 if family == "dreamer2023" else 5
        self.convs = nn.ModuleList()
        self.norms = nn.ModuleList()
        for before, after in zip([channels, *widths], widths, strict=False):
            conv = nn.Conv2d(
                before,
                after,
                kernel,
                stride=1 if self.pool else 2,
                padding=1 if kernel == 4 else 2,
                bias=family == "dreamer2025",
            )
            initialise(conv.weight, kernel**2 * before, kernel**2 * after, family)
            if conv.bias is not None:
                nn.init.zeros_(conv.bias)
            self.convs.append(conv.to(memory_format=torch.channels_last))  # type: ignore[call-overload]
            self.norms.append(NormSiLU(after, family))
        self.size = widths[-1] * math.prod(pyramid.smallest)

    def forward(self, image: Tensor) -> Tensor:
        height, width = self.pyramid.padded
        if (height, width) != image.shape[1:3]:
            image = F.pad(image, (0, 0, 0, width - image.shape[2], 0, height - image.shape[1]))
        x = image.permute(0, 3, 1, 2)  # (N, C, h, w), channels last in memory
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = conv(x)
            if self.pool:
                x = F.max_pool2d(x, 2)
            x = norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return x.permute(0, 2, 3, 1).flatten(1)


class Transposed(nn.Module):
    """A transposed 4×4 convolution of stride 2, without bias: (N, h, w, inputs) → (N, 2h, 2w, outputs)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs, 4, 4))
        initialise(self.weight, 16 * inputs, 16 * outputs, "dreamer2023")

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight.transpose(0, 1).contiguous(memory_format=torch.channels_last)
        return F.conv_transpose2d(x.permute(0, 3, 1, 2), weight, stride=2, padding=1).permute(0, 2, 3, 1)


class Doubling(nn.Module):
    """Double height and width with one 3×3 convolution at the low resolution.

    Computes exactly what a transposed 4×4 convolution of stride 2 does (2023), or nearest-neighbour doubling followed
    by a 5×5 convolution (2025): each pixel of the output reads 3×3 pixels of the input at most, so the four outputs
    that stand over one input pixel are four sets of channels. 2.8 times fewer multiplications than the 5×5 form; 2.3
    times more than the transposed one, which is slower all the same where it has an image's few channels to fill.

    (N, h, w, inputs) → (N, h, w, 4, outputs), to be normed over the last axis and then interleaved.
    """

    def __init__(self, inputs: int, outputs: int, family: Family) -> None:
        super().__init__()
        # taps[p, r, k] is 1 where kernel row k of output row 2i + p reads input row i + r - 1.
        if family == "dreamer2023":
            taps = torch.tensor(
                [[[0, 0, 0, 1], [0, 1, 0, 0], [0, 0, 0, 0]], [[0, 0, 0, 0], [0, 0, 1, 0], [1, 0, 0, 0]]]
            )
        else:
            taps = torch.tensor(
                [
                    [[1, 1, 0, 0, 0], [0, 0, 1, 1, 0], [0, 0, 0, 0, 1]],
                    [[1, 0, 0, 0, 0], [0, 1, 1, 0, 0], [0, 0, 0, 1, 1]],
                ]
            )
        kernel = taps.shape[-1]
        spread = torch.einsum("pry,qsx->yxpqrs", taps, taps).reshape(kernel**2, 36).float()
        self.spread: Tensor
        self.register_buffer("spread", spread, persistent=False)
        self.weight = nn.Parameter(torch.empty(outputs, inputs, kernel, kernel))
        initialise(self.weight, kernel**2 * inputs, kernel**2 * outputs, family)
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):  # a few numbers per weight: not worth a cast
            phases = self.weight.flatten(2) @ self.spread  # (out, in, 36)
        phases = phases.unflatten(-1, (4, 3, 3)).permute(2, 0, 1, 3, 4).flatten(0, 1)  # (4·out, in, 3, 3)
        phases = phases.contiguous(memory_format=torch.channels_last)
        out = F.conv2d(x.permute(0, 3, 1, 2), phases, self.bias.repeat(4), padding=1)
        return out.permute(0, 2, 3, 1).unflatten(-1, (4, -1))


def interleave(phases: Tensor) -> Tensor:
    """(N, h, w, 4, C) → (N, 2h, 2w, C)."""
    if fused.serves(phases):
        return fused.interleave(phases)
    n, height, width, _, channels = phases.shape
    return phases.view(n, height, width, 2, 2, channels).transpose(2, 3).reshape(n, 2 * height, 2 * width, channels)


class NormSiLUInterleave(NormSiLU):
    """A norm over channels and a SiLU, then the phases of Doubling side by side: (N, h, w, 4, C) → (N, 2h, 2w, C)."""

    def forward(self, x: Tensor) -> Tensor:
        if self.is_fused(x):
            return fused.norm_silu_interleave(x, self.scale, self.bias, self.epsilon)
        return interleave(super().forward(x))


class ConvDecoder(nn.Module):
    """A smallest map (N, h, w, C') → image (N, height, width, C), before the output's own non-linearity."""

    def __init__(self, pyramid: Pyramid, channels: int, depth: int, family: Family) -> None:
        super().__init__()
        self.pyramid = pyramid
        widths = pyramid.channels(depth, family)[::-1]
        self.inputs = widths[0]
        self.convs = nn.ModuleList()
        self.norms = nn.ModuleList()
        for before, after in itertools.pairwise(widths):
            if family == "dreamer2023":
                self.convs.append(Transposed(before, after))
                self.norms.append(NormSiLU(after, family))
            else:
                self.convs.append(Doubling(before, after, family))
                self.norms.append(NormSiLUInterleave(after, family))
        self.last = Doubling(widths[-1], channels, family)

    def forward(self, x: Tensor) -> Tensor:
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = norm(conv(x))
        return interleave(self.last(x))[:, : self.pyramid.height, : self.pyramid.width].float()


class ImageDecoder2023(nn.Module):
    """deter (N, D), stoch (N, S·K) → image (N, height, width, C): linear, then transposed convolutions."""

    def __init__(self, pyramid: Pyramid, deter: int, stoch: int, channels: int, depth: int) -> None:
        super().__init__()
        self.net = ConvDecoder(pyramid, channels, depth, "dreamer2023")
        self.start = linear(deter + stoch, self.net.inputs * math.prod(pyramid.smallest), "dreamer2023")

    def forward(self, deter: Tensor, stoch: Tensor) -> Tensor:
        start = self.start(torch.cat([deter, stoch], -1))
        return self.net(start.unflatten(-1, (*self.net.pyramid.smallest, -1)))


class ImageDecoder2025(nn.Module):
    """deter (N, D), stoch (N, S·K) → image (N, height, width, C).

    deter reaches the smallest map through a block-diagonal layer, stoch through two dense ones.
    """

    def __init__(
        self, pyramid: Pyramid, deter: int, stoch: int, channels: int, depth: int, units: int, blocks: int
    ) -> None:
        super().__init__()
        self.net = ConvDecoder(pyramid, channels, depth, "dreamer2025")
        if self.net.inputs % blocks:
            raise UserError(
                f"model.encoder.cnn_depth {depth} gives the decoder's first map {self.net.inputs} channels, which"
                f" must be divisible by model.rssm.blocks, {blocks}"
            )
        size = self.net.inputs * math.prod(pyramid.smallest)
        self.from_deter = BlockLinear(deter, size, blocks, fan_in=deter)
        self.from_stoch = nn.Sequential(Dense(stoch, 2 * units, "dreamer2025"), linear(2 * units, size, "dreamer2025"))
        self.norm = NormSiLU(self.net.inputs, "dreamer2025")

    def forward(self, deter: Tensor, stoch: Tensor) -> Tensor:
        height, width = self.net.pyramid.smallest
        # Block g writes its share of the channels at every position of the map.
        own = self.from_deter(deter).unflatten(-1, (self.from_deter.blocks, height, width, -1))
        x = own.permute(0, 2, 3, 1, 4).flatten(3) + self.from_stoch(stoch).unflatten(-1, (height, width, -1))
        return self.net(self.norm(x))
