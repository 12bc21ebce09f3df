"""Linear layers, norms and their initialisation, in the two styles that DreamerV3 has had."""

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dynalang_py.kernels import fused

Family = Literal["dreamer2023", "dreamer2025"]
"""dreamer2023: LayerNorm, no bias before a norm, fan-average. dreamer2025: RMSNorm, bias everywhere, fan-in."""

_TRUNCATED_STD = 0.87962566103423978  # standard deviation of a unit normal truncated at ±2


def initialise(weight: Tensor, fan_in: int, fan_out: int, family: Family, scale: float = 1.0) -> None:
    """Fill with a normal truncated at ±2σ, in place; scale 0 gives zeros. fan_out counts in the 2023 family alone."""
    fan = (fan_in + fan_out) / 2 if family == "dreamer2023" else fan_in
    std = scale / math.sqrt(fan) / _TRUNCATED_STD
    if std == 0:
        nn.init.zeros_(weight)
    else:
        nn.init.trunc_normal_(weight, std=std, a=-2 * std, b=2 * std)


class Norm(nn.Module):
    """LayerNorm (ε 1e-3) or RMSNorm (ε 1e-4, no offset) over the last axis, statistics in float32."""

    def __init__(self, width: int, family: Family) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width)) if family == "dreamer2023" else None
        self.epsilon = 1e-3 if family == "dreamer2023" else 1e-4

    def forward(self, x: Tensor) -> Tensor:
        if self.bias is not None:
            return F.layer_norm(x, self.scale.shape, self.scale, self.bias, self.epsilon)
        rms: Tensor = _RMSNorm.apply(x, self.scale, self.epsilon)
        return rms


class NormSiLU(Norm):
    """A norm, and the SiLU that follows it nearly everywhere."""

    def forward(self, x: Tensor) -> Tensor:
        if self.is_fused(x):
            return fused.norm_silu(x, self.scale, self.bias, self.epsilon)
        return F.silu(super().forward(x))

    def is_fused(self, x: Tensor) -> bool:
        """Whether kernels/fused.py serves this input."""
        return fused.serves(x) and self.scale.dtype == torch.float32


class _RMSNorm(torch.autograd.Function):
    """x / √(mean x² + ε) · scale, with statistics in float32 and one pass less over memory than autograd would make."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, epsilon: float) -> Tensor:
        square = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float32).square()
        inverse = (square / x.shape[-1] + epsilon).rsqrt().to(x.dtype)
        normed = x * inverse
        ctx.save_for_backward(normed, inverse, scale)
        return normed * scale.to(x.dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        normed, inverse, scale = ctx.saved_tensors
        scale_grad = (grad * normed).flatten(0, -2).sum(0, dtype=scale.dtype)
        grad = grad * scale.to(grad.dtype)
        along = (grad * normed).mean(-1, keepdim=True)
        return torch.addcmul(grad, normed, along, value=-1).mul_(inverse), scale_grad, None


def linear(inputs: int, outputs: int, family: Family, *, bias: bool = True, scale: float = 1.0) -> nn.Linear:
    """A linear layer initialised in the family's way, bias zero."""
    layer = nn.Linear(inputs, outputs, bias=bias)
    initialise(layer.weight, inputs, outputs, family, scale)
    if bias:
        nn.init.zeros_(layer.bias)
    return layer


class Dense(nn.Module):
    """Linear → norm → SiLU: (…, inputs) → (…, outputs)."""

    def __init__(self, inputs: int, outputs: int, family: Family) -> None:
        super().__init__()
        self.linear = linear(inputs, outputs, family, bias=family == "dreamer2025")
        self.norm = NormSiLU(outputs, family)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.linear(x))

    def columns(self, widths: Sequence[int], part: int) -> Tensor:
        """The columns of the weight that read input `part` (of the given widths, side by side): (outputs, width).

        The shares of all parts and the bias add up to the linear layer's output: a loop over time computes outside
        of itself what does not depend on its state.
        """
        start = sum(widths[:part])
        return self.linear.weight[:, start : start + widths[part]]

    def finish(self, x: Tensor) -> Tensor:
        """Bias, norm and SiLU on the summed shares."""
        return self.norm(x if self.linear.bias is None else x + self.linear.bias)


class MLP(nn.Sequential):
    """`layers` Dense layers of `units`: (…, inputs) → (…, units); no layer at all is the identity."""

    def __init__(self, inputs: int, units: int, layers: int, family: Family) -> None:
        super().__init__(*[Dense(units if i else inputs, units, family) for i in range(layers)])
        self.width = units if layers else inputs


class BlockLinear(nn.Module):
    """A block-diagonal linear layer: group g of the outputs reads group g of the inputs.

    (…, inputs) → (…, outputs), both divided into `blocks` equal groups. `fan_in` is the width of the *whole* input.
    """

    def __init__(self, inputs: int, outputs: int, blocks: int, fan_in: int, *, bias: bool = True) -> None:
        super().__init__()
        self.blocks = blocks
        self.weight = nn.Parameter(torch.empty(blocks, inputs // blocks, outputs // blocks))
        initialise(self.weight, fan_in, outputs, "dreamer2025")
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        groups = x.reshape(-1, self.blocks, x.shape[-1] // self.blocks).transpose(0, 1)  # (G, N, in / G)
        out = torch.bmm(groups, self.weight).transpose(0, 1).reshape(*x.shape[:-1], -1)
        return out if self.bias is None else out + self.bias
