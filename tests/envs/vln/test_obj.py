"""OBJ scenes: each form of each statement that shows something, and a sentence with the line for what isn't read."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dynalang_py.envs.vln import scene
from dynalang_py.envs.vln.obj import linked_files, read_obj
from dynalang_py.envs.vln.parts import CLAMP, REPEAT, Part
from dynalang_py.envs.vln.polygons import triangulated
from dynalang_py.errors import UserError

SQUARE = "v 0 0 0\nv 4 0 0\nv 4 0 -4\nv 0 0 -4\nvt 0 0\nvt 1 0\nvt 1 1\nvt 0 1\n"
RED, GREEN = (255, 0, 0), (0, 255, 0)


def write(folder: Path, obj: str, mtl: str | None = None) -> Path:
    """A scene in `folder`, which has pictures: red above green."""
    picture = Image.new("RGB", (1, 2), GREEN)
    picture.putpixel((0, 0), RED)
    (folder / "tex").mkdir(exist_ok=True)
    for name in ("wood.png", "oak wood.png", "tex/wood.png"):
        picture.save(folder / name)
    if mtl is not None:
        (folder / "s.mtl").write_text(mtl)
        obj = f"mtllib s.mtl\n{obj}"
    (folder / "s.obj").write_bytes(obj.encode())
    return folder / "s.obj"


def one(folder: Path, obj: str, mtl: str | None = None) -> Part:
    (part,) = read_obj(write(folder, obj, mtl))
    return part


def area(part: Part) -> float:
    corners = part.positions[part.triangles]
    return float(
        np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1).sum() / 2
    )


@pytest.mark.parametrize(
    "faces",
    [
        "f 1 2 3 4",
        "f 1/1 2/2 3/3 4/4",
        "f 1//1 2//1 3//1 4//1",
        "f 1/1/1 2/2/1 3/3/1 4/4/1",
        "f -4 -3 -2 -1",
        "f -4/-4 -3/-3 -2/-2 -1/-1",
        "f 1 2 3\nf 1 3 4",
        "f 1 2 \\\n 3 4",
        "f 1 2 3 4 # a floor",
        "  f\t1  2\t3 4  ",
        "fo 1 2 3 4",
        "g a b\no c\ns off\nusemtl x\nvn 0 1 0\nl 1 2\np 1\n# f 1 2 9 \\\nf 1 2 3 4\nf 1 2",
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_each_form_of_a_face_is_the_same_square(tmp_path: Path, faces: str, end: str) -> None:
    part = one(tmp_path, f"{SQUARE}{faces}\n".replace("\n", end))
    assert len(part.triangles) == 2
    assert area(part) == 16
    assert part.positions.tolist() == [[0, 0, 0], [4, 0, 0], [4, 0, -4], [0, 0, -4]]
    assert (part.picture, part.factor, part.colors) == (None, (255, 255, 255), None)


def test_faces_may_stand_before_their_places(tmp_path: Path) -> None:
    assert area(one(tmp_path, f"f 1 2 3 4\n{SQUARE}")) == 16


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(
    ("outline", "size"),
    [
        ([(0, 0), (4, 0), (4, 4), (0, 4)], 16),
        ([(0, 0), (2, 0), (4, 0), (4, 4), (0, 4)], 16),  # a corner on a straight edge
        ([(0, 0), (4, 0), (4, 4), (2, 1)], 6),  # an arrow
        ([(0, 0), (4, 0), (4, 4), (3, 4), (3, 1), (1, 1), (1, 4), (0, 4)], 10),  # a U
        ([(0, 0), (4, 0), (4, 4), (0, 4), (0, 0), (1, 1), (1, 3), (3, 3), (3, 1), (1, 1)], 12),  # with a hole
    ],
)
def test_polygons_fill_their_outline(outline: list[tuple[float, float]], size: float, reverse: bool) -> None:
    for k in range(len(outline)):
        turned = np.array(outline[k:] + outline[:k], float)[:: -1 if reverse else 1]
        corners = np.stack([turned[:, 0], 0.5 * turned[:, 0], turned[:, 1]], 1)
        (triangles,), _ = triangulated(corners[None])
        a, b, c = corners[triangles].transpose(1, 0, 2)
        flat = np.cross(b - a, c - a) @ [-0.5, 1, 0] / np.sqrt(1.25) / np.sqrt(1.25)
        assert np.abs(flat).sum() / 2 == pytest.approx(size)  # no triangle lies outside
        assert len({*np.sign(flat[np.abs(flat) > 1e-9])}) == 1  # and none is turned round


def test_colours_of_places_are_numbers_to_one_or_bytes(tmp_path: Path) -> None:
    for full, half in (("1", "0.2"), ("255", "51")):
        part = one(tmp_path, f"v 0 0 0 {full} 0 {half}\nv 4 0 0\nv 4 0 -4 0 0 0\nf 1 2 3\n")
        assert part.colors is not None
        assert part.colors.tolist() == [[[255, 0, 51], [255, 255, 255], [0, 0, 0]]]
    assert one(tmp_path, "v 0 0 0 1\nv 4 0 0 1\nv 4 0 -4 1\nf 1 2 3\n").colors is None


@pytest.mark.parametrize(
    ("mtl", "factor"),
    [
        ("Kd 1 0.2 0", (255, 51, 0)),
        ("Kd 0.2", (51, 51, 51)),
        ("Kd 0.2 2 -1 # bright", (51, 255, 0)),
        ("Kd 1 0.2 0\nd 0.1\nTr 0.9\nKa 1 1 1\nKs 1 1 1\nillum 2\nNs 96\nPr 0.5\nmap_bump nowhere.png", (255, 51, 0)),
        ("Ns 10", (153, 153, 153)),
        ("Kd 0 0 0\nKd 1 0.2 0", (255, 51, 0)),
    ],
)
def test_colours_of_materials(tmp_path: Path, mtl: str, factor: tuple[int, ...]) -> None:
    part = one(tmp_path, f"{SQUARE}usemtl a\nf 1 2 3 4\n", f"newmtl b\nKd 1 1 1\nnewmtl a\n{mtl}\nnewmtl c\nKd 1 1 1\n")
    assert (part.factor, part.picture) == (factor, None)


@pytest.mark.parametrize(
    "picture",
    [
        "wood.png",
        "oak wood.png",
        '"oak wood.png"',
        "tex/wood.png",
        "tex\\wood.png",
        "tex/../wood.png",
        "./wood.png",
        "-blendu on -blendv off -cc on -mm 0 1 -texres 512 -boost 2 -bm 1 -t 0 0 0 -clamp off oak wood.png",
    ],
)
def test_pictures_are_found_whatever_their_names(tmp_path: Path, picture: str) -> None:
    part = one(tmp_path, f"{SQUARE}usemtl a\nf 1/1 2/2 3/3 4/4\n", f"newmtl a\nmap_Kd {picture}\n")
    assert part.picture is not None
    assert [part.picture.pixels().getpixel((0, y)) for y in (0, 1)] == [RED, GREEN]
    assert part.factor == (255, 255, 255)
    assert part.uv is not None
    assert part.uv.tolist() == [[0, 1], [1, 1], [1, 0], [0, 0]]  # the first spot is at the left and below
    assert part.wrap == (REPEAT, REPEAT)


@pytest.mark.parametrize(
    ("options", "uv"),
    [
        ("-s 2 3 1", [[0, 1], [2, 1], [2, -2], [0, -2]]),
        ("-o 0.5 0.25", [[0.5, 0.75], [1.5, 0.75], [1.5, -0.25], [0.5, -0.25]]),
        ("-o 0.5 -s 2", [[0.5, 1], [2.5, 1], [2.5, 0], [0.5, 0]]),
    ],
)
def test_pictures_may_be_scaled_and_moved(tmp_path: Path, options: str, uv: list[list[float]]) -> None:
    part = one(tmp_path, f"{SQUARE}usemtl a\nf 1/1 2/2 3/3 4/4\n", f"newmtl a\nKd .2 1 1\nmap_Kd {options} wood.png\n")
    assert part.uv is not None
    assert part.uv.tolist() == uv
    assert part.factor == (51, 255, 255)


def test_pictures_may_end_at_their_edge(tmp_path: Path) -> None:
    mtl = "newmtl a\nmap_Kd -clamp on wood.png\n"
    assert one(tmp_path, f"{SQUARE}usemtl a\nf 1/1 2/2 3/3\n", mtl).wrap == (CLAMP, CLAMP)


def test_faces_without_texture_coordinates_show_the_colour_alone(tmp_path: Path) -> None:
    part = one(tmp_path, f"{SQUARE}usemtl a\nf 1 2 3 4\n", "newmtl a\nKd 1 0 0\nmap_Kd wood.png\n")
    assert (part.picture, part.factor) == (None, RED)


def test_materials_may_stand_in_several_libraries_with_spaces_in_their_names(tmp_path: Path) -> None:
    (tmp_path / "tex").mkdir()
    (tmp_path / "my house.mtl").write_text("newmtl old oak\nKd 1 0 0\n")
    (tmp_path / "tex" / "b.mtl").write_text("newmtl b\nmap_Kd wood.png\nnewmtl c\nmap_Kd ../oak wood.png\n")
    faces = "usemtl old oak\nf 1 2 3\nusemtl b\nf 1/1 3/3 4/4\nusemtl c\nf 1/1 3/3 4/4\nusemtl old oak\nf 1 2 4\n"
    for names in ("my house.mtl tex/b.mtl", "my house.mtl\nmtllib tex\\b.mtl", "nowhere.mtl my house.mtl tex/b.mtl"):
        path = write(tmp_path, f"mtllib {names}\n{SQUARE}{faces}")
        parts = read_obj(path)
        assert [len(part.triangles) for part in parts] == [2, 1, 1]
        assert [part.factor for part in parts] == [RED, (255, 255, 255), (255, 255, 255)]
        assert [part.picture is not None for part in parts] == [False, True, True]
        linked = {str(file.relative_to(tmp_path)) for file in linked_files(path)}
        assert linked == {"my house.mtl", "tex/b.mtl", "tex/wood.png", "oak wood.png"}


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("f 1 2 9", "line 11: a corner is 9/, of 4 places and 4 texture coordinates"),
        ("f 1/1 2/2 3/9", "line 11: a corner is 3/9, of 4 places and 4 texture"),
        ("f 0 1 2", "line 11: '0 1 2' names corners that there are not"),
        ("f -5 1 2", "line 11: '-5 1 2' names corners that there are not"),
        ("f 1/0 2/1 3/1", "line 11: '1/0 2/1 3/1' names corners that there are not"),
        ("f 1/-5 2/1 3/1", "line 11: '1/-5 2/1 3/1' names corners that there are not"),
        ("f 1 2 x", "line 11: '1 2 x' names no corners"),
        ("f 1 2 1" + "0" * 400, "line 11: '1 2 1000"),
        ("v 1 2", "line 11: v needs 3 to 7 finite numbers, got '1 2'"),
        ("v 1 2 nan", "line 11: v needs 3 to 7 finite numbers"),
        ("v 1 1e400 2", "line 11: v needs 3 to 7 finite numbers"),
        ("v 1 2 3 4", "line 11: a place is three numbers, or six with its colour; weights are not read"),
        ("vt 1e9 0", "line 11: vt needs 1 to 3 finite numbers"),
        ("vt", "line 11: vt needs 1 to 3 finite numbers"),
        ("surf 0 1 0 1 1 2 3 4", "line 11: 'surf' is no statement that is read"),
        ("call other.obj", "line 11: 'call' is no statement that is read"),
        ("v1 2 3", "line 11: 'v1' is no statement that is read"),
        ("usemtl gone\nf 1 2 3", "line 11: the material 'gone' is missing: none of its material libraries has it"),
    ],
)
def test_what_is_not_read_is_named_with_its_line(tmp_path: Path, line: str, sentence: str) -> None:
    path = write(tmp_path, f"{SQUARE}f 1 2 3 4\n{line}\n", "newmtl a\n")
    with pytest.raises(UserError, match=rf"^Scene .*s\.obj can't be read: {sentence}.*\.$"):
        read_obj(path)


@pytest.mark.parametrize(
    ("mtl", "sentence"),
    [
        ("Kd 1 1", "s.mtl, line 2: Kd must be three numbers from 0 to 1"),
        ("Kd 1 nan 1", "s.mtl, line 2: Kd must be three numbers from 0 to 1"),
        ("Kd spectral a.rfl", "s.mtl, line 2: colours by spectral are not read"),
        ("map_Kd nowhere.png", "s.mtl, line 2: there is no picture nowhere.png"),
        ("map_Kd ../wood.png", r"s.mtl, line 2: '../wood.png' must be a file beside the scene or in a folder there"),
        ("map_Kd /etc/passwd", "s.mtl, line 2: '/etc/passwd' must be a file beside"),
        ("map_Kd C:\\wood.png", "s.mtl, line 2: 'C:.*wood.png' must be a file beside"),
        ("map_Kd -mm 0 2 wood.png", "s.mtl, line 2: pictures with -mm 0 2 are not read"),
        ("map_Kd -imfchan l wood.png", "s.mtl, line 2: pictures with -imfchan l are not read"),
        ("map_Kd -t 1 wood.png", r"s.mtl, line 2: pictures with turbulence \(-t\) are not read"),
        ("map_Kd -s x wood.png", "s.mtl, line 2: -s needs numbers"),
    ],
)
def test_what_is_not_read_of_a_material_is_named_if_it_is_shown(tmp_path: Path, mtl: str, sentence: str) -> None:
    faces = f"{SQUARE}usemtl a\nf 1/1 2/2 3/3 4/4\n"
    with pytest.raises(UserError, match=rf"^Scene .*s\.obj can't be read: {sentence}.*\.$"):
        read_obj(write(tmp_path, faces, f"newmtl a\n{mtl}\n"))
    assert read_obj(write(tmp_path, faces, f"newmtl b\n{mtl}\nnewmtl a\n"))


def test_damaged_pictures_and_missing_libraries_are_named(tmp_path: Path) -> None:
    faces = f"{SQUARE}usemtl a\nf 1/1 2/2 3/3 4/4\n"
    (tmp_path / "broken.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"^Scene .*s\.obj: .*broken\.png is a damaged picture, or none"):
        read_obj(write(tmp_path, faces, "newmtl a\nmap_Kd broken.png\n"))
    with pytest.raises(UserError, match=r"line 10: the material 'a' is missing: there is no file gone\.mtl\.$"):
        read_obj(write(tmp_path, f"mtllib gone.mtl\n{faces}"))
    with pytest.raises(UserError, match=r"line 1: material libraries must be files beside the scene .*'\.\./s\.mtl'"):
        read_obj(write(tmp_path, f"mtllib ../s.mtl\n{faces}"))
    assert read_obj(write(tmp_path, f"mtllib gone.mtl\n{SQUARE}f 1 2 3\n"))  # nobody needs it


def test_a_scene_without_faces_holds_no_triangles(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"s\.obj holds no triangles"):
        scene.read_scene(write(tmp_path, SQUARE))


def test_scenes_are_read_by_this_reader(tmp_path: Path) -> None:
    arrays: Any = scene.read_scene(write(tmp_path, f"{SQUARE}usemtl a\nf 1/1 2/2 3/3 4/4\n", "newmtl a\nKd 0.2\n"))
    assert [int(value) & 255 for value in arrays.texels[:1]] == [51]
    with pytest.raises(UserError, match=r"line 9: 'surf' is no statement"):
        scene.read_scene(write(tmp_path, f"{SQUARE}surf 0 1\nf 1 2 3\n"))
