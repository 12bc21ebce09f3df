"""Wavefront OBJ scenes, drawn without lights, or refused by the line and what stands there.

Format: Wavefront's "Object Files", appendix B1 of the Advanced Visualizer's manual, and colours of vertices as MeshLab
writes them. Normals, smoothing, groups, points, lines and curves show nothing here.
"""

import contextlib
import re
from array import array
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dynalang_py.envs.vln.mtl import Library, Material, Statement, neighbour, statements
from dynalang_py.envs.vln.parts import CLAMP, REPEAT, Part, Picture
from dynalang_py.envs.vln.polygons import MOST_CORNERS, triangulated
from dynalang_py.errors import UserError, shown
from dynalang_py.reading import read_bytes

IDLE = {
    *("vn", "vp", "g", "o", "s", "mg", "l", "p", "lod", "maplib", "shadow_obj", "trace_obj", "bevel", "c_interp"),
    *("d_interp", "ctech", "stech", "cstype", "deg", "bmat", "step", "curv", "curv2", "parm", "trim", "hole", "scrv"),
    *("sp", "end", "con"),
}
"""Statements that show nothing."""
FARTHEST = {"v": 1e9, "vt": 1e6}
"""Numbers must be smaller. Of texture coordinates that are larger, 32 bits can't tell where in the picture they lie."""


MOST = 1 << 31
"""More than a file has of anything."""
NONE = MOST + 1
"""The texture coordinate of a corner that has none."""


def read_obj(path: Path) -> list[Part]:
    """The parts of a scene, one for each of its materials.

    Raises:
        UserError: It can't be read, or holds what isn't drawn here; the sentence names the file, the line and what.
    """
    return ObjFile(path).parts()


def linked_files(path: Path) -> list[Path]:
    """The material libraries of a scene that are there, and the pictures that their materials show."""
    found = []
    named = re.findall(rb"(?:^|[\r\n])[ \t]*mtllib[ \t]((?:\\\r?\n|[^\r\n])*)", _content(path))
    for rest in dict.fromkeys(named):
        (statement,) = statements(b"mtllib " + rest)
        for name in _libraries(path, statement):
            with contextlib.suppress(UserError):  # which `read_obj` will tell, if it needs what is wrong
                library = Library(path, name)
                found += [path.parent / name, *library.pictures()]
    return found


class ObjFile:
    """The statements of a file, as numbers: V places, T spots in pictures, P polygons with C corners in all."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._places, self._colors, self._spots = array("d"), array("d"), array("d")
        self._corner_places, self._corner_spots = array("q"), array("q")  # counted from 1
        self._counts, self._lines, self._looks = array("q"), array("q"), array("q")
        self._named: dict[str, tuple[int, int]] = {"": (0, 0)}  # material → its number, the line where it first stands
        self._libraries: list[Statement] = []
        self._read: dict[str, Library] = {}
        look = 0
        for statement in statements(_content(path)):
            match statement.word:
                case "v":
                    self._place(statement)
                case "vt":
                    u, v = [*self._numbers(statement, 1, 3), 0.0][:2]
                    self._spots.extend((u, v))
                case "f" | "fo":
                    self._face(statement, look)
                case "usemtl":
                    look, _ = self._named.setdefault(statement.rest, (len(self._named), statement.line))
                case "mtllib":
                    self._libraries.append(statement)
                case word if word not in IDLE:
                    raise self.wrong(statement.line, f"{shown(word)} is no statement that is read")

    def wrong(self, line: int, what: str) -> UserError:
        return UserError(f"Scene {self.path} can't be read: line {line:,}: {what}.")

    def parts(self) -> list[Part]:
        """The faces of each material. Raises UserError for what is wrong in them."""
        places, spots = np.array(self._places).reshape(-1, 3), np.array(self._spots).reshape(-1, 2)
        colors = np.array(self._colors).reshape(-1, 3)
        if len(colors):
            colors = np.concatenate([colors, np.full((len(places) - len(colors), 3), np.nan)])
            scale = 255 if np.nanmax(colors) <= 1 else 1  # some write bytes
            colors = np.rint(np.nan_to_num(np.clip(colors * scale, 0, 255), nan=255)).astype(np.uint8)
        corners, looks = self._triangles(places, len(spots))
        pictures: dict[Path, Picture] = {}
        found = []
        for name, (look, line) in self._named.items():
            mine = corners[looks == look]  # (F, 3, 2)
            if not len(mine):
                continue
            material = self._material(name, line) if name else Material()
            picture, uv = None, None
            if (texture := material.texture) and (mine[..., 1] >= 0).any():
                if texture.file not in pictures:
                    content = read_bytes(texture.file, f"Scene {self.path}: its picture")
                    pictures[texture.file] = Picture(content, f"Scene {self.path}: {texture.file}")
                picture = pictures[texture.file]
                # A corner without a spot has the picture's own corner, as in Assimp.
                uv = np.concatenate([spots, [[0.0, 0.0]]]) * texture.scale + texture.offset
                uv = uv * [1, -1] + [0, 1]  # from below, and in pictures from above
            corner, triangles = _shared(mine)
            found.append(
                Part(
                    positions=places[corner[:, 0]],
                    triangles=triangles,
                    matrix=np.eye(3, 4),
                    uv=None if uv is None else uv[corner[:, 1]],
                    picture=picture,
                    factor=material.factor,
                    colors=colors[mine[..., 0]] if len(colors) else None,
                    wrap=(CLAMP, CLAMP) if texture and texture.clamp else (REPEAT, REPEAT),
                )
            )
        return found

    def _place(self, statement: Statement) -> None:
        values = self._numbers(statement, 3, 7)
        if len(values) == 5 or (len(values) == 4 and values[3] != 1):
            raise self.wrong(statement.line, "a place is three numbers, or six with its colour; weights are not read")
        if len(values) > 4:
            self._colors.extend([np.nan] * (len(self._places) - len(self._colors)))
            self._colors.extend(values[3:6])
        self._places.extend(values[:3])

    def _numbers(self, statement: Statement, least: int, most: int) -> list[float]:
        try:
            values = list(map(float, _values(statement)))
            limit = FARTHEST[statement.word]
            fits = least <= len(values) <= most and all(-limit < value < limit for value in values)
        except ValueError:
            fits = False
        if not fits:  # NaN is within no limits
            allowed = f"{least} to {most} finite numbers"
            raise self.wrong(statement.line, f"{statement.word} needs {allowed}, got {shown(statement.rest)}")
        return values

    def _face(self, statement: Statement, look: int) -> None:
        corners = _values(statement)
        try:
            if "/" in statement.rest:
                both = [(*corner.split("/", 2), "")[:2] for corner in corners]
                places, spots = [int(place) for place, _ in both], [int(spot or NONE) for _, spot in both]
            else:
                places, spots = list(map(int, corners)), [NONE] * len(corners)
        except ValueError:
            raise self.wrong(statement.line, f"{shown(statement.rest)} names no corners") from None
        if len(corners) < 3:
            return  # a line or a point, which shows nothing
        if min(places) < 1 or min(spots) < 1:  # counted backwards from here
            places = [place + len(self._places) // 3 + 1 if place < 0 else place for place in places]
            spots = [spot + len(self._spots) // 2 + 1 if spot < 0 else spot for spot in spots]
        if min(places) < 1 or min(spots) < 1 or max(places) > MOST or max(spots) > NONE:
            raise self.wrong(statement.line, f"{shown(statement.rest)} names corners that there are not")
        self._corner_places.extend(places)
        self._corner_spots.extend(spots)
        self._counts.append(len(corners))
        self._lines.append(statement.line)
        self._looks.append(look)

    def _triangles(self, places: NDArray[np.float64], spots: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(F, 3, 2) places and spots (−1: none) of the corners of triangles, and (F,) numbers of their materials."""
        corners = np.stack([np.array(self._corner_places, np.int64), np.array(self._corner_spots, np.int64)], 1) - 1
        corners[corners[:, 1] == NONE - 1, 1] = -1
        counts, lines = np.array(self._counts, np.int64), np.array(self._lines, np.int64)
        beyond = np.flatnonzero((corners >= [len(places), spots]).any(1))
        if len(beyond):
            line = int(lines[np.searchsorted(np.cumsum(counts), beyond[0], "right")])
            place, spot = (corners[beyond[0]] + 1).tolist()
            raise self.wrong(
                line, f"a corner is {place}/{spot or ''}, of {len(places):,} places and {spots:,} texture coordinates"
            )
        starts, looks = np.cumsum(counts) - counts, np.array(self._looks, np.int64)
        found, whose = [np.zeros((0, 3, 2), np.int64)], [looks[:0]]
        for count in np.unique(counts).tolist():
            (which,) = np.nonzero(counts == count)
            polygons = corners[starts[which, None] + np.arange(count)]  # (P, count, 2)
            order, bad = triangulated(places[polygons[..., 0]])
            if bad.any():
                line = int(lines[which[bad.argmax()]])
                raise self.wrong(line, f"a face of {count:,} corners, not convex; {MOST_CORNERS} are allowed")
            found.append(polygons[np.arange(len(which))[:, None, None], order].reshape(-1, 3, 2))
            whose.append(np.repeat(looks[which], count - 2))
        return np.concatenate(found), np.concatenate(whose)

    def _material(self, name: str, line: int) -> Material:
        missing = []
        for statement in reversed(self._libraries):
            for library in reversed(_libraries(self.path, statement)):
                if not (self.path.parent / library).is_file():
                    missing.append(library)
                else:
                    known = self._read.get(library) or Library(self.path, library)
                    self._read[library] = known
                    if name in known:
                        return known[name]
            if not _libraries(self.path, statement):
                allowed = "must be files beside the scene or in a folder there"
                raise self.wrong(statement.line, f"material libraries {allowed}, got {shown(statement.rest)}")
        if not self._libraries:
            return Material()
        why = f"there is no file {missing[0]}" if missing else "none of its material libraries has it"
        raise self.wrong(line, f"the material {shown(name)} is missing: {why}")


def _values(statement: Statement) -> list[str]:
    return statement.rest.partition("#")[0].split() if "#" in statement.rest else statement.rest.split()


def _content(path: Path) -> bytes:
    return read_bytes(path, "Scene")


def _libraries(path: Path, statement: Statement) -> list[str]:
    """Material libraries that a statement names, from the folder of the scene; names may have spaces in them."""
    whole = neighbour("", statement.rest)
    if whole and (path.parent / whole).is_file():
        return [whole]
    named = re.findall(r"\S.*?\.mtl(?=\s|$)", statement.rest, re.IGNORECASE) or statement.rest.split()
    return [name for name in (neighbour("", name.strip('"')) for name in named) if name]


def _shared(corners: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(F, 3, 2) → (N, 2) different corners, and (F, 3) which of them each is."""
    spots = corners[..., 1].max() + 2
    codes, which = np.unique(corners[..., 0] * spots + corners[..., 1] + 1, return_inverse=True)
    return np.stack([codes // spots, codes % spots - 1], 1), which.reshape(corners.shape[:2])
