"""Weights shared by the steps of a loop have the gradient that autograd would add up step by step."""

import weakref
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from dynalang_py.nn.unrolled import Read, Shared

Reader = Callable[[int, Tensor], Tensor]


def plain(weight: Tensor, steps: int, batch: int) -> Reader:
    return lambda _, x: F.linear(x, weight)


def ours(weight: Tensor, steps: int, batch: int) -> Reader:
    shared = Shared({"w": weight}, steps, batch)

    def read(t: int, x: Tensor) -> Tensor:
        reads = shared.at(t)
        y = reads["w"](x)
        shared.done(reads)
        return y

    return read


def compiled(weight: Tensor, steps: int, batch: int) -> Reader:
    shared = Shared({"w": weight}, steps, batch)

    @torch.compile(backend="aot_eager")
    def step(reads: dict[str, Read], x: Tensor) -> Tensor:
        return reads["w"](x)

    def read(t: int, x: Tensor) -> Tensor:
        reads = shared.at(t)
        y: Tensor = step(reads, x)
        shared.done(reads)
        return y

    return read


def roll(read: Reader, start: Tensor, steps: int) -> Tensor:
    state, total = start, start.new_zeros(())
    for t in range(steps):
        state = read(t, state).tanh()
        if t != 1:  # a step that nobody asks about
            total = total + (state * (t + 1)).sum()
    return total


@pytest.mark.parametrize("kind", [ours, compiled])
@pytest.mark.parametrize("steps", [1, 5])
def test_one_gradient_for_all_steps(steps: int, kind: Callable[..., Reader]) -> None:
    weight, start = torch.randn(6, 6, dtype=torch.float64), torch.randn(3, 6, dtype=torch.float64)
    grads = []
    for way in (plain, kind):
        own, begin = weight.clone().requires_grad_(), start.clone().requires_grad_()
        # A slice of a larger matrix, used twice over: by two loops and outside of them.
        whole = torch.cat([own, own], 1)
        loss = roll(way(whole[:, 2:8], steps, 3), begin, steps) + roll(way(whole[:, :6], 3, 3), begin * 2, 3)
        loss = loss + own.square().sum()
        loss.backward()
        grads.append((own.grad, begin.grad))
    for want, got in zip(*grads, strict=True):
        torch.testing.assert_close(got, want)


def test_steps_that_end_nowhere_leave_no_gradient() -> None:
    weight = torch.randn(4, 4, requires_grad=True)
    ours(weight, 1, 2)(0, torch.randn(2, 4))
    weight.sum().backward()
    assert weight.grad is not None
    assert (weight.grad == 1).all()


def test_sums_over_steps_are_not_rounded_to_bfloat16() -> None:
    """Adding up 512 gradients of 1/256 each to 1 in bfloat16 would stop at 1, its next number being 1 + 1/128."""
    weight = torch.zeros(1, 1, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        read = ours(weight, 513, 1)
        total = sum(read(t, torch.full((1, 1), x)).float() for t, x in enumerate([1.0, *[1 / 256] * 512]))
    assert isinstance(total, Tensor)
    total.sum().backward()
    assert float(weight.grad or 0) == 3.0


def test_without_gradient_it_is_a_plain_product() -> None:
    weight, x = torch.randn(3, 4, requires_grad=True), torch.randn(2, 4)
    with torch.no_grad():
        torch.testing.assert_close(ours(weight, 1, 2)(0, x), x @ weight.T)


def test_a_loop_leaves_nothing_behind() -> None:
    shared = Shared({"w": torch.randn(3, 3, requires_grad=True)}, 1, 2)
    reads = shared.at(0)
    y = reads["w"](torch.randn(2, 3))
    shared.done(reads)
    assert reads["w"].seen is not None
    seen = weakref.ref(reads["w"].seen)
    y.sum().backward()
    del shared, reads, y
    assert seen() is None
