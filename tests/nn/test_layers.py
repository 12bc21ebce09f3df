"""Layers against their plain formulas, and the spread of fresh weights."""

import pytest
import torch
import torch.nn.functional as F

from dynalang_py.nn.layers import MLP, BlockLinear, Dense, Family, Norm, initialise, linear

FAMILIES: tuple[Family, ...] = ("dreamer2023", "dreamer2025")


@pytest.mark.parametrize(("family", "fan"), [("dreamer2023", 250), ("dreamer2025", 400)])
def test_fresh_weights_are_truncated_normals_of_the_family_s_fan(family: Family, fan: int) -> None:
    layer = linear(400, 100, family)
    assert float(layer.weight.detach().std()) == pytest.approx(fan**-0.5, rel=0.03)
    assert float(layer.weight.detach().abs().max()) < 2.28 * fan**-0.5  # two deviations of the normal before truncation
    assert layer.bias.abs().max() == 0
    torch.manual_seed(0)
    small = torch.empty(50, 50)
    initialise(small, 50, 50, family, scale=0.01)
    assert float(small.std()) == pytest.approx(0.01 * 50**-0.5, rel=0.1)


def test_layer_norm_of_2023() -> None:
    norm = Norm(6, "dreamer2023")
    with torch.no_grad():
        norm.scale.normal_()
        assert norm.bias is not None
        norm.bias.normal_()
    x = torch.randn(4, 6)
    centred = x - x.mean(-1, keepdim=True)
    expected = centred / (centred.square().mean(-1, keepdim=True) + 1e-3).sqrt() * norm.scale + norm.bias
    torch.testing.assert_close(norm(x), expected)


def test_rms_norm_of_2025_and_its_gradients() -> None:
    norm = Norm(6, "dreamer2025")
    assert norm.bias is None
    with torch.no_grad():
        norm.scale.normal_()
    x = torch.randn(2, 4, 6, requires_grad=True)
    expected = x / (x.square().mean(-1, keepdim=True) + 1e-4).sqrt() * norm.scale
    torch.testing.assert_close(norm(x), expected)
    weights = torch.randn(2, 4, 6)
    ours = torch.autograd.grad((norm(x) * weights).sum(), (x, norm.scale))
    theirs = torch.autograd.grad((expected * weights).sum(), (x, norm.scale))
    for grad, plain in zip(ours, theirs, strict=True):
        torch.testing.assert_close(grad, plain)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_shares_of_the_inputs_add_up_to_the_layer(family: Family) -> None:
    layer = Dense(9, 5, family)
    assert (layer.linear.bias is None) == (family == "dreamer2023")
    x = torch.randn(3, 9)
    widths = (4, 2, 3)
    shares = [F.linear(part, layer.columns(widths, i)) for i, part in enumerate(x.split(list(widths), -1))]
    torch.testing.assert_close(layer.finish(torch.stack(shares).sum(0)), layer(x))
    torch.testing.assert_close(layer(x), F.silu(Norm.forward(layer.norm, layer.linear(x))))


def test_a_block_layer_is_a_block_diagonal_matrix() -> None:
    layer = BlockLinear(6, 9, blocks=3, fan_in=6)
    assert layer.bias is not None
    torch.nn.init.normal_(layer.bias)
    x = torch.randn(2, 5, 6)
    expected = x @ torch.block_diag(*layer.weight) + layer.bias
    torch.testing.assert_close(layer(x), expected)


def test_block_weights_start_from_the_whole_input_s_fan() -> None:
    layer = BlockLinear(400, 400, blocks=8, fan_in=1600)
    assert float(layer.weight.detach().std()) == pytest.approx(1600**-0.5, rel=0.03)


def test_an_mlp_of_no_layers_is_the_identity() -> None:
    assert MLP(7, 3, 0, "dreamer2025").width == 7
    x = torch.randn(2, 7)
    assert MLP(7, 3, 0, "dreamer2025")(x).equal(x)
    assert MLP(7, 3, 2, "dreamer2025")(x).shape == (2, 3)
