"""Weights shared by the steps of a loop have the gradient that autograd would add up step by step."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from dynalang_py.nn.unrolled import Shared


def roll(reads: Callable[[Tensor], Tensor], start: Tensor, steps: int) -> Tensor:
    state, total = start, start.new_zeros(())
    for t in range(steps):
        state = reads(state).tanh()
        if t != 1:  # a step that nobody asks about
            total = total + (state * (t + 1)).sum()
    return total


@pytest.mark.parametrize("steps", [1, 5])
def test_one_gradient_for_all_steps(steps: int) -> None:
    weight, start = torch.randn(6, 6, dtype=torch.float64), torch.randn(3, 6, dtype=torch.float64)
    grads = []
    for way in (lambda w: lambda x: F.linear(x, w), Shared):
        own, begin = weight.clone().requires_grad_(), start.clone().requires_grad_()
        # A slice of a larger matrix, used twice over: by two loops and outside of them.
        whole = torch.cat([own, own], 1)
        loss = roll(way(whole[:, 2:8]), begin, steps) + roll(way(whole[:, :6]), begin * 2, 3) + own.square().sum()
        loss.backward()
        grads.append((own.grad, begin.grad))
    for theirs, ours in zip(*grads, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_steps_that_end_nowhere_leave_no_gradient() -> None:
    weight = torch.randn(4, 4, requires_grad=True)
    shared = Shared(weight)
    shared(torch.randn(2, 4))
    weight.sum().backward()
    assert weight.grad is not None
    assert (weight.grad == 1).all()


def test_sums_over_steps_are_not_rounded_to_bfloat16() -> None:
    """Adding up 512 gradients of 1/256 each to 1 in bfloat16 would stop at 1, its next number being 1 + 1/128."""
    weight = torch.zeros(1, 1, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        shared = Shared(weight)
        total = sum(shared(torch.full((1, 1), x)).float() for x in [1.0, *[1 / 256] * 512])
    assert isinstance(total, Tensor)
    total.sum().backward()
    assert float(weight.grad or 0) == 3.0


def test_without_gradient_it_is_a_plain_product() -> None:
    weight, x = torch.randn(3, 4, requires_grad=True), torch.randn(2, 4)
    with torch.no_grad():
        torch.testing.assert_close(Shared(weight)(x), x @ weight.T)
