"""Images to features and back by patches, each through the same few layers: no convolution, only matrix products.

For worlds of tiles, where a patch is a tile: what stands on it is read in one look, and on a CPU it takes a tenth of
the time that convolutions take. Sizes that do not divide are padded on the right and below, and cropped on the way out.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dynalang_py.nn.layers import Dense, Family, NormSiLU, linear

SAME = 1e-4
"""Mean squared difference, of pixels in a range of 1, up to which two patches count as one."""


class Patches:
    """A grid of square patches over an image (height, width)."""

    def __init__(self, height: int, width: int, side: int) -> None:
        self.height, self.width, self.side = height, width, side
        self.rows, self.columns = -(-height // side), -(-width // side)

    @property
    def count(self) -> int:
        return self.rows * self.columns

    def cut(self, image: Tensor) -> Tensor:
        """(N, height, width, C) → (N, count, side² · C), row by row."""
        below, right = self.rows * self.side - self.height, self.columns * self.side - self.width
        if below or right:
            image = F.pad(image, (0, 0, 0, right, 0, below))
        grid = image.unflatten(2, (self.columns, self.side)).unflatten(1, (self.rows, self.side))
        return grid.transpose(2, 3).flatten(3).flatten(1, 2)

    def join(self, patches: Tensor) -> Tensor:
        """The inverse of `cut`."""
        grid = patches.unflatten(1, (self.rows, self.columns)).unflatten(3, (self.side, self.side, -1))
        return grid.transpose(2, 3).flatten(3, 4).flatten(1, 2)[:, : self.height, : self.width]


class Sites(NamedTuple):
    """What of an embedding belongs to one patch of the image each: its first features, row by row."""

    rows: int = 0
    columns: int = 0
    width: int = 0
    """Features of each patch."""

    @property
    def patches(self) -> int:
        return self.rows * self.columns


NO_SITES = Sites()


class PatchEncoder(nn.Module):
    """(N, height, width, C) floats → (N, count · width): two layers per patch, the patches' features side by side."""

    def __init__(self, patches: Patches, channels: int, depth: int, family: Family) -> None:
        super().__init__()
        self.patches = patches
        self.width = 2 * depth
        # No norm on the first layer: it would take a patch of one shade for the same patch in another. Pixels in
        # [-0.5, 0.5] deviate by about a third: three times the usual weights make up for that.
        first = linear(patches.side**2 * channels, 4 * depth, family, scale=3.0)
        self.net = nn.Sequential(first, nn.SiLU(), Dense(4 * depth, self.width, family))
        self.size = patches.count * self.width

    def forward(self, image: Tensor) -> Tensor:
        features: Tensor = self.net(self.patches.cut(image))
        return features.flatten(1)


class PrototypeEncoder(nn.Module):
    """(N, height, width, C) floats → (N, count · width): for each patch, one-hot, the name of its nearest prototype.

    A patch unlike all prototypes becomes one itself, until `width` are kept. They never move, so what was learned of a
    name stays true (the nearest-neighbour tokenizer of Dedieu et al., arXiv 2502.01591). No gradient.
    """

    def __init__(self, patches: Patches, channels: int, width: int) -> None:
        super().__init__()
        self.patches = patches
        self.width = width
        self.size = patches.count * width
        self.prototypes: Tensor
        self.kept: Tensor
        self.register_buffer("prototypes", torch.zeros(width, patches.side**2 * channels))
        self.register_buffer("kept", torch.zeros((), dtype=torch.long))

    def forward(self, image: Tensor) -> Tensor:
        nearest = self._differences(self.patches.cut(image)).argmin(-1)
        return F.one_hot(nearest, self.width).to(image.dtype).flatten(1)

    @torch.no_grad()
    def take_in(self, image: Tensor) -> None:
        """Keep what is new in images (N, height, width, C) as prototypes, the most unusual first."""
        cut = self.patches.cut(image).flatten(0, 1)
        nearest = self._differences(cut).amin(-1)
        while int(self.kept) < self.width and float(nearest.max()) > SAME:
            new = cut[nearest.argmax()]
            self.prototypes[self.kept] = new
            self.kept += 1
            nearest = torch.minimum(nearest, (cut - new).square().mean(-1))

    def _differences(self, cut: Tensor) -> Tensor:
        """Mean squared differences of patches (…, side² · C) from each prototype (…, width); infinite where none is."""
        with torch.autocast(cut.device.type, enabled=False):  # bfloat16 would take likes for others
            known = self.prototypes
            squares = cut.square().sum(-1, keepdim=True) + known.square().sum(-1)
            difference = (squares - 2 * (cut @ known.T)) / known.shape[1]
        return difference.masked_fill(torch.arange(self.width, device=cut.device) >= self.kept, torch.inf)


class PatchDecoder(nn.Module):
    """deter (N, D), stoch (N, S·K) → image (N, height, width, C).

    The first `own` numbers of stoch belong to the first patch, the next to the second, and so on; what is left belongs
    to none. Each patch is drawn from its own and from a word of deter for it.
    """

    def __init__(self, patches: Patches, deter: int, own: int, channels: int, depth: int, family: Family) -> None:
        super().__init__()
        self.patches, self.own = patches, own
        self.from_deter = linear(deter, patches.count * 2 * depth, family)
        self.from_own = linear(own, 2 * depth, family, bias=False)
        self.norm = NormSiLU(2 * depth, family)
        self.net = nn.Sequential(
            Dense(2 * depth, 4 * depth, family), linear(4 * depth, patches.side**2 * channels, family)
        )

    def forward(self, deter: Tensor, stoch: Tensor) -> Tensor:
        count = self.patches.count
        start = self.from_deter(deter).unflatten(-1, (count, -1))
        start = start + self.from_own(stoch[:, : count * self.own].unflatten(-1, (count, self.own)))
        return self.patches.join(self.net(self.norm(start))).float()


class PrototypeDecoder(nn.Module):
    """deter (N, D), which it does not look at, and stoch (N, S·K) → image: what each patch's name stands for."""

    def __init__(self, patches: Patches, own: int, channels: int, family: Family) -> None:
        super().__init__()
        self.patches, self.own = patches, own
        self.out = linear(own, patches.side**2 * channels, family)

    def forward(self, deter: Tensor, stoch: Tensor) -> Tensor:
        count = self.patches.count
        names = stoch[:, : count * self.own].unflatten(-1, (count, self.own))
        return self.patches.join(self.out(names)).float()
