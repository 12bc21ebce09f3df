"""Material libraries of OBJ scenes: what colour and what picture a surface has, without lights.

Format: Wavefront's "MTL Material Format". Opacity has no say, as everything is drawn opaque, nor has how things shine.
"""

import contextlib
import io
import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from dynalang_py.envs.vln.parts import WHITE
from dynalang_py.errors import UserError, shown
from dynalang_py.reading import is_finite, is_inside, read_bytes

GREY = (153, 153, 153)
"""A material that gives no colour and no picture, as Assimp takes it, by which habitat-sim can read OBJ files."""
IDLE = ("-blendu", "-blendv", "-cc", "-texres", "-boost", "-bm", "-type")
"""Options of pictures that change no colour where a picture is simply looked at; each has one value."""


class Statement(NamedTuple):
    line: int
    word: str
    rest: str


def statements(content: bytes) -> Iterator[Statement]:
    """The statements of an OBJ or MTL file: lines joined that end in a backslash, no comments that stand alone.

    Names may be of any bytes: what is no UTF-8 comes as the system's names of files do.
    """
    text = io.TextIOWrapper(io.BytesIO(content.removeprefix(b"\xef\xbb\xbf")), "utf-8", "surrogateescape")
    lines = enumerate(text, 1)
    for number, line in lines:
        words = line.split(None, 1)
        if not words or words[0].startswith("#"):
            continue
        while line.endswith("\\\n"):
            line = line[:-2] + " " + next(lines, (0, ""))[1]
            words = line.split(None, 1)
        if words:
            yield Statement(number, words[0], words[1].rstrip() if len(words) > 1 else "")


@dataclass(frozen=True, kw_only=True)
class Texture:
    file: Path
    scale: tuple[float, float] = (1.0, 1.0)
    offset: tuple[float, float] = (0.0, 0.0)
    """Of the coordinates: they are scaled, then moved."""
    clamp: bool = False
    """Show the last texel beyond the edge instead of repeating the picture."""


@dataclass(frozen=True, kw_only=True)
class Material:
    factor: tuple[int, ...] = WHITE
    """Red, green, blue that multiply the picture, or are the colour if there is none; 255 is 1."""
    texture: Texture | None = None


class Library:
    """The materials of one file. What is wrong with a material is told when it is asked for."""

    def __init__(self, scene: Path, name: str) -> None:
        """scene: the OBJ file. name: the library's path from the folder of the scene."""
        self._scene, self._name = scene, name
        self._said: dict[str, list[Statement]] = {}
        told: list[Statement] = []
        for statement in statements(read_bytes(scene.parent / name, f"Scene {scene}: its material library")):
            if statement.word == "newmtl":
                told = self._said.setdefault(statement.rest, [])
            else:
                told.append(statement)

    def __contains__(self, material: str) -> bool:
        return material in self._said

    def __getitem__(self, material: str) -> Material:
        factor, texture = None, None
        for statement in self._said[material]:
            if statement.word.lower() == "kd":
                factor = self._factor(statement)
            elif statement.word.lower() == "map_kd":
                texture = self._texture(statement)
        return Material(factor=factor or (WHITE if texture else GREY), texture=texture)

    def pictures(self) -> list[Path]:
        """Of all its materials, as far as they can be read."""
        found = []
        for name in self._said:
            with contextlib.suppress(UserError):
                texture = self[name].texture
                found += [texture.file] if texture else []
        return found

    def _factor(self, statement: Statement) -> tuple[int, ...]:
        values = statement.rest.partition("#")[0].split()
        if values[:1] in (["spectral"], ["xyz"]):
            raise self._wrong(statement, f"colours by {values[0]} are not read")
        numbers = _numbers(values)
        if numbers is None or len(numbers) not in (1, 3):
            raise self._wrong(statement, "Kd must be three numbers from 0 to 1")
        red, green, blue = numbers * (3 // len(numbers))
        return tuple(round(255 * min(1.0, max(0.0, value))) for value in (red, green, blue))

    def _texture(self, statement: Statement) -> Texture | None:
        words, clamp = statement.rest, False
        moved = {"-s": (1.0, 1.0), "-o": (0.0, 0.0), "-t": (0.0, 0.0)}
        while option := re.match(r"(-[a-zA-Z]\w*)(?:\s+|$)", words):
            name, words = option[1], words[option.end() :]
            if name in moved:
                row = re.match(r"(?:[-+]?[\d.]+(?:[eE][-+]?\d+)?(?:\s+|$)){1,3}", words)
                numbers = _numbers(row[0].split() if row else [])
                if not row or numbers is None:
                    raise self._wrong(statement, f"{name} needs numbers")
                u, v = [*numbers, moved[name][1]][:2]
                moved[name], words = (u, v), words[row.end() :]
                continue
            count = 2 if name == "-mm" else 1
            *values, words = [*words.split(None, count), *[""] * (count + 1)][: count + 1]
            if name == "-clamp" and values[0] in ("on", "off"):
                clamp = values[0] == "on"
            elif not (name in IDLE or (name == "-mm" and _numbers(values) == [0, 1])):
                raise self._wrong(statement, f"pictures with {name} {' '.join(values)} are not read")
        if any(moved["-t"]):
            raise self._wrong(statement, "pictures with turbulence (-t) are not read")
        if not words:
            return None
        file = neighbour(posixpath.dirname(self._name), words.strip('"'))
        if file is None:
            raise self._wrong(statement, f"{shown(words)} must be a file beside the scene or in a folder there")
        path = self._scene.parent / file
        if not path.is_file():
            raise self._wrong(statement, f"there is no picture {file}")
        return Texture(file=path, scale=moved["-s"], offset=moved["-o"], clamp=clamp)

    def _wrong(self, statement: Statement, what: str) -> UserError:
        return UserError(f"Scene {self._scene} can't be read: {self._name}, line {statement.line:,}: {what}.")


def neighbour(folder: str, name: str) -> str | None:
    """The path, from the folder of the scene, of a file that is named in `folder`; None if it lies elsewhere."""
    path = posixpath.normpath(posixpath.join(folder, name.replace("\\", "/")))
    return path if is_inside(path) and ":" not in path.split("/")[0] else None


def _numbers(values: list[str]) -> list[float] | None:
    try:
        numbers = [float(value) for value in values]
    except ValueError:
        return None
    return numbers if all(map(is_finite, numbers)) else None
