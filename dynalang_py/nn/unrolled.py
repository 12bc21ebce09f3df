"""Weights that a loop over time reads at every step, with one gradient for all steps."""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def product_dtype(x: Tensor) -> torch.dtype:
    """What autocast, if there is any, would cast x to before a matrix product."""
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype


class Read:
    """x ↦ x Wᵀ at one step of a loop: (B, inputs) → (B, outputs)."""

    def __init__(self, weight: Tensor, slope: Tensor | None) -> None:
        """slope: zeros (B, outputs) whose gradient is what is wanted of the output, if a gradient is wanted."""
        self.weight = weight
        self.slope = slope
        self.seen: Tensor | None = None

    def __call__(self, x: Tensor) -> Tensor:
        x = x.to(self.weight.dtype)
        if self.slope is None:
            return F.linear(x, self.weight)
        self.seen = x.detach()
        return torch.addmm(self.slope, x, self.weight.t())


class Shared:
    """Matrices that all steps of a loop read, by name.

    Autograd would make a matrix of gradients per step and add them up one by one, in the precision of the products;
    for small batches that takes longer than the steps. Here the steps keep what they read, what is wanted of them is
    the gradient of zeros that they add, and a single product makes the matrix's gradient once the last is done.
    Compiled steps do the same.
    """

    def __init__(self, weights: Mapping[str, Tensor], steps: int, batch: int) -> None:
        """weights: (outputs, inputs), cast once to what autocast, if there is any, would cast them to each time."""
        self._weights = {name: weight.detach().to(product_dtype(weight)) for name, weight in weights.items()}
        self._seen: dict[str, list[Tensor]] = {name: [] for name in weights}
        self._slopes: dict[str, tuple[Tensor, ...]] = {
            name: _Gather.apply(weight, self._seen[name], steps, batch, self._weights[name].dtype).unbind()
            for name, weight in weights.items()
            if torch.is_grad_enabled() and weight.requires_grad
        }

    def at(self, step: int) -> dict[str, Read]:
        """The weights for one step; hand them to `done` after it."""
        return {
            name: Read(weight, self._slopes[name][step] if name in self._slopes else None)
            for name, weight in self._weights.items()
        }

    def done(self, reads: dict[str, Read]) -> None:
        """Keep what a step has read. Steps come in their order, and each reads every weight once."""
        for name in self._slopes:
            seen = reads[name].seen
            assert seen is not None
            self._seen[name].append(seen)


class _Gather(torch.autograd.Function):
    """A weight → zeros (steps, batch, outputs), whose slopes make the gradient of the weight."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, seen: list[Tensor], steps: int, batch: int, dtype: torch.dtype) -> Tensor:
        ctx.seen, ctx.dtype = seen, weight.dtype
        return weight.new_zeros((), dtype=dtype).expand(steps, batch, len(weight))

    @staticmethod
    def backward(ctx: Any, slopes: Tensor) -> tuple[Tensor, None, None, None, None]:
        gradient = slopes.flatten(0, 1).t() @ torch.cat(ctx.seen)
        return gradient.to(ctx.dtype), None, None, None, None
