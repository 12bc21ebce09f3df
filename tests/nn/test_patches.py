"""Patches: cut and joined, read and drawn each by itself."""

import pytest
import torch

from dynalang_py.nn.layers import Family
from dynalang_py.nn.patches import PatchDecoder, PatchEncoder, Patches


@pytest.mark.parametrize(("height", "width"), [(8, 12), (7, 10), (4, 4), (3, 5)])
def test_what_is_cut_is_joined_again(height: int, width: int) -> None:
    patches = Patches(height, width, 4)
    image = torch.randn(2, height, width, 3)
    assert torch.equal(patches.join(patches.cut(image)), image)
    assert patches.cut(image).shape == (2, patches.count, 48)


def test_patches_are_cut_row_by_row() -> None:
    image = torch.arange(16.0).view(1, 4, 4, 1)
    assert Patches(4, 4, 2).cut(image)[0].tolist() == [[0, 1, 4, 5], [2, 3, 6, 7], [8, 9, 12, 13], [10, 11, 14, 15]]


@pytest.mark.parametrize("family", ["dreamer2023", "dreamer2025"])
def test_patches_of_one_shade_are_told_apart(family: Family) -> None:
    """A norm right after a layer without bias sees a black patch where a grey one is: both are one shade."""
    torch.manual_seed(0)
    encoder = PatchEncoder(Patches(8, 8, 8), 3, 4, family)
    dark, light = encoder(torch.full((1, 8, 8, 3), -0.5)), encoder(torch.full((1, 8, 8, 3), -0.2))
    assert (dark - light).norm() > 0.1 * dark.norm()


def test_every_patch_is_read_alike_and_by_itself() -> None:
    torch.manual_seed(0)
    encoder = PatchEncoder(Patches(8, 8, 4), 3, 2, "dreamer2023")
    tile = torch.randn(1, 4, 4, 3)
    features = encoder(tile.repeat(1, 2, 2, 1)).view(4, encoder.width)
    assert torch.allclose(features, features[:1].expand(4, -1), atol=1e-6)
    image = tile.repeat(1, 2, 2, 1)
    image[:, :4, 4:] += 1
    changed = (encoder(image).view(4, -1) - features).abs().amax(-1) > 1e-6
    assert changed.tolist() == [False, True, False, False]


def test_every_patch_is_drawn_from_its_own_latents() -> None:
    torch.manual_seed(0)
    decoder = PatchDecoder(Patches(8, 8, 4), 6, own=5, channels=3, depth=2, family="dreamer2023")
    deter, stoch = torch.randn(1, 6), torch.randn(1, 4 * 5 + 3)
    before = decoder(deter, stoch)
    assert before.shape == (1, 8, 8, 3)
    third = stoch.clone()
    third[:, 10:15] += 1
    rest = stoch.clone()
    rest[:, 20:] += 1
    moved = (decoder(deter, third) - before).abs().amax(-1)[0] > 1e-6
    assert moved[4:, :4].any()
    moved[4:, :4] = False
    assert not moved.any()
    assert torch.equal(decoder(deter, rest), before)
