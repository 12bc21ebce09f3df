"""Geometry of glTF scenes: every kind of accessor, mode, attribute and place that the specification lists."""

import base64
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dynalang_py.envs.vln.gltf import FLAT, linked_files
from dynalang_py.envs.vln.scene import SceneArrays, inspect, read_scene
from dynalang_py.envs.vln.simulator import Body, Camera, Pose
from dynalang_py.errors import UserError

WALL = np.array([[[0, 0, 0], [2, 0, 0], [2, 1, 0]], [[0, 0, 0], [2, 1, 0], [0, 1, 0]]], np.float64)
FAILING = Path(__file__).parents[4] / "shared" / "data" / "failing"


def read(gltf: Any, path: Path) -> SceneArrays:
    gltf.save(path)
    inspect(path)
    return read_scene(path)


def corners(arrays: SceneArrays) -> NDArray[np.float32]:
    """(F, 3, 3) of triangles."""
    return arrays.vertices[arrays.faces]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "s.glb"


def assert_wall(arrays: SceneArrays, atol: float = 1e-6) -> None:
    np.testing.assert_allclose(corners(arrays), WALL, atol=atol)


@pytest.mark.parametrize("name", ["s.glb", "s.gltf", "s.GLB"])
def test_both_containers(gltf: Any, tmp_path: Path, name: str) -> None:
    gltf.wall()
    assert_wall(read(gltf, tmp_path / name))
    assert linked_files(tmp_path / name) == []


def test_buffers_and_images_in_files_beside(gltf: Any, tmp_path: Path) -> None:
    gltf.textured((1, 2, 3))
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "a b.bin").write_bytes(gltf.bytes)
    (tmp_path / "ü.png").write_bytes(gltf.png((9, 8, 7)))
    gltf.json["images"] = [{"uri": "%C3%BC.png"}]
    gltf.json["buffers"] = [{"uri": "parts/a%20b.bin", "byteLength": len(gltf.bytes)}]
    path = gltf.save(tmp_path / "s.gltf")
    assert_wall(read_scene(path))
    assert read_scene(path).texels.view(np.uint8)[:3].tolist() == [9, 8, 7]
    assert linked_files(path) == [tmp_path / "parts" / "a b.bin", tmp_path / "ü.png"]


@pytest.mark.parametrize("kind", ["uint8", "uint16", "uint32"])
def test_kinds_of_indices(gltf: Any, path: Path, kind: str) -> None:
    gltf.wall(indices=gltf.accessor(gltf.ORDER, kind))
    assert_wall(read(gltf, path))


@pytest.mark.parametrize(
    ("kind", "normalized", "unit"),
    [
        ("float32", False, 1),
        *((kind, False, 1) for kind in ("int8", "uint8", "int16", "uint16")),
        *((kind, True, 1 / np.iinfo(kind).max) for kind in ("int8", "uint8", "int16", "uint16")),
    ],
)
def test_kinds_of_positions(gltf: Any, path: Path, kind: str, normalized: bool, unit: float) -> None:
    gltf.json["extensionsRequired"] = ["KHR_mesh_quantization"]
    gltf.wall()["attributes"]["POSITION"] = gltf.accessor(gltf.CORNERS, kind, normalized=normalized)
    np.testing.assert_allclose(corners(read(gltf, path)), np.multiply(WALL, unit), atol=1e-7)


def test_the_least_normalized_number_is_minus_one(gltf: Any, path: Path) -> None:
    rows = np.array([[-32768, 0, 0], [32767, 0, 0], [0, 32767, 0], [0, 0, 0]])
    gltf.wall()["attributes"]["POSITION"] = gltf.accessor(rows, "int16", normalized=True)
    assert read(gltf, path).vertices[0, 0] == -1


def test_rows_lie_a_stride_apart(gltf: Any, path: Path) -> None:
    rows = np.zeros((4, 5), np.float32)
    rows[:, 1:4] = gltf.CORNERS
    primitive = gltf.wall()
    accessor = gltf.json["accessors"][primitive["attributes"]["POSITION"]]
    # The last row ends before its stride does.
    accessor |= {"bufferView": gltf.view(rows.tobytes()[:-4], byteStride=20), "byteOffset": 4}
    assert_wall(read(gltf, path))


def test_sparse_rows_replace_others_and_zeros(gltf: Any, path: Path) -> None:
    for base in ({}, {"bufferView": gltf.view(np.array(gltf.CORNERS[:2] * 2, np.float32).tobytes())}):
        places, rows = ([1, 2, 3], gltf.CORNERS[1:]) if not base else ([2, 3], gltf.CORNERS[2:])
        sparse = {
            "count": len(places),
            "indices": {"bufferView": gltf.view(np.array(places, np.uint16).tobytes()), "componentType": 5123},
            "values": {"bufferView": gltf.view(np.array(rows, np.float32).tobytes())},
        }
        gltf.json.pop("meshes", None), gltf.json.pop("nodes", None)
        position = gltf.add("accessors", componentType=5126, type="VEC3", count=4, sparse=sparse, **base)
        gltf.wall()["attributes"]["POSITION"] = position
        assert_wall(read(gltf, path))


def test_triangles_without_indices_and_corners_left_over(gltf: Any, path: Path) -> None:
    primitive = gltf.wall()
    del primitive["indices"]
    primitive["attributes"]["POSITION"] = gltf.accessor([*np.reshape(WALL, (6, 3)), (9, 9, 9)])
    assert_wall(read(gltf, path))


@pytest.mark.parametrize(
    ("mode", "order", "expected"),
    [
        (4, [0, 1, 2, 0, 2, 3], [[0, 1, 2], [0, 2, 3]]),
        (5, [0, 1, 3, 2], [[0, 1, 3], [1, 2, 3]]),
        (5, [0, 1, 3, 2, 0], [[0, 1, 3], [1, 2, 3], [3, 2, 0]]),
        (6, [0, 1, 2, 3], [[1, 2, 0], [2, 3, 0]]),
    ],
)
@pytest.mark.parametrize("indexed", [True, False])
def test_lists_strips_and_fans(
    gltf: Any, path: Path, mode: int, order: list[int], expected: list[list[int]], indexed: bool
) -> None:
    primitive = gltf.wall(mode=mode, indices=gltf.accessor(order, "uint8"))
    if not indexed:
        del primitive["indices"]
        primitive["attributes"]["POSITION"] = gltf.accessor(np.array(gltf.CORNERS)[order])
    found = corners(read(gltf, path))
    np.testing.assert_array_equal(found, np.array(gltf.CORNERS, np.float32)[expected])
    normals = np.cross(found[:, 1] - found[:, 0], found[:, 2] - found[:, 0])[:, 2]
    assert (normals[:2] > 0).all()  # all turn the same way


def test_nobody_walks_through_a_fan(gltf: Any, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    embree = pytest.importorskip("dynalang_py.envs.vln.embree")
    monkeypatch.setenv("XDG_CACHE_HOME", str(path.parent / "cache"))
    floor = [[-3, 0, 3], [3, 0, 3], [3, 0, -3], [-3, 0, -3]]
    gltf.wall(mode=6, indices=gltf.accessor([0, 1, 2, 3], "uint8"))
    gltf.json["nodes"][0]["translation"] = [-1, 0, -1]
    gltf.add(
        "nodes", mesh=gltf.add("meshes", primitives=[{"attributes": {"POSITION": gltf.accessor(floor)}, "mode": 6}])
    )
    gltf.json["scenes"] = [{"nodes": [0, 1]}]
    simulator = embree.Embree(Camera(width=8, height=8, above_floor=0.5), Body())
    simulator.load(gltf.save(path))
    simulator.set_pose(Pose.at([0, 0, 0]))
    assert simulator.observe()["depth"][4, 4] == pytest.approx(1)
    assert [simulator.forward(0.25) for _ in range(8)][-1]
    assert -1 < simulator.pose.position[2] < -0.5


@pytest.mark.parametrize(("mode", "name"), [(0, "points"), (1, "lines"), (2, "line loops"), (3, "line strips")])
def test_what_no_ray_can_hit_is_refused(gltf: Any, path: Path, mode: int, name: str) -> None:
    gltf.wall(mode=mode)
    with pytest.raises(UserError, match=rf"s\.glb can't be read: mesh 0's primitive 0 draws {name} \(mode {mode}\)"):
        read(gltf, path)


def test_a_scene_of_nothing(gltf: Any, path: Path) -> None:
    gltf.wall()
    gltf.json["scenes"] = [{}]
    with pytest.raises(UserError, match=r"^Scene .*s\.glb holds no triangles\.$"):
        read(gltf, path)


def test_attributes_that_do_not_show_are_ignored(gltf: Any, path: Path) -> None:
    attributes = gltf.wall()["attributes"]
    for name, width in (("NORMAL", 3), ("TANGENT", 4), ("JOINTS_0", 4), ("WEIGHTS_0", 4), ("_MINE", 2), ("COLOR_1", 4)):
        attributes[name] = gltf.accessor(np.ones((4, width)))
    arrays = read(gltf, path)
    assert_wall(arrays)
    assert arrays.tints.size == 0


def test_places_of_nodes_multiply(gltf: Any, path: Path) -> None:
    gltf.wall()
    half = np.sqrt(0.5)
    gltf.json["nodes"][0] |= {"rotation": [0, half, 0, half]}  # a quarter to the left: x to -z, z to x
    matrix = np.diag([2.0, 3.0, 1.0, 1.0])
    matrix[:3, 3] = [10, 0, 0]
    gltf.add("nodes", children=[0], translation=[0, 0, 5], scale=[1, 1, 2])
    gltf.add("nodes", children=[1], matrix=matrix.T.ravel().tolist())
    gltf.json["scenes"][0]["nodes"] = [2]
    x, y, z = np.moveaxis(WALL, -1, 0)
    expected = np.stack([2 * z + 10, 3 * y, -2 * x + 5], -1)
    np.testing.assert_allclose(corners(read(gltf, path)), expected, atol=1e-5)


def test_a_mesh_stands_wherever_a_node_names_it_and_mirrors_turn_it(gltf: Any, path: Path) -> None:
    gltf.wall()
    gltf.add("nodes", mesh=0, translation=[0, 0, 3])
    gltf.add("nodes", mesh=0, scale=[-1, 1, 1])
    gltf.json["scenes"][0]["nodes"] = [0, 1, 2]
    found = corners(read(gltf, path))
    np.testing.assert_allclose(found[2:4], WALL + np.array([0, 0, 3]))
    np.testing.assert_allclose(found[4:], WALL * [-1, 1, 1])


def test_only_the_scene_shows_and_by_default_the_first(gltf: Any, path: Path) -> None:
    gltf.wall()
    gltf.add("nodes", mesh=0, translation=[5, 0, 0])
    gltf.json["scenes"].append({"nodes": [1]})
    del gltf.json["scene"]
    assert_wall(read(gltf, path))
    gltf.json["scene"] = 1
    np.testing.assert_allclose(corners(read(gltf, path)), WALL + np.array([5, 0, 0]))


def test_hidden_nodes_hide_what_hangs_below_them(gltf: Any, path: Path) -> None:
    gltf.wall()
    gltf.add("nodes", mesh=0, children=[2], extensions={"KHR_node_visibility": {"visible": False}})
    gltf.add("nodes", mesh=0)
    gltf.json |= {"scenes": [{"nodes": [0, 1]}], "extensionsRequired": ["KHR_node_visibility"]}
    assert_wall(read(gltf, path))


def test_instances_of_a_mesh(gltf: Any, path: Path) -> None:
    gltf.wall()
    instances = {
        "TRANSLATION": gltf.accessor([[0, 0, 0], [0, 0, 1]]),
        "SCALE": gltf.accessor([[1, 1, 1], [2, 2, 2]]),
        "ROTATION": gltf.accessor([[0, 0, 0, 127], [0, 0, 0, 127]], "int8", normalized=True),
    }
    gltf.json["nodes"][0] |= {"extensions": {"EXT_mesh_gpu_instancing": {"attributes": instances}}}
    gltf.json["nodes"][0] |= {"translation": [7, 0, 0]}
    gltf.json["extensionsRequired"] = ["EXT_mesh_gpu_instancing"]
    found = corners(read(gltf, path))
    np.testing.assert_allclose(found[:2], WALL + np.array([7, 0, 0]), atol=1e-6)
    np.testing.assert_allclose(found[2:], WALL * 2 + np.array([7, 0, 1]), atol=1e-6)


def test_skins_targets_and_animations_stay_at_rest(gltf: Any, path: Path) -> None:
    primitive = gltf.wall(targets=[{"POSITION": gltf.accessor(np.ones((4, 3)))}])
    primitive["attributes"]["JOINTS_0"] = gltf.accessor(np.zeros((4, 4)), "uint8")
    primitive["attributes"]["WEIGHTS_0"] = gltf.accessor(np.ones((4, 4)))
    gltf.json["meshes"][0]["weights"] = [0]
    gltf.json["nodes"][0]["skin"] = gltf.add("skins", joints=[0])
    gltf.add("animations", channels=[], samplers=[])
    assert_wall(read(gltf, path))


def draco(gltf: Any) -> dict[str, Any]:
    """A wall of which only Draco knows. Returns the extension."""
    decoder = pytest.importorskip("DracoPy")
    generic = {7: np.array([[0, 255, 0, 255]] * 4, np.uint8)}
    points, faces = np.array(gltf.CORNERS, np.float32), np.reshape(gltf.ORDER, (2, 3))
    uv = np.array(gltf.UV, np.float64)
    content = decoder.encode(points, faces, 14, tex_coord=uv, generic_attributes=generic, preserve_order=True)
    ids = {found["attribute_type"]: found["unique_id"] for found in decoder.decode(content).attributes}
    primitive = gltf.textured((200, 0, 0), (0, 100, 0))
    primitive["attributes"]["COLOR_0"] = gltf.accessor(np.zeros((4, 4)), "uint8", normalized=True)
    for accessor in gltf.json["accessors"]:
        del accessor["bufferView"]
    primitive["extensions"] = {
        "KHR_draco_mesh_compression": {
            "bufferView": gltf.view(content),
            "attributes": {"POSITION": ids[0], "TEXCOORD_0": ids[3], "COLOR_0": 7},
        }
    }
    gltf.json["extensionsRequired"] = ["KHR_draco_mesh_compression"]
    return primitive["extensions"]["KHR_draco_mesh_compression"]


def test_draco(gltf: Any, path: Path) -> None:
    draco(gltf)
    arrays = read(gltf, path)
    assert_wall(arrays, atol=1e-3)
    np.testing.assert_allclose(arrays.surface[:, :2], [[0, 1], [0, 1]], atol=1e-3)
    np.testing.assert_array_equal(arrays.tints, [[0, 1, 0] * 3] * 2)


def test_damaged_draco(gltf: Any, path: Path) -> None:
    extension = draco(gltf)
    extension["bufferView"] = gltf.view(b"DRACO\2\2\1\1\0\0\xff\xff")
    with pytest.raises(UserError, match="mesh 0's primitive 0 holds damaged Draco data"):
        read(gltf, path)


def test_draco_without_its_package(gltf: Any, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draco(gltf)
    monkeypatch.setitem(__import__("sys").modules, "DracoPy", None)
    with pytest.raises(UserError, match=r"s\.glb: KHR_draco_mesh_compression needs the vln extra: pip install"):
        read(gltf, path)


def test_a_mesh_beside_its_compressed_self_is_read_as_it_is(gltf: Any, path: Path) -> None:
    gltf.wall(extensions={"KHR_draco_mesh_compression": {"bufferView": gltf.view(b"DRACO"), "attributes": {}}})
    assert_wall(read(gltf, path))


@pytest.mark.parametrize("name", ["EXT_meshopt_compression", "KHR_meshopt_compression"])
def test_meshopt_is_refused_unless_there_is_a_fallback(gltf: Any, path: Path, name: str) -> None:
    gltf.wall()
    gltf.json["bufferViews"][0]["extensions"] = {name: {"buffer": 0, "byteLength": 4}}
    assert_wall(read(gltf, path))
    gltf.json["bufferViews"][0]["buffer"] = 1
    gltf.json["buffers"] = [{"byteLength": len(gltf.bytes)}, {"byteLength": 48}]
    with pytest.raises(UserError, match=f"bufferView 0 is compressed by {name}, which is not read"):
        read(gltf, path)


@pytest.mark.parametrize("name", FLAT)
def test_extensions_that_do_not_show(gltf: Any, path: Path, name: str) -> None:
    gltf.wall(material=0)
    gltf.add("materials", extensions={name: {"factor": 0}})
    gltf.json |= {"extensionsUsed": [name, "NOBODY_knows"], "extensionsRequired": [name]}
    assert_wall(read(gltf, path))


@pytest.mark.parametrize("name", ["NOBODY_knows", "KHR_gaussian_splatting", "CESIUM_RTC", "KHR_techniques_webgl"])
def test_unknown_extensions_that_a_file_requires_are_refused(gltf: Any, path: Path, name: str) -> None:
    gltf.wall()
    gltf.json["extensionsRequired"] = ["KHR_materials_unlit", name]
    with pytest.raises(UserError, match=rf"s\.glb can't be read: it requires {name}, which is not read\.$"):
        read(gltf, path)


@pytest.mark.skipif(not FAILING.is_dir(), reason="the failing walls are not here")
def test_the_walls_that_were_wrong() -> None:
    for name, feature in (("basisu", "KHR_texture_basisu"), ("draco", "Draco")):
        with pytest.raises(UserError, match=rf"wall_{name}\.glb .*{feature}"):
            inspect(FAILING / f"wall_{name}.glb")
    for name in ("plain", "triangle_fan", "texture_transform", "colours_u16"):
        inspect(FAILING / f"wall_{name}.glb")
    plain, fan = (corners(read_scene(FAILING / f"wall_{name}.glb")) for name in ("plain", "triangle_fan"))
    assert len(plain) == len(fan)
    assert set(map(tuple, fan.reshape(-1, 3).tolist())) == set(map(tuple, plain.reshape(-1, 3).tolist()))
    colours = read_scene(FAILING / "wall_colours_u16.glb")
    assert [255, 128, 0, 255] in colours.texels.view(np.uint8).reshape(-1, 4).tolist()


def spoilt(text: bytes = b"{}", content: bytes = b"", **head: Any) -> bytes:
    magic, version = head.get("magic", b"glTF"), head.get("version", 2)
    size = head.get("size", len(text))
    return struct.pack("<4sIII4s", magic, version, 20 + len(text) + len(content), size, b"JSON") + text + content


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "does not begin as a GLB file does"),
        (b"PK\3\4" * 9, "does not begin as a GLB file does"),
        (spoilt(version=1), "GLB of version 1"),
        (spoilt(size=10**6), "promises 22 bytes, 1,000,000 of them JSON"),
        (spoilt(b"{}  ", struct.pack("<I4s", 999, b"BIN\0")), "a chunk of 999 bytes begins 0 bytes before its end"),
        (spoilt(b"nonsense"), "can't be read as JSON"),
        (spoilt(b"[" * 100_000), "nested too deeply"),
        (spoilt(b"[]"), "the JSON is \\[\\]; it must be an object"),
        (spoilt(b"{}"), "glTF of version '\\?'"),
        (spoilt(b'{"asset": {"version": "1.0"}}'), "glTF of version '1.0'"),
        (spoilt(b'{"asset": {"version": "2.1", "minVersion": "2.1"}}'), "glTF of version '2.1'"),
        (spoilt(b'{"asset": {"version": "2.0"}}'), "has no scene"),
        (spoilt(b"[" + b"0," * (1 << 23) + b"0]"), "its JSON holds 8,388,609 values"),
    ],
)
def test_damaged_containers(path: Path, content: bytes, sentence: str) -> None:
    path.write_bytes(content)
    for look in (inspect, read_scene):
        with pytest.raises(UserError, match=sentence):
            look(path)


def test_a_uri_does_not_leave_the_folder(gltf: Any, tmp_path: Path) -> None:
    gltf.wall()
    outside = tmp_path / "outside.bin"
    outside.write_bytes(gltf.bytes)
    (tmp_path / "in").mkdir()
    leaving = [
        "../outside.bin",
        "x/../../outside.bin",
        str(outside),
        f"file://{outside}",
        "a%00b",
        "\ud800",
        "a" * 2000,
    ]
    for uri in leaving:
        gltf.json["buffers"] = [{"uri": uri, "byteLength": len(gltf.bytes)}]
        path = gltf.save(tmp_path / "in" / "s.gltf")
        with pytest.raises(UserError, match=r"buffer 0 lies at .*; it must be a file beside the scene"):
            inspect(path)
    for uri, sentence in (
        ("gone.bin", "the file of buffer 0, .*gone.bin can't be read: No such file"),
        ("data:;base64,AA", "damaged data URI"),
        ("data:,AA", "not in base64"),
        ("data:;base64," + base64.b64encode(gltf.bytes[:-1]).decode(), "promises .* bytes and holds"),
    ):
        gltf.json["buffers"] = [{"uri": uri, "byteLength": len(gltf.bytes)}]
        with pytest.raises(UserError, match=sentence):
            inspect(gltf.save(path))
