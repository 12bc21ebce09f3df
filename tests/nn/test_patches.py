"""Patches: cut and joined, read and drawn each by itself."""

import pytest
import torch

from dynalang_py.nn.layers import Family
from dynalang_py.nn.patches import PatchDecoder, PatchEncoder, Patches, PrototypeDecoder, PrototypeEncoder


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


def shades(*rows: list[float]) -> torch.Tensor:
    """One image (1, 2 · rows, 2 · columns, 3), each of its 2×2 patches of one shade."""
    grid = torch.tensor(rows).repeat_interleave(2, 0).repeat_interleave(2, 1)
    return grid[None, ..., None].expand(-1, -1, -1, 3)


def names(encoder: PrototypeEncoder, image: torch.Tensor) -> list[int]:
    one_hot = encoder(image).view(-1, encoder.width)
    assert torch.equal(one_hot.sum(-1), torch.ones(len(one_hot)))
    return one_hot.argmax(-1).tolist()


def test_each_kind_of_patch_has_a_name_that_it_keeps() -> None:
    encoder = PrototypeEncoder(Patches(4, 4, 2), 3, 6)
    first = shades([0.1, 0.2], [0.1, -0.4])
    encoder.take_in(first)
    assert int(encoder.kept) == 3
    a, b, again, c = names(encoder, first)
    assert again == a
    assert len({a, b, c}) == 3
    encoder.take_in(shades([0.3, -0.2], [0.1, 0.2]))
    assert int(encoder.kept) == 5
    assert names(encoder, first) == [a, b, a, c]
    assert names(encoder, shades([0.301, 0.1], [0.2, -0.4]))[1:] == [a, b, c]


def test_what_is_nearly_the_same_is_no_new_kind() -> None:
    encoder = PrototypeEncoder(Patches(4, 4, 2), 3, 6)
    encoder.take_in(shades([0.1, 0.105], [0.1, 0.12]))
    assert int(encoder.kept) == 2


def test_when_all_names_are_given_the_nearest_one_counts() -> None:
    encoder = PrototypeEncoder(Patches(4, 4, 2), 3, 2)
    encoder.take_in(shades([-0.4, 0.4], [0.0, 0.0]))
    kept = encoder.prototypes.clone()
    assert int(encoder.kept) == 2
    encoder.take_in(shades([0.2, 0.1], [-0.2, -0.1]))
    assert torch.equal(encoder.prototypes, kept)
    dark, light, *_ = names(encoder, shades([-0.4, 0.4], [-0.5, 0.5]))
    assert names(encoder, shades([-0.3, 0.3], [-0.5, 0.5])) == [dark, light, dark, light]


def test_names_are_the_same_in_mixed_precision() -> None:
    """A difference of 0.01 is below what bfloat16 can tell."""
    encoder = PrototypeEncoder(Patches(4, 4, 2), 3, 4)
    image = shades([0.4, 0.42], [0.44, 0.46])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        encoder.take_in(image)
        assert sorted(names(encoder, image)) == [0, 1, 2, 3]


def test_a_name_is_drawn_alike_wherever_it_stands() -> None:
    torch.manual_seed(0)
    decoder = PrototypeDecoder(Patches(4, 4, 2), own=3, channels=3, family="dreamer2023")
    stoch = torch.cat([torch.eye(3)[[0, 2, 2, 0]].flatten(), torch.randn(5)])[None]
    drawn = Patches(4, 4, 2).cut(decoder(torch.randn(1, 7), stoch))[0]
    assert torch.equal(drawn[0], drawn[3])
    assert torch.equal(drawn[1], drawn[2])
    assert not torch.allclose(drawn[0], drawn[1])
