"""The doubling convolution against the textbook forms, and image sizes that do not divide."""

import pytest
import torch
import torch.nn.functional as F

from dynalang_py.nn.conv import ConvDecoder, ConvEncoder, Doubling, Pyramid, Transposed, interleave
from dynalang_py.nn.layers import Family


def test_transposed_convolutions() -> None:
    last, hidden, x = Doubling(5, 7, "dreamer2023"), Transposed(5, 7), torch.randn(2, 6, 4, 5)
    torch.nn.init.normal_(last.bias)
    spread = torch.zeros(2, 5, 15, 11)  # zeros between pixels and two around, then a convolution
    spread[:, :, 2:-2:2, 2:-2:2] = x.permute(0, 3, 1, 2)
    expected = F.conv2d(spread, last.weight.flip(2, 3), last.bias)
    torch.testing.assert_close(interleave(last(x)), expected.permute(0, 2, 3, 1), rtol=1e-4, atol=1e-5)
    expected = F.conv2d(spread, hidden.weight.flip(2, 3))
    torch.testing.assert_close(hidden(x), expected.permute(0, 2, 3, 1), rtol=1e-4, atol=1e-5)


def test_doubling_is_nearest_neighbour_and_convolution() -> None:
    layer = Doubling(5, 7, "dreamer2025")
    torch.nn.init.normal_(layer.bias)
    x = torch.randn(2, 6, 4, 5)
    wide = F.interpolate(x.permute(0, 3, 1, 2), scale_factor=2, mode="nearest")
    expected = F.conv2d(wide, layer.weight, layer.bias, padding=2)
    torch.testing.assert_close(interleave(layer(x)), expected.permute(0, 2, 3, 1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("family", ["dreamer2023", "dreamer2025"])
@pytest.mark.parametrize(("height", "width"), [(64, 64), (96, 96), (28, 28), (16, 40), (7, 7)])
def test_any_size_goes_in_and_comes_out(family: Family, height: int, width: int) -> None:
    pyramid = Pyramid(height, width)
    assert min(pyramid.smallest) >= 4
    encoder = ConvEncoder(pyramid, 3, 2, family, pool=True)
    assert encoder(torch.rand(2, height, width, 3)).shape == (2, encoder.size)
    decoder = ConvDecoder(pyramid, 3, 2, family)
    assert decoder(torch.rand(2, *pyramid.smallest, decoder.inputs)).shape == (2, height, width, 3)


def test_the_published_maps() -> None:
    assert Pyramid(64, 64).smallest == (4, 4)
    assert Pyramid(96, 96).smallest == (6, 6)
    assert Pyramid(64, 64).channels(96, "dreamer2023") == [96, 192, 384, 768]
    assert Pyramid(64, 64).channels(64, "dreamer2025") == [128, 192, 256, 256]
