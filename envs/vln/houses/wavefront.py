"""Wavefront OBJ models inside zip files: triangles by material, which is as much as furniture needs."""

import io
import posixpath
import zipfile
from dataclasses import dataclass

import numpy as np

from dynalang_py.envs.vln.houses.catalogue import RGB
from dynalang_py.envs.vln.houses.solids import Solid
from dynalang_py.envs.vln.mtl import Statement, statements
from dynalang_py.errors import UserError
from dynalang_py.reading import parse_picture

LARGEST_PICTURE = 128
"""Pixels; larger textures are made smaller, so that scenes stay small."""
MOST_BYTES = 1 << 26
"""What a file of an archive may hold, unpacked."""
GLASS = 0.4
"""Opacity below which a surface is left out: renderers of houses show everything as opaque."""


@dataclass(frozen=True)
class Material:
    colour: RGB
    opacity: float = 1.0
    picture: bytes | None = None


def read_model(archive: zipfile.ZipFile, path: str) -> list[Solid]:
    """The parts of an OBJ model, as it stands in the file.

    Raises:
        KeyError, IndexError, ValueError, UserError: A file is missing, or makes no sense.
    """
    places: list[list[float]] = []
    spots: list[list[float]] = []
    materials: dict[str, Material] = {}
    corners: dict[str, list[tuple[int, int]]] = {}
    current = ""
    for _, word, rest in statements(read_entry(archive, path)):
        if word == "v":
            places.append([float(x) for x in rest.split()[:3]])
        elif word == "vt":
            spots.append([float(x) for x in rest.split()[:2]])
        elif word == "usemtl":
            current = rest
        elif word == "mtllib":
            materials |= _read_materials(archive, posixpath.join(posixpath.dirname(path), rest))
        elif word == "f":
            fan = [_corner(text, len(places), len(spots)) for text in rest.split()]
            triangles = corners.setdefault(current, [])
            for i in range(1, len(fan) - 1):
                triangles += (fan[0], fan[i], fan[i + 1])
    vertices, uvs = np.array(places, float).reshape(-1, 3), np.array(spots, float).reshape(-1, 2)
    solids = []
    for name, used in corners.items():
        material = materials.get(name, Material((180, 180, 180)))
        if material.opacity < GLASS or not used:
            continue
        index = np.array(used)  # (3 · triangles, 2)
        painted = material.picture is not None and len(uvs) > 0 and (index[:, 1] >= 0).all()
        solids.append(
            Solid(
                vertices[index[:, 0]],
                np.arange(len(index)).reshape(-1, 3),
                material.colour,
                material.picture if painted else None,
                uvs[index[:, 1]] if painted else None,
            )
        )
    return solids


def read_entry(archive: zipfile.ZipFile, name: str) -> bytes:
    """A file of an archive. Raises KeyError if it isn't there, UserError if it is larger than anything of its kind."""
    size = archive.getinfo(name).file_size
    if size > MOST_BYTES:
        raise UserError(f"{name} unpacks to {size:,} bytes; {MOST_BYTES:,} are allowed")
    return archive.read(name)


def _corner(text: str, places: int, spots: int) -> tuple[int, int]:
    """Indices of place and texture coordinate (−1: none); the file counts from 1, or backwards from the end."""
    place, spot = (*text.split("/"), "")[:2]
    v = int(place)
    vt = int(spot) if spot else 0
    return (v - 1 if v > 0 else places + v), (vt - 1 if vt >= 0 else spots + vt)


def _read_materials(archive: zipfile.ZipFile, path: str) -> dict[str, Material]:
    if path not in archive.namelist():
        return {}
    materials: dict[str, Material] = {}
    name = ""
    values: dict[str, str] = {}
    for _, word, rest in [*statements(read_entry(archive, path)), Statement(0, "newmtl", "")]:
        if word == "newmtl":
            if name:
                materials[name] = _material(archive, posixpath.dirname(path), values)
            name, values = rest, {}
        else:
            values[word] = rest
    return materials


def _material(archive: zipfile.ZipFile, folder: str, values: dict[str, str]) -> Material:
    r, g, b = (round(255 * min(1.0, max(0.0, float(x)))) for x in values.get("Kd", "0.7 0.7 0.7").split()[:3])
    opacity = float(values.get("d", "1").split()[-1])
    file = posixpath.join(folder, values["map_Kd"].split()[-1]) if values.get("map_Kd") else ""
    if file not in archive.namelist():
        return Material((r, g, b), opacity)
    image = parse_picture(read_entry(archive, file), file).convert("RGB")
    image.thumbnail((LARGEST_PICTURE, LARGEST_PICTURE))
    mean = np.asarray(image).reshape(-1, 3).mean(0)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=88)
    return Material((int(mean[0]), int(mean[1]), int(mean[2])), opacity, buffer.getvalue())
