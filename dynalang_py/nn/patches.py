"""Images to features and back by patches, each through the same few layers: no convolution, only matrix products.

For worlds of tiles, where a patch is a tile: what stands on it is read in one look, and on a CPU it takes a tenth of
the time that convolutions take. Sizes that do not divide are padded on the right and below, and cropped on the way out.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from dynalang_py.nn.layers import Dense, Family, Norm, linear


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
        self.norm = Norm(2 * depth, family)
        self.net = nn.Sequential(
            Dense(2 * depth, 4 * depth, family), linear(4 * depth, patches.side**2 * channels, family)
        )

    def forward(self, deter: Tensor, stoch: Tensor) -> Tensor:
        count = self.patches.count
        start = self.from_deter(deter).unflatten(-1, (count, -1))
        start = start + self.from_own(stoch[:, : count * self.own].unflatten(-1, (count, self.own)))
        return self.patches.join(self.net(F.silu(self.norm(start)))).float()
