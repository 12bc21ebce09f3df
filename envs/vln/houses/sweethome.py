"""Real furniture: models of Sweet Home 3D's catalogues (*.sh3f: zip files of OBJ models and a list of properties).

They are free (CC0, CC-BY); a scene names the authors of what stands in it. A model whose colour has no name isn't used.
"""

import colorsys
import io
import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from random import Random

import numpy as np
from PIL import Image

from dynalang_py.envs.vln.houses.builtin import BuiltIn
from dynalang_py.envs.vln.houses.catalogue import KINDS, RGB
from dynalang_py.envs.vln.houses.furnish import Model, Piece
from dynalang_py.envs.vln.houses.solids import Solid
from dynalang_py.envs.vln.houses.wavefront import read_entry, read_model
from dynalang_py.errors import UserError

NAMES: dict[str, str] = {
    "armchair": "Armchair|Modern armchair|Winchester armchair",
    "basket": "Clothes basket|Shopping basket",
    "bathtub": "Bath|Island bath",
    "bed": "Bed|Iron bed|Captain's bed|Child bed",
    "bench": "Bench",
    "bookshelf": "Bookcase|Full bookcase|Vertical shelves",
    "cabinet": "Cupboard|Glass door cabinet|Lower cabinet|Filing cabinet",
    "chair": "Chair|Oak chair|Plastic chair|Chair with cushion|Folding chair",
    "chest": "Chest|Trunck",
    "desk": "Desk|Wooden desk|Desk table",
    "dresser": "Dresser with drawers|Drawers cabinet",
    "fireplace": "Fireplace|Chimney",
    "fridge": "Fridge|Refrigerator|Large fridge",
    "lamp": "Lamp|Pedestal vase lamp",
    "nightstand": "Bedside table",
    "piano": "Upright piano",
    "plant": "Plant|Ficus|Yucca|Indoor plant|Decorative plant|Bamboo",
    "sink": "Sink cabinet|Vanity|Washbasin",
    "sofa": "Sofa|Couch|Sofa 2 seats|Sofa 3 seats|Winchester sofa|Burlap sofa|Clear sofa|Futon couch",
    "stool": "Stool|Bar stool",
    "stove": "Stove|Large stove|Cooker|Small oven",
    "table": "Table|Wooden table|Oak table|Round table|Black table|Wooden alder table|Wooden teak table",
    "toilet": "Toilets unit",
    "wardrobe": "Wardrobe",
    "washer": "Washing machine|Clothes washing machine",
}
"""Which of the catalogues' names a kind goes by."""
DAMAGED = (OSError, EOFError, LookupError, ValueError, RuntimeError, zipfile.BadZipFile, zlib.error)
"""What archives raise that are none, or damaged, or locked, and what their models raise that make no sense."""
MOST_FACES = 12000
BUILTIN = 0.25
"""Share of built-in pieces all the same: most real furniture is brown or white, and words for colours shall matter."""
SHARE = 0.5
"""Share of a model's surface that must have one colour by name."""


@dataclass(frozen=True)
class Entry:
    """A model that can be used."""

    file: Path
    path: str
    """Of the OBJ file in the zip file."""
    kind: str
    colour: str
    size: tuple[float, float, float]
    """Width, depth and height in metres."""
    rotation: tuple[float, ...]
    """3×3, row by row: from the file's axes to width, height, depth."""
    credit: str


class SweetHome:
    """Real models where the catalogues have a fitting one, built-in shapes else."""

    def __init__(self, files: Collection[Path]) -> None:
        self.builtin = BuiltIn()
        self.entries: dict[str, Entry] = {}
        for file in sorted(files):
            self.entries |= _read_catalogue(file)
        if not self.entries:
            raise UserError(f"no usable furniture in {', '.join(str(file) for file in sorted(files))}")

    def choose(self, kind: str, refused: Collection[tuple[str, str]], random: Random) -> Model | None:
        fitting = sorted(
            name for name, entry in self.entries.items() if entry.kind == kind and (kind, entry.colour) not in refused
        )
        if not fitting or random.random() < BUILTIN:
            return self.builtin.choose(kind, refused, random)
        colour = random.choice(sorted({self.entries[name].colour for name in fitting}))  # rare ones as often as brown
        name = random.choice([name for name in fitting if self.entries[name].colour == colour])
        return Model(name, colour, self.entries[name].size)

    def solids(self, piece: Piece) -> list[Solid]:
        entry = self.entries.get(piece.model)
        return self.builtin.solids(piece) if entry is None else _load(entry)

    def credit(self, name: str) -> str | None:
        entry = self.entries.get(name)
        return None if entry is None else entry.credit

    def __str__(self) -> str:
        files = {entry.file.name for entry in self.entries.values()}
        return f"{len(self.entries)} models of Sweet Home 3D ({', '.join(sorted(files))})"


@lru_cache(maxsize=64)
def _load(entry: Entry) -> list[Solid]:
    """A model, turned and scaled to its true size."""
    with zipfile.ZipFile(entry.file) as archive:
        return _fitted(read_model(archive, entry.path), entry.rotation, entry.size)


def _fitted(solids: list[Solid], rotation: tuple[float, ...], size: tuple[float, float, float]) -> list[Solid]:
    turn = np.array(rotation).reshape(3, 3)
    turned = [solid.vertices @ turn.T for solid in solids]
    every = np.concatenate(turned)
    low, high = every.min(0), every.max(0)
    w, d, h = size
    scale = np.array([w, h, d]) / np.maximum(high - low, 1e-9)
    origin = np.array([(low[0] + high[0]) / 2, low[1], (low[2] + high[2]) / 2])
    return [
        Solid((vertices - origin) * scale, solid.faces, solid.colour, solid.picture, solid.uv)
        for vertices, solid in zip(turned, solids, strict=True)
    ]


def _read_catalogue(file: Path) -> dict[str, Entry]:
    """The usable models of one catalogue by their ids."""
    try:
        with zipfile.ZipFile(file) as archive:
            text = read_entry(archive, "PluginFurnitureCatalog.properties").decode("latin-1")
            properties = dict(re.findall(r"^([\w#]+)\s*=\s*(.*?)\s*$", text, re.MULTILINE))
            numbers = [key.partition("#")[2] for key in properties if key.startswith("id#")]
            found = {}
            for number in numbers:
                about = {key.partition("#")[0]: v for key, v in properties.items() if key.endswith(f"#{number}")}
                entry = _entry(archive, file, about, properties.get("license", "licence unknown"))
                if entry is not None:
                    found[about["id"]] = entry
            return found
    except (UserError, *DAMAGED) as error:
        raise UserError(f"{file} is no catalogue of Sweet Home 3D: {error}") from error


def _entry(archive: zipfile.ZipFile, file: Path, about: dict[str, str], licence: str) -> Entry | None:
    """What is needed of a catalogue's entry; None if it isn't usable."""
    name = about.get("name", "")
    kind = next((kind for kind, names in NAMES.items() if name in names.split("|")), None)
    if kind is None or float(about.get("elevation", 0)) > 0 or not about["model"].endswith(".obj"):
        return None
    w, d, h = (float(about[key]) / 100 for key in ("width", "depth", "height"))
    usual = KINDS[kind].size
    if not all(0.55 < real / most < 1.6 for real, most in zip((w, d, h), usual, strict=True)):
        return None  # a toy, a corner sofa, a table lamp: the rooms are made for the usual sizes
    path = about["model"].lstrip("/")
    rotation = tuple(float(x) for x in about.get("modelRotation", "1 0 0 0 1 0 0 0 1").split())
    try:
        solids = read_model(archive, path)
    except (UserError, *DAMAGED):
        return None
    if not solids or sum(len(solid.faces) for solid in solids) > MOST_FACES:
        return None
    colour = _colour_name(_fitted(solids, rotation, (w, d, h)))
    if colour is None:
        return None
    author = about.get("creator", "unknown")
    catalogue = about["id"].partition("#")[0]
    credit = f'"{name}" ({about["id"]}) by {author}, {catalogue}, Sweet Home 3D 1.8 furniture: {licence}'
    size = (round(w, 4), round(d, 4), round(h, 4))
    return Entry(file, path, kind, colour, size, rotation, " ".join(credit.split()))


def _colour_name(solids: list[Solid]) -> str | None:
    """The colour that most of the surface has; None if no one has enough of it."""
    areas: dict[str, float] = {}
    for solid in solids:
        corners = solid.vertices[solid.faces]
        cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        area = float(np.linalg.norm(cross, axis=1).sum())
        colours = [solid.colour] if solid.picture is None else _samples(solid.picture)
        for name, count in Counter(map(name_of, colours)).items():
            areas[name] = areas.get(name, 0.0) + area * count / len(colours)
    most = max(areas, key=lambda name: areas[name])
    return most if areas[most] >= SHARE * sum(areas.values()) else None


def _samples(picture: bytes) -> list[RGB]:
    """A few of a picture's colours: stripes of red and yellow are not brown."""
    with Image.open(io.BytesIO(picture)) as image:
        texels = np.asarray(image.convert("RGB").resize((12, 12), Image.Resampling.BOX)).reshape(-1, 3)
    return [(int(r), int(g), int(b)) for r, g, b in texels]


def name_of(colour: RGB) -> str:
    """What a person would call a colour."""
    hue, saturation, value = colorsys.rgb_to_hsv(*(c / 255 for c in colour))
    hue *= 360
    if value < 0.2:
        return "black"
    if saturation < 0.16:
        return "white" if value > 0.78 else "grey" if value > 0.27 else "black"
    if 14 <= hue < 48:
        return "orange" if saturation > 0.75 and value > 0.75 else "brown"
    for limit, name in ((14, "red"), (70, "yellow"), (165, "green"), (255, "blue"), (295, "purple"), (345, "pink")):
        if hue < limit:
            return name if name != "red" or value > 0.35 else "brown"
    return "red"
