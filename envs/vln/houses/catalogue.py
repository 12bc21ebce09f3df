"""What homes are made of: colours, kinds of furniture with their true sizes, and which of them a room holds."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

RGB: TypeAlias = tuple[int, int, int]

COLOURS: dict[str, RGB] = {
    "red": (200, 30, 36),
    "blue": (32, 72, 200),
    "green": (30, 140, 60),
    "yellow": (240, 204, 30),
    "orange": (240, 122, 24),
    "purple": (126, 44, 170),
    "pink": (246, 140, 184),
    "brown": (124, 76, 40),
    "white": (238, 238, 234),
    "black": (36, 36, 40),
    "grey": (136, 138, 142),
}
"""Paint by name. Far apart, so that they can be told in 64×64 pixels."""

PAINTS = ("red", "blue", "green", "yellow", "orange", "purple", "pink")
WOODS = ("brown", "white", "black")
PLAIN = ("white", "black", "grey")

Place: TypeAlias = Literal["wall", "corner", "floor", "flat", "hung"]
"""wall: its back to a wall. corner: where two walls meet. floor: stands free. flat: lies, can be walked on. hung: on a
wall at eye level, nothing to walk into."""


@dataclass(frozen=True)
class Kind:
    """A kind of furniture."""

    size: tuple[float, float, float]
    """Width (along the wall), depth and height in metres."""
    place: Place
    colours: tuple[str, ...]
    plural: bool = False
    """Whether a sentence speaks of several."""

    @property
    def solid(self) -> bool:
        """Whether people walk around it, not over or under it."""
        return self.place not in ("flat", "hung")


KINDS: dict[str, Kind] = {
    "armchair": Kind((0.85, 0.80, 0.90), "wall", (*PAINTS, "brown", "black")),
    "basket": Kind((0.45, 0.45, 0.45), "corner", PAINTS),
    "bathtub": Kind((1.60, 0.75, 0.58), "wall", ("white", "blue", "pink", "green")),
    "bed": Kind((1.60, 2.05, 0.95), "wall", (*PAINTS, "white", "grey")),
    "bench": Kind((1.20, 0.42, 0.46), "wall", (*PAINTS, "brown")),
    "bookshelf": Kind((0.95, 0.34, 1.90), "wall", (*WOODS, "red", "blue", "green")),
    "cabinet": Kind((0.95, 0.45, 0.95), "wall", (*PAINTS, *WOODS)),
    "chair": Kind((0.46, 0.48, 0.92), "floor", (*PAINTS, *WOODS)),
    "chest": Kind((0.80, 0.48, 0.50), "wall", (*PAINTS, "brown")),
    "desk": Kind((1.30, 0.65, 0.75), "wall", (*WOODS, "blue", "green", "red")),
    "dresser": Kind((1.05, 0.50, 0.90), "wall", (*PAINTS, *WOODS)),
    "fireplace": Kind((1.30, 0.40, 1.15), "wall", ("white", "grey", "red")),
    "fridge": Kind((0.70, 0.68, 1.80), "wall", ("white", "grey", "red", "blue", "black")),
    "lamp": Kind((0.42, 0.42, 1.60), "corner", (*PAINTS, "white")),
    "mirror": Kind((0.60, 0.05, 0.90), "hung", ("brown", "black", "yellow")),
    "nightstand": Kind((0.44, 0.40, 0.52), "wall", (*PAINTS, *WOODS)),
    "piano": Kind((1.40, 0.60, 1.15), "wall", ("black", "brown", "white", "red")),
    "picture": Kind((0.90, 0.04, 0.70), "hung", PAINTS),
    "plant": Kind((0.50, 0.50, 1.15), "corner", (*PAINTS, "white", "brown")),
    "rug": Kind((2.00, 1.40, 0.012), "flat", (*PAINTS, "grey")),
    "sink": Kind((1.10, 0.60, 0.95), "wall", ("white", "blue", "green", "grey", "brown")),
    "sofa": Kind((1.90, 0.88, 0.82), "wall", (*PAINTS, "brown", "grey")),
    "stool": Kind((0.38, 0.38, 0.48), "floor", (*PAINTS, *WOODS)),
    "stove": Kind((0.62, 0.62, 0.95), "wall", ("white", "black", "grey", "red")),
    "table": Kind((1.30, 0.80, 0.75), "floor", (*WOODS, "red", "blue", "green", "yellow")),
    "television": Kind((1.25, 0.42, 1.15), "wall", ("black", "white", "brown", "red")),
    "toilet": Kind((0.40, 0.68, 0.80), "wall", ("white", "pink", "blue", "green")),
    "wardrobe": Kind((1.20, 0.60, 2.00), "wall", (*PAINTS, *WOODS)),
    "washer": Kind((0.60, 0.60, 0.86), "wall", ("white", "grey", "black", "red")),
}

HIDDEN_COLOURS = 2
"""How many colours of each kind stay out of all training houses."""

PALETTE = tuple(COLOURS)


def hidden(kind: str, colour: str) -> bool:
    """Whether this pair of landmark words is kept from training houses and instructions: it tests if colour and kind
    are understood one by one. Every colour and every kind occurs in training in other pairs."""
    colours = KINDS[kind].colours
    first = sum(map(ord, kind)) % len(colours)
    return colour in {colours[(first + step * 2) % len(colours)] for step in range(HIDDEN_COLOURS)}


@dataclass(frozen=True)
class Wish:
    """A piece that a room of some purpose would like to hold, in the order in which they are placed."""

    kind: str
    chance: float = 1.0
    near: str | None = None
    """The piece it belongs to: chairs around a table, a nightstand beside a bed, a television that faces the sofa."""
    count: int = 1


RECIPES: dict[str, tuple[Wish, ...]] = {
    "living room": (
        Wish("sofa"),
        Wish("television", 0.9, near="sofa"),
        Wish("rug", 0.7, near="sofa"),
        Wish("bookshelf", 0.7),
        Wish("armchair", 0.8),
        Wish("fireplace", 0.35),
        Wish("piano", 0.3),
        Wish("lamp", 0.7),
        Wish("plant", 0.7),
        Wish("picture", 0.9),
        Wish("picture", 0.5),
    ),
    "kitchen": (
        Wish("fridge"),
        Wish("stove", near="fridge"),
        Wish("sink", near="stove"),
        Wish("cabinet", 0.7),
        Wish("table", 0.5),
        Wish("chair", 1.0, near="table", count=2),
        Wish("stool", 0.4),
        Wish("plant", 0.3),
        Wish("basket", 0.4),
        Wish("picture", 0.4),
    ),
    "dining room": (
        Wish("table"),
        Wish("chair", 1.0, near="table", count=4),
        Wish("cabinet", 0.8),
        Wish("plant", 0.6),
        Wish("lamp", 0.5),
        Wish("bench", 0.3),
        Wish("picture", 0.9),
    ),
    "bedroom": (
        Wish("bed"),
        Wish("nightstand", 0.9, near="bed"),
        Wish("wardrobe"),
        Wish("dresser", 0.6),
        Wish("rug", 0.4),
        Wish("armchair", 0.3),
        Wish("chest", 0.3),
        Wish("lamp", 0.5),
        Wish("mirror", 0.5),
        Wish("picture", 0.6),
    ),
    "guest room": (
        Wish("bed"),
        Wish("nightstand", 0.7, near="bed"),
        Wish("dresser", 0.7),
        Wish("bench", 0.4),
        Wish("chair", 0.5),
        Wish("plant", 0.4),
        Wish("picture", 0.7),
    ),
    "bathroom": (
        Wish("bathtub"),
        Wish("toilet"),
        Wish("sink"),
        Wish("basket", 0.6),
        Wish("washer", 0.3),
        Wish("mirror", 0.9),
        Wish("stool", 0.3),
    ),
    "office": (
        Wish("desk"),
        Wish("chair", 1.0, near="desk"),
        Wish("bookshelf"),
        Wish("bookshelf", 0.5),
        Wish("cabinet", 0.4),
        Wish("lamp", 0.5),
        Wish("plant", 0.5),
        Wish("rug", 0.4),
        Wish("picture", 0.7),
    ),
    "playroom": (
        Wish("chest"),
        Wish("rug", 0.8),
        Wish("table", 0.6),
        Wish("stool", 1.0, near="table", count=2),
        Wish("bench", 0.5),
        Wish("basket", 0.8),
        Wish("bookshelf", 0.5),
        Wish("picture", 0.8),
    ),
    "laundry room": (
        Wish("washer"),
        Wish("sink", 0.8, near="washer"),
        Wish("cabinet", 0.8),
        Wish("basket"),
        Wish("stool", 0.3),
    ),
    "hallway": (
        Wish("bench", 0.5),
        Wish("plant", 0.7),
        Wish("dresser", 0.3),
        Wish("mirror", 0.6),
        Wish("picture", 0.9),
        Wish("picture", 0.6),
    ),
}
"""What each room is for, told by what stands in it."""
