"""LaProp with adaptive clipping, traced by hand."""

import math
from typing import Any

import pytest
import torch
from torch import nn

from dynalang_py.nn.optim import LaProp, OptimizerConfig, adam


def follow(optimizer: torch.optim.Optimizer, param: nn.Parameter, grads: list[float]) -> list[float]:
    path = []
    for grad in grads:
        param.grad = torch.full_like(param, grad)
        optimizer.step()
        path.append(param.item())
    return path


def test_three_steps_by_hand() -> None:
    param = nn.Parameter(torch.tensor(1.0))
    # Clipped at 0.3 · |w|: the second gradient is cut to 0.3 · |w| there.
    path = follow(LaProp([param], lr=0.1, warmup=0), param, [0.1, 5.0, -0.2])

    weight, square, momentum = 1.0, 0.0, 0.0
    expected = []
    for t, grad in enumerate([0.1, 5.0, -0.2], start=1):
        grad *= min(1.0, 0.3 * max(1e-3, abs(weight)) / abs(grad))
        square = 0.999 * square + 0.001 * grad**2
        momentum = 0.9 * momentum + 0.1 * grad / (math.sqrt(square / (1 - 0.999**t)) + 1e-20)
        weight -= 0.1 * momentum / (1 - 0.9**t)
        expected.append(weight)
    assert expected[0] == pytest.approx(0.9)  # the first step is the learning rate, whatever the gradient
    assert expected[1] != pytest.approx(expected[0] - 0.1)
    assert path == pytest.approx(expected, rel=1e-5)


def test_groups_have_rates_of_their_own() -> None:
    slow, fast = nn.Parameter(torch.tensor(1.0)), nn.Parameter(torch.tensor(1.0))
    groups: list[dict[str, Any]] = [{"params": [slow], "lr": 0.01}, {"params": [fast]}]
    optimizer = LaProp(groups, lr=0.1, warmup=0)
    slow.grad, fast.grad = torch.tensor(0.5), torch.tensor(0.5)
    optimizer.step()
    assert [slow.item(), fast.item()] == pytest.approx([0.99, 0.9])


def test_the_learning_rate_rises_from_zero() -> None:
    param = nn.Parameter(torch.tensor(1.0))
    path = follow(LaProp([param], lr=0.1, warmup=4), param, [0.01] * 7)
    steps = [before - after for before, after in zip([1.0, *path], path, strict=False)]
    assert steps == pytest.approx([0, 0.025, 0.05, 0.075, 0.1, 0.1, 0.1], abs=1e-6)


@pytest.mark.parametrize("size", [1e-3, 1.0, 1e3])
def test_the_gradient_s_scale_is_nothing_to_it_where_nothing_clips(size: float) -> None:
    grads = [0.001, -0.0004, 0.0007]
    plain, scaled = nn.Parameter(torch.tensor(2.0)), nn.Parameter(torch.tensor(2.0))
    path = follow(LaProp([plain], lr=0.01, warmup=0, clip=1e9), plain, grads)
    assert follow(
        LaProp([scaled], lr=0.01, warmup=0, clip=1e9), scaled, [size * grad for grad in grads]
    ) == pytest.approx(path, rel=1e-5)


def test_each_tensor_is_clipped_by_its_own_norm() -> None:
    """A gradient beyond the limit has no say beyond it: ten times as much of it changes nothing."""
    paths = []
    for size in (1.0, 10.0):
        small, large = nn.Parameter(torch.full((4,), 0.1)), nn.Parameter(torch.full((4,), 10.0))
        optimizer = LaProp([small, large], lr=0.01, warmup=0)
        for grads in ((0.01, size), (size, 0.01), (-0.02, 0.5)):
            for param, grad in zip((small, large), grads, strict=True):
                param.grad = torch.full_like(param, grad)
            optimizer.step()
        paths.append((small.detach().clone(), large.detach().clone()))
    torch.testing.assert_close(paths[0][0], paths[1][0])  # 0.3 · ‖w‖ = 0.06: both sizes are beyond
    assert not torch.allclose(paths[0][1], paths[1][1], rtol=1e-4)  # 0.3 · ‖w‖ = 6: one is within


def test_a_tensor_of_zeros_can_leave_zero() -> None:
    param = nn.Parameter(torch.zeros(3))
    param.grad = torch.tensor([1.0, 0.0, -1.0])
    LaProp([param], lr=0.1, warmup=0).step()
    torch.testing.assert_close(param.detach(), torch.tensor([-0.1, 0.0, 0.1]))


def test_no_gradient_no_step() -> None:
    moved, still = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    optimizer = LaProp([moved, still], lr=0.1, warmup=0)
    moved.grad = torch.ones(2)
    optimizer.step()
    assert still.tolist() == [1, 1]
    # When its first gradient comes, its own count starts: the step is a first one, and the other's a second.
    moved.grad, still.grad = None, torch.ones(2)
    optimizer.step()
    torch.testing.assert_close(still.detach(), torch.full((2,), 0.9))


def test_adam_by_hand() -> None:
    param = nn.Parameter(torch.tensor(1.0))
    path = follow(adam([param], 0.1, 1e-5), param, [2e-5, -1e-5])
    first = 1 - 0.1 * 2e-5 / (2e-5 + 1e-5)
    mean = (0.9 * 0.1 * 2e-5 - 0.1 * 1e-5) / (1 - 0.9**2)
    square = (0.999 * 0.001 * 4e-10 + 0.001 * 1e-10) / (1 - 0.999**2)
    assert path == pytest.approx([first, first - 0.1 * mean / (math.sqrt(square) + 1e-5)], rel=1e-4)


@pytest.mark.parametrize(("field", "value"), [("lr", 0.0), ("clip", -1.0), ("model_norm", 0.0), ("warmup", -1)])
def test_wrong_settings_are_refused_by_name(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=field):
        OptimizerConfig(**{field: value})  # type: ignore[arg-type]
