"""What glTF scenes show: materials, textures, colours of corners; and numbers that are damaged."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, features

from dynalang_py.envs.vln import atlas, parts, scene
from dynalang_py.envs.vln import gltf as reader
from dynalang_py.envs.vln.scene import SceneArrays, inspect, read_scene
from dynalang_py.errors import UserError

RED, GREEN, BLUE = (200, 0, 0), (0, 100, 0), (0, 0, 50)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "s.glb"


def read(gltf: Any, path: Path) -> SceneArrays:
    gltf.save(path)
    inspect(path)
    return read_scene(path)


def shown(arrays: SceneArrays) -> list[tuple[int, ...]]:
    """The finest level of the first triangle's texture, row by row."""
    first, width, height = arrays.pyramids[int(arrays.surface[0, 7]) * atlas.LEVELS]
    texels = arrays.texels[first : first + width * height].view(np.uint8).reshape(-1, 4)
    return [tuple(texel[:3]) for texel in texels.tolist()]


def uv(arrays: SceneArrays) -> NDArray[np.float32]:
    """(3, 2) where the corners of the first triangle lie."""
    first, edges = arrays.surface[0, :2], arrays.surface[0, 2:6].reshape(2, 2)
    return np.concatenate([first[None], first + edges])


def test_without_a_material_a_wall_is_white(gltf: Any, path: Path) -> None:
    gltf.wall()
    assert shown(read(gltf, path)) == [(255, 255, 255)]


def test_a_base_colour_shows_or_multiplies(gltf: Any, path: Path) -> None:
    gltf.textured(RED, GREEN)
    model = gltf.json["materials"][0]["pbrMetallicRoughness"]
    model["baseColorFactor"] = [0.5, 1, 1, 0.25]
    assert shown(read(gltf, path)) == [(100, 0, 0), GREEN]
    del model["baseColorTexture"]
    assert shown(read(gltf, path)) == [(128, 255, 255)]


def test_what_needs_light_or_glass_does_not_show(gltf: Any, path: Path) -> None:
    gltf.textured(RED)
    gltf.json["materials"][0] |= {
        "alphaMode": "BLEND",
        "alphaCutoff": 0.9,
        "doubleSided": True,
        "emissiveFactor": [1, 1, 1],
        "extensions": {"KHR_materials_transmission": {"transmissionFactor": 1}, "KHR_materials_unlit": {}},
    }
    assert shown(read(gltf, path)) == [RED]


@pytest.mark.parametrize(
    ("metal", "gloss", "expected"),
    [
        ({}, {"diffuseFactor": [0, 1, 0, 1]}, (0, 255, 0)),
        ({"baseColorFactor": [1, 0, 0, 1]}, {"diffuseFactor": [0, 1, 0, 1]}, (255, 0, 0)),
        ({"baseColorFactor": [1, 0, 0, 1]}, {"diffuseTexture": {"index": 0}}, BLUE),
        (None, {"diffuseTexture": {"index": 0}, "diffuseFactor": [1, 1, 0, 1]}, (0, 0, 0)),
        (None, {}, (255, 255, 255)),
    ],
)
def test_specular_and_glossiness(gltf: Any, path: Path, metal: Any, gloss: Any, expected: tuple[int, ...]) -> None:
    gltf.textured(BLUE)
    name = "KHR_materials_pbrSpecularGlossiness"
    gltf.json |= {"materials": [{"extensions": {name: gloss}}], "extensionsRequired": [name]}
    if metal is not None:
        gltf.json["materials"][0]["pbrMetallicRoughness"] = metal
    assert shown(read(gltf, path)) == [expected]


def test_textures_lie_by_the_set_that_they_name(gltf: Any, path: Path) -> None:
    attributes = gltf.textured(RED, texCoord=1)["attributes"]
    attributes["TEXCOORD_1"] = gltf.accessor(np.array(gltf.UV) + 0.25)
    np.testing.assert_allclose(uv(read(gltf, path)), np.array(gltf.UV[:3]) + 0.25)
    del attributes["TEXCOORD_1"]
    with pytest.raises(UserError, match=r"primitive 0's attributes lacks TEXCOORD_1"):
        read(gltf, path)


@pytest.mark.parametrize(
    ("kind", "normalized", "unit"),
    [
        *((kind, True, 1 / np.iinfo(kind).max) for kind in ("int8", "uint8", "int16", "uint16")),
        *((kind, False, 1) for kind in ("int8", "uint8", "int16", "uint16")),
    ],
)
def test_kinds_of_texture_coordinates(gltf: Any, path: Path, kind: str, normalized: bool, unit: float) -> None:
    rows = np.array(gltf.UV) * 100
    gltf.textured(RED)["attributes"]["TEXCOORD_0"] = gltf.accessor(rows, kind, normalized=normalized)
    np.testing.assert_allclose(uv(read(gltf, path)), rows[:3] * unit, atol=1e-6)


def test_a_texture_transform_scales_then_turns_then_moves(gltf: Any, path: Path) -> None:
    transform = {"offset": [0.25, 0.5], "rotation": np.pi / 2, "scale": [2, 3], "texCoord": 1}
    gltf.textured(RED, texCoord=0, extensions={"KHR_texture_transform": transform})
    attributes = gltf.json["meshes"][0]["primitives"][0]["attributes"]
    attributes["TEXCOORD_1"] = gltf.accessor([[1, 0], [0, 1], [0, 0], [0, 0]])
    gltf.json["extensionsRequired"] = ["KHR_texture_transform"]
    # Counter-clockwise as seen, where v counts downwards: right goes up, down goes right.
    expected = np.array([[0, -2], [3, 0], [0, 0]]) + np.array([0.25, 0.5])
    np.testing.assert_allclose(uv(read(gltf, path)), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("code", "wrap"), [(10497, parts.REPEAT), (33071, parts.CLAMP), (33648, parts.MIRROR), (None, parts.REPEAT)]
)
def test_samplers(gltf: Any, path: Path, code: int | None, wrap: int) -> None:
    gltf.textured(RED, GREEN)
    gltf.json["textures"][0]["sampler"] = 0
    gltf.json["samplers"] = [{"magFilter": 9728, **({"wrapS": code} if code else {})}]
    wraps = read(gltf, path).wraps
    assert (wraps[0].tolist() if len(wraps) else [0, 0]) == [wrap, parts.REPEAT]
    gltf.json["samplers"][0]["wrapT"] = 10496
    with pytest.raises(UserError, match="sampler 0 wraps by 10496; there are 10497, 33071, 33648"):
        read(gltf, path)


@pytest.mark.parametrize(
    ("wrap", "expected"), [(parts.REPEAT, "ababab"), (parts.CLAMP, "aaabbb"), (parts.MIRROR, "baabba")]
)
def test_what_lies_beyond_the_edges(wrap: int, expected: str) -> None:
    embree = pytest.importorskip("dynalang_py.envs.vln.embree")
    places = np.array([-0.75, -0.25, 0.25, 0.75, 1.25, 1.75], np.float32)
    found = embree._within(places, np.full(6, wrap, np.int32))
    assert "".join("ab"[int(place >= 0.5)] for place in found) == expected


@pytest.mark.parametrize("width", [3, 4])
@pytest.mark.parametrize(("kind", "most"), [("uint8", 255), ("uint16", 65535), ("float32", 1)])
def test_kinds_of_colours_of_corners(gltf: Any, path: Path, kind: str, most: int, width: int) -> None:
    share = np.array([[0, 0, 0, 0], [1, 0.2, 0.4, 0], [0.6, 0.8, 1, 0], [1, 1, 1, 0]])[:, :width]
    rows = share * most
    attributes = gltf.wall()["attributes"]
    attributes["COLOR_0"] = gltf.accessor(
        rows if kind == "float32" else np.rint(rows), kind, normalized=kind != "float32"
    )
    np.testing.assert_allclose(read(gltf, path).tints[0].reshape(3, 3), share[:3, :3], atol=1e-3)


def test_colours_of_corners_are_clamped_and_multiply_the_texture(gltf: Any, path: Path) -> None:
    gltf.textured(RED)["attributes"]["COLOR_0"] = gltf.accessor([[2, 0.5, -1]] * 4)
    arrays = read(gltf, path)
    assert shown(arrays) == [RED]
    np.testing.assert_allclose(arrays.tints, [[1, 128 / 255, 0] * 3] * 2)


def test_one_colour_for_all_corners_is_a_texture(gltf: Any, path: Path) -> None:
    gltf.wall()["attributes"]["COLOR_0"] = gltf.accessor([[65535, 32896, 0]] * 4, "uint16", normalized=True)
    arrays = read(gltf, path)
    assert shown(arrays) == [(255, 128, 0)]
    assert not arrays.tints.size


@pytest.mark.parametrize(
    ("extension", "kind"), [("EXT_texture_webp", "webp"), ("EXT_texture_avif", "avif"), ("MSFT_texture_dds", "dds")]
)
def test_pictures_of_extensions(gltf: Any, path: Path, extension: str, kind: str) -> None:
    if kind != "dds" and not features.check(kind):
        pytest.skip(f"this Pillow has no {kind}")
    gltf.textured(RED)
    gltf.json["images"] = [{"bufferView": gltf.view(gltf.png(RED, RED, kind=kind))}]
    gltf.json["textures"] = [{"extensions": {extension: {"source": 0}}}]
    gltf.json["extensionsRequired"] = [extension]
    np.testing.assert_allclose(shown(read(gltf, path)), [RED, RED], atol=3)


@pytest.mark.parametrize(
    "extension", ["KHR_texture_basisu", "GOOGLE_texture_basis", "EXT_texture_astc", "NOBODY_knows"]
)
def test_pictures_that_nobody_reads_need_a_fallback(gltf: Any, path: Path, extension: str) -> None:
    gltf.textured(RED)
    gltf.json["textures"][0]["extensions"] = {extension: {"source": 7}}
    assert shown(read(gltf, path)) == [RED]
    del gltf.json["textures"][0]["source"]
    with pytest.raises(UserError, match=rf"s\.glb can't be read: texture 0 needs {extension}, which is not read\.$"):
        read(gltf, path)
    gltf.json["textures"] = [{}]
    with pytest.raises(UserError, match="texture 0 has no source"):
        read(gltf, path)


def test_a_ktx_picture_by_any_name(gltf: Any, path: Path) -> None:
    gltf.textured(RED)
    gltf.json["images"] = [{"bufferView": gltf.view(b"\xabKTX 20\xbb\r\n\x1a\n" + bytes(64)), "mimeType": "image/png"}]
    with pytest.raises(UserError, match="image 0 is a KTX texture, which is not read"):
        read(gltf, path)


def png(image: Image.Image, gltf: Any) -> None:
    file = io.BytesIO()
    image.save(file, "png")
    gltf.json["images"] = [{"bufferView": gltf.view(file.getvalue())}]


def test_pictures_of_other_depths(gltf: Any, path: Path) -> None:
    gltf.textured(RED)
    png(Image.fromarray(np.array([[0, 0x8000, 0xFFFF]], np.uint16)), gltf)
    assert shown(read(gltf, path)) == [(0, 0, 0), (128, 128, 128), (255, 255, 255)]
    indexed = Image.new("P", (1, 1), 1)
    indexed.putpalette([1, 2, 3, 4, 5, 6])
    png(indexed, gltf)
    assert shown(read(gltf, path)) == [(4, 5, 6)]
    png(Image.new("RGBA", (1, 1), (9, 8, 7, 0)), gltf)
    assert shown(read(gltf, path)) == [(9, 8, 7)]
    png(Image.new("1", (1, 1), 1), gltf)
    assert shown(read(gltf, path)) == [(255, 255, 255)]


def test_damaged_and_enormous_pictures(gltf: Any, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gltf.textured(RED)
    whole = gltf.png(*[RED] * 99)
    gltf.json["images"] = [{"bufferView": gltf.view(whole[:45])}]
    with pytest.raises(UserError, match=r"s\.glb: image 0 is a damaged picture, or none"):
        read_scene(gltf.save(path))
    for content in (b"", b"nonsense", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 1 1\n"):
        gltf.json["images"] = [{"bufferView": gltf.view(content)}]
        with pytest.raises(UserError, match="image 0 is a damaged picture, or none"):
            inspect(gltf.save(path))
    png(Image.new("1", (8193, 8193)), gltf)
    with pytest.raises(UserError, match=r"image 0 is a picture of 8,193 x 8,193 pixels"):
        inspect(gltf.save(path))
    monkeypatch.setattr(atlas, "MOST_TEXELS", 10)
    png(Image.new("RGB", (4, 4)), gltf)
    with pytest.raises(UserError, match=r"s\.glb can't be read: its textures hold more than 10 texels"):
        read_scene(gltf.save(path))


DAMAGES = [
    # where, value, what the sentence says
    ("nodes.0.mesh", 9, "node 0 points to meshes 9, and there are 1"),
    ("nodes.0.mesh", -1, "node 0 has mesh -1; it must be a whole number, 0 or more"),
    ("nodes.0.mesh", "x", "node 0 has mesh 'x'"),
    ("nodes.0.mesh", 1e308, "node 0 has mesh"),
    ("nodes.0.children", [0], "node 0 hangs below itself"),
    ("nodes.0.children", ["x"], "node 0 points to nodes 'x'"),
    ("nodes.0.children", 3, "node 0 has children 3; it must be a list"),
    ("nodes.0.scale", [1, 2], "node 0 has scale .*; it must be 3 finite numbers"),
    ("nodes.0.translation", [1, 2, float("nan")], "node 0 has translation"),
    ("nodes.0.rotation", [0, 0, 0, 0], "node 0 has a rotation whose length is not near 1"),
    ("nodes.0", {"mesh": 0, "scale": [1e300] * 3, "rotation": [0, 0, 1e300, 0]}, "node 0 has a rotation"),
    (
        "nodes",
        [{"children": [1], "scale": [1e300] * 3}, {"mesh": 0, "scale": [1e300] * 3}],
        "node 1 stands or is scaled",
    ),
    ("nodes.0.matrix", [1] * 15, "node 0 has matrix"),
    ("nodes.0", [], r"node 0 is \[\]; it must be an object"),
    ("nodes", {}, "the JSON has nodes {}; it must be a list"),
    ("scene", 1, "the JSON points to scenes 1, and there are 1"),
    ("scenes.0.nodes", [0, 0], "node 0 hangs below itself, or below two others"),
    ("meshes.0.primitives", None, "mesh 0 has primitives None"),
    ("meshes.0.primitives.0.mode", 7, "has mode 7; there are 0 to 6"),
    ("meshes.0.primitives.0.attributes", {}, "mesh 0's primitive 0 has no POSITION"),
    ("meshes.0.primitives.0.indices", 0, "accessor 0 holds float32 x 3 for indices"),
    ("meshes.0.primitives.0.material", 4, "points to materials 4"),
    ("accessors.0.count", 5, "accessor 0 ends at byte 60 of bufferView 0, which has 48"),
    ("accessors.0.count", 10**9, "accessor 0 promises 1,000,000,000 rows"),
    (
        "accessors.0",
        {"componentType": 5126, "type": "VEC3", "count": 2**21},
        "accessor 0 promises 2,097,152 rows without",
    ),
    ("accessors.0.count", 3, r"mesh 0's primitive 0 points to corner 3 of 3"),
    ("accessors.0.componentType", 5124, "accessor 0 has componentType 5124"),
    ("accessors.0.componentType", 5125, "accessor 0 holds uint32 x 3 for POSITION"),
    ("accessors.0.type", "VEC2", "accessor 0 holds float32 x 2 for POSITION"),
    ("accessors.0.type", "MAT4", "accessor 0 has type 'MAT4'"),
    ("accessors.0.byteOffset", 4, "accessor 0 ends at byte 52"),
    ("accessors.0.sparse", {"count": 1}, "sparse lacks indices or values"),
    ("bufferViews.0.byteStride", 8, "bufferView 0 has byteStride 8, less than the 12 bytes of a row"),
    ("bufferViews.0.byteStride", 1 << 40, "accessor 0 ends at byte"),
    ("bufferViews.0.byteLength", 10**6, "bufferView 0 ends at byte 1,000,000 of a buffer of"),
    ("bufferViews.0.buffer", 1, "bufferView 0 points to buffers 1"),
    ("buffers", [{"byteLength": 10**9}], "buffer 0 promises 1,000,000,000 bytes and holds"),
    ("extensionsRequired", [[], "a\nb"], r"it requires \[\] or 'a\\nb', which"),
    ("extensionsRequired", "x", "the JSON has extensionsRequired 'x'"),
]


@pytest.mark.parametrize(("where", "value", "sentence"), DAMAGES)
def test_damaged_values_are_named(gltf: Any, path: Path, where: str, value: Any, sentence: str) -> None:
    gltf.wall()
    parent: Any = gltf.json
    *above, key = where.split(".")
    for step in above:
        parent = parent[int(step) if step.isdigit() else step]
    parent[int(key) if key.isdigit() else key] = value
    for look in (inspect, read_scene):
        with pytest.raises(UserError, match=rf"^Scene .*s\.glb can't be read: .*{sentence}"):
            look(gltf.save(path))


@pytest.mark.parametrize(
    ("attribute", "rows", "kind", "sentence"),
    [
        ("POSITION", [[np.nan, 0, 0]] * 4, "float32", "numbers for POSITION that are not finite"),
        ("POSITION", [[np.inf, 0, 0]] * 4, "float32", "numbers for POSITION that are not finite"),
        ("TEXCOORD_0", [[np.nan, 0]] * 4, "float32", "numbers for TEXCOORD_0 that are not finite"),
        ("TEXCOORD_0", [[1e30, 0]] * 4, "float32", "has texture coordinates beyond 1,000,000"),
        ("TEXCOORD_0", [[0, 0]] * 3, "float32", "has 3 rows for TEXCOORD_0, and there are 4 for POSITION"),
        ("TEXCOORD_0", [[0, 0, 0]] * 4, "float32", "holds float32 x 3 for TEXCOORD_0"),
        ("COLOR_0", [[np.nan] * 3] * 4, "float32", "numbers for COLOR_0 that are not finite"),
        ("COLOR_0", [[255] * 3] * 4, "uint8", "whole numbers for COLOR_0 that are not normalized"),
        ("COLOR_0", [[1] * 3] * 4, "int8", "holds int8 x 3 for COLOR_0"),
    ],
)
def test_damaged_attributes_are_named(
    gltf: Any, path: Path, attribute: str, rows: Any, kind: str, sentence: str
) -> None:
    gltf.textured(RED)["attributes"][attribute] = gltf.accessor(rows, kind)
    for look in (inspect, read_scene):
        with pytest.raises(UserError, match=sentence):
            look(gltf.save(path))


def test_corners_beyond_numbers(gltf: Any, path: Path) -> None:
    gltf.wall()
    gltf.json["nodes"][0]["scale"] = [1e300, 1, 1]
    with pytest.raises(UserError, match="it has corners farther away than 32 bits can tell"):
        read_scene(gltf.save(path))


def test_scenes_are_bounded(gltf: Any, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gltf.wall()
    monkeypatch.setattr(reader, "MOST_PLACES", 2)
    monkeypatch.setattr(scene, "MOST_TRIANGLES", 3)
    gltf.json["scenes"] = [{"nodes": [0, 1]}]
    gltf.add("nodes", mesh=0)
    with pytest.raises(UserError, match="holds 4 triangles; 3 are allowed"):
        read_scene(gltf.save(path))
    gltf.json["scenes"] = [{"nodes": [0, 1, 2]}]
    gltf.add("nodes", mesh=0)
    with pytest.raises(UserError, match="its meshes stand in more than 2 places"):
        read_scene(gltf.save(path))


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ("[" * 100_000, "nested too deeply"),
        ('{"up": [NaN, 0, 0]}', "must be unit vectors"),
        ('{"up": [1e400, 0, 0]}', "must be unit vectors"),
        ('{"up": "x"}', "must be unit vectors"),
        ('{"scale": [2, 2, 2]}', r"scale is \[2, 2, 2\]; it can only be \[1, 1, 1\]"),
        ('{"units_to_meters": 0.01}', "units_to_meters is 0.01; it can only be 1"),
        ("7", "holds 7; it must be an object"),
    ],
)
def test_stage_configurations_that_are_wrong(gltf: Any, path: Path, said: str, sentence: str) -> None:
    gltf.wall()
    gltf.save(path).with_name("s.stage_config.json").write_text(said)
    for look in (inspect, read_scene):
        with pytest.raises(UserError, match=sentence):
            look(path)


def test_vln_check_names_the_scene_and_the_feature(world: Any, gltf: Any, tmp_path: Path) -> None:
    from dynalang_py.envs.vln.check import inspect as check
    from dynalang_py.envs.vln.check import trouble

    gltf.wall()
    gltf.json["extensionsRequired"] = ["NOBODY_knows"]
    (tmp_path / "house").mkdir()
    gltf.save(tmp_path / "house" / "house.glb")
    split = next(split for split in check(world.data, tmp_path).splits if split.name == "train")
    assert not split.usable
    assert "has 1 of 1 scenes that can't be drawn" in trouble(split)
    assert "house.glb can't be read: it requires NOBODY_knows" in trouble(split)
