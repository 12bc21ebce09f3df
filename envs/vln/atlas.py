"""Textures, one after the other in one array, each as a pyramid of halves.

Every colour is a texture: a plain one has one texel. A distant pixel finds a texel that is the mean of what it covers.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dynalang_py.envs.vln.parts import REPEAT, WHITE, Part, Picture
from dynalang_py.errors import UserError

LEVELS = 11
"""Levels of a texture's pyramid."""
MAX_SIDE = 1 << (LEVELS - 1)
"""Larger textures are scaled down to this side: a scan has hundreds of them."""
MOST_TEXELS = 1 << 29
"""What a scene may hold, 2 GiB: some 380 textures of the largest size."""
PALETTE = 256
"""Up to so many colours, each of whole triangles, are textures: those are quicker than colours of corners."""


class Atlas:
    """Collects textures, each once, and tells which of them paints each triangle."""

    def __init__(self) -> None:
        self.pyramids: list[tuple[int, int, int]] = []
        """First texel, width and height of each level of each texture."""
        self.wraps: list[tuple[int, int]] = []
        """What lies beyond the edges of each texture."""
        self._texels: list[NDArray[np.uint32]] = []
        self._count = 0
        self._known: dict[Any, int] = {}
        self._pictures: list[Picture] = []  # keeps them alive, so that no id is given twice

    def paint(self, part: Part) -> tuple[NDArray[np.intp], NDArray[np.float64] | None]:
        """The textures of triangles, (F,), and the tints of their corners, (F, 9) or None.

        Raises:
            UserError: The textures are more than there is room for.
        """
        if part.picture is not None:
            texture = self._add_picture(part.picture, part.factor, part.wrap)
        else:
            texture = self._add_color(part.factor)
        if part.colors is None:
            return np.full(len(part.triangles), texture), None
        if texture == self._add_color(WHITE) and (part.colors == part.colors[:, :1]).all():
            codes, which = np.unique(part.colors[:, 0] @ np.array([1 << 16, 1 << 8, 1]), return_inverse=True)
            if len(codes) <= PALETTE:
                colors = [(code >> 16, code >> 8 & 255, code & 255) for code in codes.tolist()]
                return np.array([self._add_color(color) for color in colors], np.intp)[which.ravel()], None
        return np.full(len(part.triangles), texture), part.colors.reshape(-1, 9) / 255

    def texels(self) -> NDArray[np.uint32]:
        """(X,) red, green, blue and 255, as bytes in this order, of all textures, which the atlas then forgets."""
        whole = np.empty(self._count, np.uint32)
        for texels in reversed(self._texels):
            self._count -= texels.size
            whole[self._count : self._count + texels.size] = self._texels.pop()
        return whole

    def _add_color(self, color: tuple[int, ...]) -> int:
        plain = tuple(min(max(int(value), 0), 255) for value in color)
        return self._add((plain, REPEAT), (REPEAT, REPEAT), lambda: Image.new("RGB", (1, 1), plain))

    def _add_picture(self, picture: Picture, factor: tuple[int, ...], wrap: tuple[int, int]) -> int:
        def painted() -> Image.Image:
            self._pictures.append(picture)
            plain = _eight_bits(picture.pixels())
            if factor == WHITE:
                return plain
            bright = np.rint(np.asarray(plain) * (np.array(factor) / 255))
            return Image.fromarray(np.clip(bright, 0, 255).astype(np.uint8))

        return self._add((id(picture), factor, wrap), wrap, painted)

    def _add(self, key: Any, wrap: tuple[int, int], make: Callable[[], Image.Image]) -> int:
        if key not in self._known:
            self._known[key] = len(self.wraps)
            self.wraps.append(wrap)
            image = make()
            shrink = MAX_SIDE / max(image.size)
            if shrink < 1:
                image = image.resize([max(1, round(side * shrink)) for side in image.size], Image.Resampling.BOX)
            for _ in range(LEVELS):
                self.pyramids.append((self._count, *image.size))
                bytes_ = np.asarray(image.convert("RGBA"), np.uint8)
                self._texels.append(np.ascontiguousarray(bytes_).view(np.uint32).ravel())
                self._count += self._texels[-1].size
                image = image.resize([max(1, side // 2) for side in image.size], Image.Resampling.BOX)
            if self._count > MOST_TEXELS:
                raise UserError(f"its textures hold more than {MOST_TEXELS:,} texels, which is the most that is read")
        return self._known[key]


def _eight_bits(picture: Image.Image) -> Image.Image:
    """Red, green and blue of 8 bits. Pillow would cut 16 bits off at 255 instead of scaling them."""
    if picture.mode.startswith("I"):
        picture = Image.fromarray((np.asarray(picture, np.int64).clip(0, 65535) >> 8).astype(np.uint8))
    return picture.convert("RGB")
