"""What the kernels compute, as it is written."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor


def norm_silu(x: Tensor, scale: Tensor, offset: Tensor | None = None) -> Tensor:
    """SiLU of LayerNorm with an offset, of RMSNorm without."""
    if offset is None:
        return F.silu(x * (x.square().mean(-1, keepdim=True) + 1e-4).rsqrt() * scale)
    away = x - x.mean(-1, keepdim=True)
    return F.silu(away * (away.square().mean(-1, keepdim=True) + 1e-3).rsqrt() * scale + offset)


def gru(gates: Tensor, deter: Tensor) -> Tensor:
    reset, candidate, update = gates.unbind(-2)
    return torch.lerp(deter, (reset.sigmoid() * candidate).tanh(), (update - 1).sigmoid())


def slopes(function: Callable[..., Tensor], *inputs: Tensor, of: Tensor) -> list[Tensor]:
    """What a function gives, and the gradient of its product with `of` in each input."""
    own = [x.detach().clone().requires_grad_() for x in inputs]
    out = function(*own)
    (out.double() * of.double().view(out.shape)).sum().backward()
    return [out.detach(), *[x.grad for x in own if x.grad is not None]]
