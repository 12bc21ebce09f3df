"""Weights that a loop over time reads at every step, with one gradient for all steps."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def product_dtype(x: Tensor) -> torch.dtype:
    """What autocast, if there is any, would cast x to before a matrix product."""
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype


class Shared:
    """x ↦ x Wᵀ at each step of a loop: (B, inputs) → (B, outputs).

    Autograd would make a matrix of gradients per step and add them up one by one, in the precision of the products;
    for small batches that takes longer than the steps. Here the steps keep what they read and what was wanted of them,
    and a single product makes the gradient once the last is done.
    """

    def __init__(self, weight: Tensor) -> None:
        """weight: (outputs, inputs); it is cast once to what autocast, if there is any, would cast it to each time."""
        self.weight = weight.to(product_dtype(weight))
        self.reads: list[tuple[Tensor, Tensor]] = []  # filled on the way back: what came in, and its slope coming out
        self.handle: Tensor = _Gather.apply(weight, self.reads)

    def __call__(self, x: Tensor) -> Tensor:
        x = x.to(self.weight.dtype)
        if torch.compiler.is_compiling() or not torch.is_grad_enabled():  # a compiled graph keeps nothing beside itself
            return F.linear(x, self.weight)
        y: Tensor = _Read.apply(x, self.handle, self.weight.detach(), self.reads)
        return y


class _Gather(torch.autograd.Function):
    """Stands for the weight: its backward runs when that of every step has run."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, reads: list[tuple[Tensor, Tensor]]) -> Tensor:
        ctx.reads, ctx.dtype = reads, weight.dtype
        return weight.new_zeros(())

    @staticmethod
    def backward(ctx: Any, _: Tensor) -> tuple[Tensor, None]:
        seen, slopes = (torch.cat(part) for part in zip(*ctx.reads, strict=True))
        ctx.reads.clear()
        return (slopes.t() @ seen).to(ctx.dtype), None


class _Read(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, handle: Tensor, weight: Tensor, reads: list[tuple[Tensor, Tensor]]) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.reads = reads
        return x @ weight.t()

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, Tensor, None, None]:
        x, weight = ctx.saved_tensors
        ctx.reads.append((x, slope))
        return slope @ weight, slope.new_zeros(()), None, None
