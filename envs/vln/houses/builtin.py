"""The built-in supplier: furniture of coloured boxes and cylinders."""

from collections.abc import Collection
from random import Random

from dynalang_py.envs.vln.houses import shapes
from dynalang_py.envs.vln.houses.catalogue import KINDS
from dynalang_py.envs.vln.houses.furnish import Model, Piece
from dynalang_py.envs.vln.houses.solids import Solid


class BuiltIn:
    """Every kind in every colour that it may have, in slightly different sizes."""

    def choose(self, kind: str, refused: Collection[tuple[str, str]], random: Random) -> Model | None:
        colours = [colour for colour in KINDS[kind].colours if (kind, colour) not in refused]
        if not colours:
            return None
        w, d, h = KINDS[kind].size
        scale = random.uniform(0.92, 1.05)
        return Model("builtin", random.choice(colours), (round(w * scale, 3), round(d * scale, 3), h))

    def solids(self, piece: Piece) -> list[Solid]:
        return shapes.build(piece.kind, piece.colour, piece.size, piece.name)

    def credit(self, name: str) -> str | None:
        return None

    def __str__(self) -> str:
        return "built-in shapes"
