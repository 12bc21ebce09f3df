"""Where layers are fused, and where they are not."""

import pytest
import torch

from dynalang_py.kernels import fused
from dynalang_py.nn.functional import draw_mixed, straight_through, unimix
from dynalang_py.nn.layers import Dense, Family, NormSiLU

pytestmark = pytest.mark.skipif(not fused.available(), reason="no C++ compiler, so nothing is fused")

FAMILIES: list[Family] = ["dreamer2023", "dreamer2025"]


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Layers are fused however small their inputs are."""
    monkeypatch.setattr(fused, "_LEAST", 0)


def test_the_layer_is_fused_and_says_the_same_as_without(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    x = torch.randn(4, 6)
    for family in FAMILIES:
        layer = Dense(6, 40, family)
        assert layer.norm.is_fused(x)
        ours = layer(x)
        with monkeypatch.context() as patch:
            patch.setattr(fused, "available", lambda: False)
            assert not layer.norm.is_fused(x)
            torch.testing.assert_close(layer(x), ours)


def test_a_draw_has_a_gradient_where_one_is_wanted() -> None:
    torch.manual_seed(0)
    logits, noise = torch.randn(50, 4, requires_grad=True), torch.rand(50, 1)
    sample = draw_mixed(logits, 0.01, noise)
    (slope,) = torch.autograd.grad(sample.square().sum(), logits)
    assert slope.abs().max() > 0
    with torch.no_grad():
        torch.testing.assert_close(draw_mixed(logits, 0.01, noise), sample)
        torch.testing.assert_close(straight_through(unimix(logits, 0.01), noise), sample)


def test_the_same_threads_give_the_same_sums() -> None:
    torch.manual_seed(0)
    norm, x = NormSiLU(32, "dreamer2025"), torch.randn(5000, 32)
    first, second = (torch.autograd.grad(norm(x).square().sum(), norm.scale)[0] for _ in range(2))
    assert torch.equal(first, second)


def test_small_inputs_go_the_shorter_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused, "_LEAST", 12)
    assert fused.serves(torch.zeros(3, 4))
    assert not fused.serves(torch.zeros(11))
    assert not fused.serves(torch.zeros(3, 4), torch.zeros(3, 4).bfloat16())
    assert not fused.serves(torch.zeros(3, 4, dtype=torch.float64))
    assert not fused.serves(torch.zeros(3, 4, device="meta"))
