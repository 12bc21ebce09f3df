"""λ-returns by hand and by brute force, and the scale of returns."""

import numpy as np
import pytest
import torch
from torch import Tensor

from dynalang_py.behavior.returns import ReturnScale, lambda_returns


def mixture(reward: Tensor, discount: Tensor, value: Tensor, lam: float) -> Tensor:
    """The definition: n-step returns, each weighed by (1 − λ) λⁿ⁻¹, the last one by what is left."""
    rows, horizon = reward.shape
    results = torch.zeros(rows, horizon, dtype=reward.dtype)
    for row in range(rows):
        for t in range(horizon):
            for n in range(1, horizon - t + 1):
                alive, total = 1.0, 0.0
                for k in range(t, t + n):
                    total += alive * float(reward[row, k])
                    alive *= float(discount[row, k])
                total += alive * float(value[row, t + n - 1])
                share = lam ** (n - 1) * (1 if t + n == horizon else 1 - lam)
                results[row, t] += share * total
    return results


@pytest.mark.parametrize("lam", [0.0, 0.6, 0.95, 1.0])
def test_returns_are_the_mixture_of_all_n_step_returns(lam: float) -> None:
    generator = torch.Generator().manual_seed(0)
    reward, value = (torch.randn(3, 5, generator=generator, dtype=torch.float64) for _ in range(2))
    discount = torch.rand(3, 5, generator=generator, dtype=torch.float64)
    ours = lambda_returns(reward, discount, value, lam, last=value[:, -1])
    torch.testing.assert_close(ours, mixture(reward, discount, value, lam))


def test_three_steps_by_hand() -> None:
    reward, value = torch.tensor([[1.0, 0.0, 2.0]]), torch.tensor([[10.0, 20.0, 30.0]])
    discount = torch.tensor([[0.5, 0.5, 0.5]])
    # R_2 = 2 + ½ · 30 = 17; R_1 = 0 + ½ (½ · 20 + ½ · 17) = 9.25; R_0 = 1 + ½ (½ · 10 + ½ · 9.25) = 5.8125
    ours = lambda_returns(reward, discount, value, 0.5, last=value[:, -1])
    assert ours.tolist() == [[5.8125, 9.25, 17.0]]


def test_nothing_comes_after_the_end() -> None:
    reward, value = torch.ones(1, 3), torch.full((1, 3), 100.0)
    ours = lambda_returns(reward, torch.tensor([[1.0, 0.0, 1.0]]), value, 1.0, last=value[:, -1])
    assert ours.tolist() == [[2.0, 1.0, 101.0]]


def test_lambda_of_each_step() -> None:
    """Where a step's λ is 0, the value stands in for all that follows."""
    reward, value = torch.ones(1, 3), torch.tensor([[5.0, 7.0, 9.0]])
    lam = torch.tensor([[1.0, 0.0, 1.0]])
    ours = lambda_returns(reward, torch.ones(1, 3), value, lam, last=value[:, -1])
    assert ours.tolist() == [[1 + 1 + 7, 1 + 7, 1 + 9]]


def test_the_scale_follows_the_percentiles() -> None:
    scale = ReturnScale(rate=0.01)
    generator = np.random.default_rng(0)
    low = high = 0.0
    for step in range(300):
        returns = generator.normal(step / 100, 20.0, (7, 11)).astype(np.float32)
        ours = scale.update(torch.from_numpy(returns))
        low = 0.99 * low + 0.01 * np.percentile(returns, 5)
        high = 0.99 * high + 0.01 * np.percentile(returns, 95)
        assert float(ours) == pytest.approx(max(1.0, high - low), rel=1e-4)
    assert high - low > 10  # it did leave its floor


def test_small_returns_are_not_blown_up() -> None:
    scale = ReturnScale(rate=1.0)
    assert float(scale.update(torch.linspace(0, 0.1, 50))) == 1.0


def test_the_scale_is_kept_with_the_weights_and_has_no_gradient() -> None:
    scale = ReturnScale()
    returns = torch.randn(50, requires_grad=True) * 100
    assert not scale.update(returns).requires_grad
    assert set(scale.state_dict()) == {"low", "high"}
