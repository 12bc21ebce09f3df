"""Furniture of Sweet Home 3D, from a catalogue in its format with a few models of our own."""

import io
import stat
import zipfile
from pathlib import Path
from random import Random

import numpy as np
import pytest
from PIL import Image

from dynalang_py.envs.vln.houses import suppliers
from dynalang_py.envs.vln.houses.builtin import BuiltIn
from dynalang_py.envs.vln.houses.furnish import Piece
from dynalang_py.envs.vln.houses.house import make_house, write_scene
from dynalang_py.envs.vln.houses.suppliers import find_supplier
from dynalang_py.envs.vln.houses.sweethome import SweetHome, name_of
from dynalang_py.errors import UserError

CORNERS = [(x, y, z) for x in (0, 3) for y in (0, 1) for z in (0, 2)]
SIDES = ((1, 2, 4, 3), (5, 7, 8, 6), (1, 5, 6, 2), (3, 4, 8, 7), (1, 3, 7, 5), (2, 6, 8, 4))


def obj(material: str = "paint", painted: bool = False) -> str:
    """A block of 3 × 1 × 2 in no particular unit."""
    places = [f"v {x} {y} {z}" for x, y, z in CORNERS]
    spots = ["vt 0 0", "vt 1 0", "vt 1 1", "vt 0 1"] if painted else []
    faces = ["f " + " ".join(f"{i}/{k + 1}" if painted else f"{i}" for k, i in enumerate(side)) for side in SIDES]
    return "\n".join(["mtllib model.mtl", *places, *spots, f"usemtl {material}", *faces])


PROPERTIES = """
id=Test#Furniture
license=Creative Commons Attribution 3.0
id#1=Test#armchair
name#1=Armchair
category#1=Living room
model#1=/a/model.obj
width#1=80
depth#1=90
height#1=100
creator#1=Ann
id#2=Test#striped
name#2=Bed
category#2=Bedroom
model#2=/b/model.obj
width#2=160
depth#2=200
height#2=90
creator#2=Bob
id#3=Test#toy
name#3=Chair
category#3=Miscellaneous
model#3=/a/model.obj
width#3=8
depth#3=9
height#3=10
id#4=Test#wardrobe
name#4=Wardrobe
category#4=Bedroom
model#4=/c/model.obj
modelRotation#4=0 0 1 0 1 0 -1 0 0
width#4=120
depth#4=60
height#4=200
creator#4=Cid
id#5=Test#spoon
name#5=Spoon
category#5=Kitchen
model#5=/a/model.obj
width#5=3
depth#5=3
height#5=20
"""


@pytest.fixture
def catalogue(tmp_path: Path) -> Path:
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:22], stripes[22:43], stripes[43:] = (220, 20, 20), (20, 20, 220), (20, 200, 20)
    picture = io.BytesIO()
    Image.fromarray(stripes).save(picture, "PNG")
    grey = io.BytesIO()
    Image.new("RGB", (400, 400), (130, 132, 134)).save(grey, "PNG")
    path = tmp_path / "test.sh3f"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("PluginFurnitureCatalog.properties", PROPERTIES)
        archive.writestr("a/model.obj", obj())
        archive.writestr("a/model.mtl", "newmtl paint\nKd 0.8 0.1 0.1\n")
        archive.writestr("b/model.obj", obj(painted=True))
        archive.writestr("b/model.mtl", "newmtl paint\nKd 1 1 1\nmap_Kd stripes.png\n")
        archive.writestr("b/stripes.png", picture.getvalue())
        archive.writestr("c/model.obj", obj(painted=True) + "\nusemtl glass\nf 1/1 2/2 3/3")
        archive.writestr("c/model.mtl", "newmtl paint\nmap_Kd grey.png\nnewmtl glass\nKd 0 0 1\nd 0.1\n")
        archive.writestr("c/grey.png", grey.getvalue())
    return path


def piece(supplier: SweetHome, name: str) -> Piece:
    entry = supplier.entries[name]
    return Piece(
        name="x_1", kind=entry.kind, colour=entry.colour, room="r", x=0, z=0, turn=0, size=entry.size, model=name
    )


def test_usable_models_are_found_with_their_colours(catalogue: Path) -> None:
    supplier = SweetHome([catalogue])
    assert {(entry.kind, entry.colour) for entry in supplier.entries.values()} == {
        ("armchair", "red"),
        ("wardrobe", "grey"),
    }


@pytest.mark.parametrize("name", ["Test#armchair", "Test#wardrobe"])
def test_models_have_their_true_size(catalogue: Path, name: str) -> None:
    supplier = SweetHome([catalogue])
    vertices = np.concatenate([solid.vertices for solid in supplier.solids(piece(supplier, name))])
    w, d, h = supplier.entries[name].size
    assert vertices.min(0) == pytest.approx([-w / 2, 0, -d / 2])
    assert vertices.max(0) == pytest.approx([w / 2, h, d / 2])


def test_glass_is_left_out_and_pictures_are_made_small(catalogue: Path) -> None:
    supplier = SweetHome([catalogue])
    (solid,) = supplier.solids(piece(supplier, "Test#wardrobe"))
    assert solid.picture is not None
    assert max(Image.open(io.BytesIO(solid.picture)).size) == 128


def test_kinds_without_a_model_and_a_few_others_are_built_in(catalogue: Path) -> None:
    supplier, random = SweetHome([catalogue]), Random(0)
    stool = supplier.choose("stool", (), random)
    assert stool is not None
    assert stool.name == "builtin"
    names = {model.name for _ in range(40) if (model := supplier.choose("armchair", (), random))}
    assert names == {"builtin", "Test#armchair"}


def test_refused_pairs_are_not_chosen(catalogue: Path) -> None:
    supplier, random = SweetHome([catalogue]), Random(0)
    for _ in range(40):
        model = supplier.choose("armchair", {("armchair", "red")}, random)
        assert model is not None
        assert model.colour != "red"


def test_a_scene_names_the_authors_of_its_furniture(catalogue: Path, tmp_path: Path) -> None:
    pytest.importorskip("trimesh")
    supplier = SweetHome([catalogue])
    houses = [make_house("house", "goto", str(seed), supplier) for seed in range(30)]
    with_model = next(house for house in houses if any(p.model == "Test#armchair" for p in house.pieces))
    write_scene(with_model, supplier, tmp_path / "a")
    text = (tmp_path / "a" / "ATTRIBUTION.txt").read_text()
    assert '"Armchair" (Test#armchair) by Ann' in text
    assert "Creative Commons Attribution 3.0" in text
    assert "Bob" not in text


def test_built_in_houses_need_no_attribution(tmp_path: Path) -> None:
    pytest.importorskip("trimesh")
    write_scene(make_house("house", "goto", "1", BuiltIn()), BuiltIn(), tmp_path / "a")
    assert not (tmp_path / "a" / "ATTRIBUTION.txt").exists()


@pytest.mark.parametrize(
    ("colour", "name"),
    [
        ((200, 30, 36), "red"),
        ((32, 72, 200), "blue"),
        ((30, 140, 60), "green"),
        ((240, 204, 30), "yellow"),
        ((240, 122, 24), "orange"),
        ((126, 44, 170), "purple"),
        ((246, 140, 184), "pink"),
        ((124, 76, 40), "brown"),
        ((198, 156, 104), "brown"),
        ((238, 238, 234), "white"),
        ((36, 36, 40), "black"),
        ((136, 138, 142), "grey"),
    ],
)
def test_colours_have_the_names_that_people_give_them(colour: tuple[int, int, int], name: str) -> None:
    assert name_of(colour) == name


def test_a_path_finds_its_catalogues(catalogue: Path) -> None:
    for place in (catalogue, catalogue.parent):
        supplier = find_supplier(str(place))
        assert isinstance(supplier, SweetHome)
        assert str(supplier) == "2 models of Sweet Home 3D (test.sh3f)"


def test_the_real_catalogues_have_common_furniture() -> None:
    files = [file for place in (suppliers.INSTALLED, suppliers.cache()) for file in sorted(place.glob("*.sh3f"))]
    if not files:
        pytest.skip("Sweet Home 3D's furniture is not on this machine; --furniture download fetches it")
    supplier = SweetHome(files)
    assert {"armchair", "bed", "bookshelf", "chair", "desk", "sofa", "table", "wardrobe"} <= {
        entry.kind for entry in supplier.entries.values()
    }
    assert all("Creative Commons" in e.credit or "Public domain" in e.credit for e in supplier.entries.values())


def test_auto_takes_what_is_there(catalogue: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suppliers, "INSTALLED", tmp_path / "nowhere")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert isinstance(find_supplier("auto"), BuiltIn)
    suppliers.cache().mkdir(parents=True)
    catalogue.rename(suppliers.cache() / "test.sh3f")
    assert isinstance(find_supplier("auto"), SweetHome)
    assert isinstance(find_supplier("builtin"), BuiltIn)


def test_download_fetches_and_unpacks_the_package(
    catalogue: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With stand-ins for the two programs, so that nothing is fetched: only what is run, and where, is tested."""
    programs = tmp_path / "bin"
    programs.mkdir()
    folder = "unpacked/usr/share/sweethome3d/furniture"
    unpack = f"mkdir -p {folder} && cp {catalogue} {folder}"
    for name, line in (
        ("apt-get", '[ "$1 $2" = "download sweethome3d-furniture" ] && touch package_1.8_all.deb'),
        (
            "dpkg-deb",
            f'[ "$1 $2 $3" = "-x package_1.8_all.deb unpacked" ] && {unpack}',
        ),
    ):
        (programs / name).write_text(f"#!/bin/sh\n{line}\n")
        (programs / name).chmod(stat.S_IRWXU)
    monkeypatch.setenv("PATH", str(programs), prepend=":")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert isinstance(find_supplier("download"), SweetHome)
    assert [path.name for path in suppliers.cache().parent.iterdir()] == ["furniture"]
    (programs / "apt-get").write_text("#!/bin/sh\necho must not be asked twice >&2\nexit 1\n")
    assert isinstance(find_supplier("download"), SweetHome)


def test_a_failed_download_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bin").mkdir()
    for name in ("apt-get", "dpkg-deb"):
        (tmp_path / "bin" / name).write_text("#!/bin/sh\necho E: no such package >&2\nexit 100\n")
        (tmp_path / "bin" / name).chmod(stat.S_IRWXU)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(UserError, match="no such package"):
        find_supplier("download")


def test_elsewhere_than_in_debian_download_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(UserError, match="--furniture PATH"):
        find_supplier("download")


def test_a_mistyped_word_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Did you mean 'builtin'"):
        find_supplier("bultin")
    with pytest.raises(UserError, match=r"no \*\.sh3f files"):
        find_supplier(str(tmp_path))


@pytest.mark.parametrize("line", ["f 1 2 99", "f a b c", "v 1 x 2", "mtllib bomb.mtl"])
def test_a_model_that_makes_no_sense_is_left_out(catalogue: Path, tmp_path: Path, line: str) -> None:
    with zipfile.ZipFile(catalogue) as archive, zipfile.ZipFile(tmp_path / "new.sh3f", "w") as new:
        for name in {*archive.namelist()} - {"a/model.obj"}:
            new.writestr(name, archive.read(name))
        new.writestr("a/bomb.mtl", bytes(1 << 27), zipfile.ZIP_DEFLATED)
        new.writestr("a/model.obj", f"{obj()}\n{line}\n")
    whole, part = SweetHome([catalogue]), SweetHome([tmp_path / "new.sh3f"])
    assert {*whole.entries} - {*part.entries} == {"Test#armchair"}


@pytest.mark.parametrize("text", ["id#1=a\nname#1=Armchair\nelevation#1=x\nmodel#1=a.obj", "id#1=a\nname#1=Armchair"])
def test_a_catalogue_that_makes_no_sense_is_named(tmp_path: Path, text: str) -> None:
    with zipfile.ZipFile(tmp_path / "bad.sh3f", "w") as new:
        new.writestr("PluginFurnitureCatalog.properties", text)
    with pytest.raises(UserError, match=r"bad\.sh3f is no catalogue"):
        find_supplier(str(tmp_path))


def test_a_file_that_is_no_catalogue_is_named(tmp_path: Path) -> None:
    (tmp_path / "bad.sh3f").write_text("no zip")
    with pytest.raises(UserError, match=r"bad\.sh3f is no catalogue"):
        find_supplier(str(tmp_path))
