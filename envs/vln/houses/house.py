"""Houses from a seed: a plan, its furniture, and the files of a scene."""

import json
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from dynalang_py.envs.vln.houses.catalogue import RECIPES, Wish
from dynalang_py.envs.vln.houses.furnish import Furnisher, Piece, Supplier
from dynalang_py.envs.vln.houses.mesh import build_glb
from dynalang_py.envs.vln.houses.picture import draw_picture
from dynalang_py.envs.vln.houses.plan import DOOR_HEIGHT, HEIGHT, Box, Level, Plan, draw_plan

DRAWS = 50
"""Houses that are drawn until one has room for all that it needs."""


@dataclass(frozen=True)
class House:
    name: str
    level: Level
    seed: str
    plan: Plan
    pieces: tuple[Piece, ...]

    def pieces_in(self, room: str) -> list[Piece]:
        return [piece for piece in self.pieces if piece.room == room]


def make_house(
    name: str, level: Level, seed: str, supplier: Supplier, refused: Collection[tuple[str, str]] = ()
) -> House:
    """A furnished house. The same arguments give the same house.

    refused: pairs of kind and colour that must not occur in it.
    """
    random = Random(seed)
    for _ in range(DRAWS):
        plan = draw_plan(level, random)
        furnisher = Furnisher(plan, supplier, random, refused)
        for room in plan.rooms:
            furnisher.furnish(room)
            if level == "goto":
                furnisher.furnish(room, _distractors(furnisher.pieces, random))
        house = House(name, level, seed, plan, tuple(furnisher.pieces))
        if all(_is_complete(house, room.name) for room in plan.rooms):
            break
    return house


def _is_complete(house: House, room: str) -> bool:
    """Whether a room has what makes it what it is, a bedroom its bed."""
    there = {piece.kind for piece in house.pieces_in(room)}
    return all(wish.kind in there for wish in RECIPES[room] if wish.chance == 1 and wish.near is None)


def _distractors(pieces: list[Piece], random: Random) -> list[Wish]:
    """More of what can be confused: seats, tables and small things, so that neither kind nor colour alone is enough."""
    movable = ("chair", "stool", "armchair", "basket", "chest", "plant", "lamp", "cabinet", "bench", "nightstand")
    there = [piece.kind for piece in pieces if piece.kind in movable]
    again = random.sample(there, min(2, len(there)))
    return [Wish(kind) for kind in (*again, *random.sample(movable, 4))]


def write_scene(house: House, supplier: Supplier, folder: Path) -> None:
    """Write the scene into `folder`: NAME.glb, NAME.stage_config.json, NAME.json, NAME.png, and, where licences ask
    for it, ATTRIBUTION.txt."""
    folder.mkdir(parents=True, exist_ok=True)
    stage = {
        "render_asset": f"{house.name}.glb",
        "collision_asset": f"{house.name}.glb",
        "up": [0, 1, 0],
        "front": [0, 0, -1],
        "requires_lighting": False,
    }
    (folder / f"{house.name}.glb").write_bytes(build_glb(house.plan, house.pieces, supplier, house.seed))
    (folder / f"{house.name}.stage_config.json").write_text(json.dumps(stage, indent=2) + "\n", "utf-8")
    (folder / f"{house.name}.json").write_text(json.dumps(describe(house), indent=1) + "\n", "utf-8")
    (folder / f"{house.name}.png").write_bytes(draw_picture(house.plan, house.pieces))
    credits = {supplier.credit(piece.model) for piece in house.pieces}
    lines = sorted(line for line in credits if line is not None)
    if lines:
        text = "Furniture in this scene, scaled and partly recoloured by light that is painted on:\n\n"
        (folder / "ATTRIBUTION.txt").write_text(text + "\n".join(lines) + "\n", "utf-8")


def describe(house: House) -> dict[str, Any]:
    """What is in the house, for programs: boxes as [x0, y0, z0, x1, y1, z1] in metres, y up."""
    return {
        "name": house.name,
        "level": house.level,
        "seed": house.seed,
        "rooms": [{"name": room.name, "box": _solid_box(room.box, 0.0, HEIGHT)} for room in house.plan.rooms],
        "doors": [
            {"rooms": list(door.rooms), "box": _solid_box(door.box, 0.0, DOOR_HEIGHT)} for door in house.plan.doors
        ],
        "windows": [
            {"room": window.room, "side": window.side, "from": window.low, "to": window.high}
            for window in house.plan.windows
        ],
        "objects": [
            {
                "name": piece.name,
                "category": piece.kind,
                "colour": piece.colour,
                "room": piece.room,
                "box": _solid_box(piece.box, piece.elevation, piece.elevation + piece.size[2]),
                "model": piece.model,
            }
            for piece in house.pieces
        ],
    }


def _solid_box(box: Box, y0: float, y1: float) -> list[float]:
    return [round(v, 4) for v in (box.x0, y0, box.z0, box.x1, y1, box.z1)]
