"""Two-hot regression: where weight falls, what the mean is, and what an untrained head says."""

import pytest
import torch
from torch import Tensor

from dynalang_py.nn.functional import symexp
from dynalang_py.nn.two_hot import TwoHot, TwoHotHead

CENTRES = torch.tensor([-100.0, -10.0, 0.0, 10.0, 100.0])


def encoding(target: float, centres: Tensor = CENTRES) -> list[float]:
    """The weights that the cross-entropy puts on the bins."""
    values = TwoHot(torch.zeros(len(centres)), centres)
    values.log_prob = values.log_prob.requires_grad_()
    (grad,) = torch.autograd.grad(values.loss(torch.tensor(target)), values.log_prob)
    return [round(weight, 5) for weight in (-grad).tolist()]


@pytest.mark.parametrize(
    ("target", "weights"),
    [
        (0.0, [0, 0, 1, 0, 0]),
        (10.0, [0, 0, 0, 1, 0]),
        (-100.0, [1, 0, 0, 0, 0]),
        (100.0, [0, 0, 0, 0, 1]),
        (2.5, [0, 0, 0.75, 0.25, 0]),
        (55.0, [0, 0, 0, 0.5, 0.5]),  # halfway in its own units, not in those of symlog
        (-32.5, [0.25, 0.75, 0, 0, 0]),
        (1e9, [0, 0, 0, 0, 1]),
        (-1e9, [1, 0, 0, 0, 0]),
    ],
)
def test_weight_falls_on_the_two_nearest_bins(target: float, weights: list[float]) -> None:
    assert encoding(target) == weights


@pytest.mark.parametrize("target", [-7.0, -0.3, 0.0, 1.0, 12345.0])
def test_the_mean_of_an_encoded_target_is_the_target(target: float) -> None:
    centres = TwoHotHead(1, 1, 1, "dreamer2025").centres
    assert isinstance(centres, Tensor)
    weights = torch.tensor(encoding(target, centres))
    mean = TwoHot(weights.clamp(min=1e-30).log(), centres).mean
    assert float(mean) == pytest.approx(target, rel=1e-3, abs=1e-6)


def test_the_mean_is_taken_in_the_target_s_units() -> None:
    """Half a chance of 10 and half of 100 is worth 55, not what lies between their logarithms."""
    logits = torch.tensor([0.0, 0.0, 0.0, 0.5, 0.5]).log()
    assert TwoHot(logits, CENTRES).mean == 55


def test_an_untrained_head_predicts_exactly_zero() -> None:
    head = TwoHotHead(8, 16, 2, "dreamer2025")
    assert head(torch.randn(3, 5, 8)).mean.abs().max() == 0


def test_the_published_bins() -> None:
    centres = TwoHotHead(8, 16, 1, "dreamer2025").centres
    assert isinstance(centres, Tensor)
    assert centres.equal(-centres.flip(0))
    assert (centres.diff() > 0).all()
    exact = symexp(torch.linspace(-20, 20, 255, dtype=torch.float64)).float()
    torch.testing.assert_close(centres, exact)


def test_the_loss_is_least_for_the_target_s_own_encoding() -> None:
    target = torch.tensor([2.5])
    logits = torch.zeros(1, 5, requires_grad=True)
    loss = TwoHot(logits, CENTRES).loss(target)
    (grad,) = torch.autograd.grad(loss.sum(), logits)
    expected = torch.full((5,), 0.2) - torch.tensor([0, 0, 0.75, 0.25, 0])
    torch.testing.assert_close(grad[0], expected)


def test_no_gradient_reaches_the_target() -> None:
    target = torch.tensor([2.5], requires_grad=True)
    TwoHot(torch.zeros(1, 5, requires_grad=True), CENTRES).loss(target).sum().backward()
    assert target.grad is None


def test_an_even_number_of_bins_is_refused() -> None:
    with pytest.raises(ValueError, match="bins must be odd"):
        TwoHotHead(8, 16, 1, "dreamer2025", bins=254)
