"""The simulator against geometry that can be worked out by hand."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

pytest.importorskip("embreex")
trimesh = pytest.importorskip("trimesh")

from dynalang_py.envs.vln import atlas, embree, scene  # noqa: E402
from dynalang_py.envs.vln.embree import Embree  # noqa: E402
from dynalang_py.envs.vln.simulator import Body, Camera, Pose, Simulator, make_simulator  # noqa: E402
from dynalang_py.errors import UserError  # noqa: E402

RED, GREEN, BLUE, WHITE = (200, 30, 20), (10, 180, 60), (30, 40, 220), (255, 255, 255)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    embree._open.cache_clear()
    return tmp_path / "cache" / "dynalang_py" / "scenes"


def quad(*corners: Sequence[float], color: tuple[int, int, int] = WHITE, image: Image.Image | None = None) -> Any:
    """Corners: bottom left, bottom right, top right, top left of the picture."""
    faces = [[0, 1, 2], [0, 2, 3]]
    material = trimesh.visual.material.PBRMaterial(baseColorFactor=[*color, 255], baseColorTexture=image)
    uv = [[0, 0], [1, 0], [1, 1], [0, 1]]
    visual = trimesh.visual.TextureVisuals(uv=uv, material=material)
    return trimesh.Trimesh(np.array(corners, float), faces, visual=visual, process=False)


def floor(size: float = 4, y: float = 0, color: tuple[int, int, int] = WHITE) -> Any:
    h = size / 2
    return quad([-h, y, h], [h, y, h], [h, y, -h], [-h, y, -h], color=color)


def wall(z: float, size: float = 4, **look: Any) -> Any:
    """Stands ahead of an agent at yaw 0; its picture is upright as seen from there."""
    h = size / 2
    return quad([-h, 0, z], [h, 0, z], [h, size, z], [-h, size, z], **look)


def save(path: Path, *meshes: Any, up: Sequence[float] | None = (0, 1, 0)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    trimesh.Scene(list(meshes)).export(path)
    if up is not None:
        config = {"render_asset": path.name, "up": up, "front": [0, 0, -1]}
        path.with_name(f"{path.stem}.stage_config.json").write_text(json.dumps(config))
    return path


def look(
    path: Path, camera: Camera | None = None, shade: bool = False, pose: Pose | None = None
) -> dict[str, NDArray[Any]]:
    simulator = Embree(camera or Camera(), Body(), shade)
    simulator.load(path)
    simulator.set_pose(pose or Pose())
    return simulator.observe()


def test_depth_in_a_room_is_the_distance_along_the_viewing_axis(tmp_path: Path) -> None:
    room = trimesh.creation.box((4, 3, 6))
    room.apply_translation([0, 1.5, 0])
    camera = Camera(width=64, height=48, hfov=90, above_floor=1.25)
    depth = look(save(tmp_path / "room.glb", room), camera, pose=Pose.at([0.5, 0, 1]))["depth"]
    # A ray through a pixel's centre goes x to the right and y up for each metre ahead; the first surface wins.
    x = ((np.arange(64) + 0.5) / 32 - 1)[None]
    y = ((24 - (np.arange(48) + 0.5)) / 32)[:, None]
    sides = np.where(x > 0, 1.5, 2.5) / np.abs(x)
    ends = np.where(y > 0, 3 - 1.25, 1.25) / np.abs(y)
    assert depth.dtype == np.float32
    np.testing.assert_allclose(depth, np.minimum(np.minimum(sides, ends), 4.0), rtol=1e-5)


def test_nothing_hit_is_black_with_depth_0(tmp_path: Path) -> None:
    seen = look(save(tmp_path / "open.glb", floor()), shade=True)
    assert (seen["depth"][:32] == 0).all()
    assert (seen["rgb"][:32] == 0).all()
    assert (seen["depth"][-1, 20:44] > 0).all()


def test_depth_is_absent_if_the_camera_has_none(tmp_path: Path) -> None:
    seen = look(save(tmp_path / "open.glb", floor()), Camera(depth=False, width=7, height=5))
    assert set(seen) == {"rgb"}
    assert seen["rgb"].shape == (5, 7, 3)
    assert seen["rgb"].dtype == np.uint8


def test_turning_left_brings_what_stood_to_the_left(tmp_path: Path) -> None:
    left = quad([-2, 0, 2], [-2, 0, -2], [-2, 4, -2], [-2, 4, 2], color=RED)
    path = save(tmp_path / "s.glb", floor(), left, wall(-2, color=BLUE))
    simulator = make_simulator("embree", Camera(), Body(), shade=False)
    simulator.load(path)
    assert tuple(simulator.observe()["rgb"][31, 31]) == BLUE
    for _ in range(6):
        simulator.turn(15)
    seen = simulator.observe()
    assert tuple(seen["rgb"][31, 31]) == RED
    assert seen["depth"][31, 31] == pytest.approx(2, rel=1e-5)
    assert simulator.pose.yaw == pytest.approx(90)


def test_unlit_colours_are_the_files_own_and_light_only_dims_them(tmp_path: Path) -> None:
    image = Image.new("RGB", (4, 4), GREEN)
    path = save(tmp_path / "s.glb", floor(color=BLUE), wall(-2, image=image))
    unlit, lit = look(path)["rgb"], look(path, shade=True)["rgb"]
    assert tuple(unlit[31, 31]) == GREEN
    assert tuple(unlit[63, 31]) == BLUE
    assert tuple(lit[63, 31]) == BLUE  # floors are brightest
    np.testing.assert_allclose(lit[31, 31] / GREEN, embree.LIGHT[2], atol=0.1)
    assert (lit[31, 31] < GREEN).all()


def test_a_base_colour_multiplies_its_texture(tmp_path: Path) -> None:
    image = Image.new("RGB", (4, 4), (200, 100, 50))
    seen = look(save(tmp_path / "s.glb", floor(), wall(-2, image=image, color=(255, 128, 0))))["rgb"]
    assert tuple(seen[31, 31]) == (200, 50, 0)


def test_every_texel_appears_where_it_should(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    texels = rng.integers(0, 256, (8, 8, 3), np.uint8)
    path = save(tmp_path / "s.glb", floor(8), wall(-2, size=4, image=Image.fromarray(texels)))
    # Half of a 4 m wall at 2 m fills 45°; from the height of its middle, 8 pixels show one texel.
    seen = look(path, Camera(above_floor=2.0))["rgb"]
    np.testing.assert_array_equal(seen, texels.repeat(8, 0).repeat(8, 1))


def test_textures_repeat_outside_of_the_unit_square(tmp_path: Path) -> None:
    texels = np.random.default_rng(0).integers(0, 256, (4, 4, 3), np.uint8)
    tiled = wall(-2, size=4, image=Image.fromarray(texels))
    tiled.visual.uv = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]], float)
    seen = look(save(tmp_path / "s.glb", floor(8), tiled), Camera(above_floor=2.0))["rgb"]
    np.testing.assert_array_equal(seen, np.tile(texels, (2, 2, 1)).repeat(8, 0).repeat(8, 1))


def test_far_texels_blend_instead_of_flickering(tmp_path: Path) -> None:
    board = (np.indices((512, 512)).sum(0) % 2 * 255).astype(np.uint8)
    image = Image.fromarray(np.stack([board] * 3, -1))
    seen = look(save(tmp_path / "s.glb", floor(8), wall(-2, image=image)), Camera(above_floor=2.0))["rgb"]
    assert np.abs(seen.astype(int) - 127).max() <= 2


def test_colours_of_corners_are_interpolated(tmp_path: Path) -> None:
    painted = wall(-2)
    colors = np.array([[0, 0, 0, 255], [255, 0, 0, 255], [255, 0, 0, 255], [0, 0, 0, 255]], np.uint8)
    painted.visual = trimesh.visual.ColorVisuals(painted, vertex_colors=colors)
    seen = look(save(tmp_path / "s.glb", floor(8), painted), Camera(above_floor=2.0))["rgb"]
    np.testing.assert_allclose(seen[31, :, 0], (np.arange(64) + 0.5) / 64 * 255, atol=1)
    assert (seen[..., 1:] == 0).all()


def test_places_in_the_scene_graph_are_applied(tmp_path: Path) -> None:
    graph = trimesh.Scene([floor()])
    graph.add_geometry(wall(0, color=RED), transform=trimesh.transformations.translation_matrix([0, 0, -1.5]))
    graph.export(tmp_path / "s.glb")
    save(tmp_path / "other.glb", floor())
    (tmp_path / "other.stage_config.json").rename(tmp_path / "s.stage_config.json")
    seen = look(tmp_path / "s.glb")
    assert tuple(seen["rgb"][31, 31]) == RED
    assert seen["depth"][31, 31] == pytest.approx(1.5, rel=1e-5)


def test_a_bare_glb_is_z_up_and_one_with_a_stage_configuration_lies_as_it_says(tmp_path: Path) -> None:
    upright = [floor(), wall(-1.5, color=RED)]
    tilted = [mesh.copy() for mesh in upright]
    for mesh in tilted:
        mesh.apply_transform(trimesh.transformations.rotation_matrix(np.pi / 2, [1, 0, 0]))  # y to z, −z to y
    told = look(save(tmp_path / "told" / "s.glb", *upright))
    bare = look(save(tmp_path / "bare" / "s.glb", *tilted, up=None))
    np.testing.assert_allclose(bare["depth"], told["depth"], atol=1e-5)
    assert (bare["rgb"] == told["rgb"]).mean() > 0.999
    assert tuple(bare["rgb"][31, 31]) == RED


def test_an_obj_is_y_up_and_its_textures_are_read(tmp_path: Path) -> None:
    image = Image.new("RGB", (2, 2), GREEN)
    image.putpixel((0, 0), RED)  # top left
    image.save(tmp_path / "picture.png")
    (tmp_path / "s.mtl").write_text("newmtl a\nKd 1 1 1\nmap_Kd picture.png\n")
    (tmp_path / "s.obj").write_text(
        "mtllib s.mtl\nv -2 0 -2\nv 2 0 -2\nv 2 4 -2\nv -2 4 -2\nv -2 0 2\nv 2 0 2\n"
        "vt 0 0\nvt 1 0\nvt 1 1\nvt 0 1\nusemtl a\nf 1/1 2/2 3/3\nf 1/1 3/3 4/4\nf 5/1 6/2 2/2\nf 5/1 2/2 1/1\n"
    )
    seen = look(tmp_path / "s.obj", Camera(above_floor=2.0))["rgb"]
    assert tuple(seen[5, 5]) == RED
    assert tuple(seen[5, 60]) == tuple(seen[60, 5]) == GREEN


def test_unreadable_scenes_are_one_sentence_each(tmp_path: Path) -> None:
    (tmp_path / "broken.glb").write_bytes(b"not a scene")
    (tmp_path / "house.xyz123").write_text("not a scene")
    simulator = Embree(Camera(), Body())
    for name in ("broken.glb", "house.xyz123"):
        with pytest.raises(UserError, match=rf"^Scene .*{name} can't be read: .*\.$"):
            simulator.load(tmp_path / name)
    points = trimesh.PointCloud(np.random.default_rng(0).normal(size=(10, 3)))
    with pytest.raises(UserError, match=r"^Scene .*points\.glb can't be read: .* draws points \(mode 0\), .*\.$"):
        simulator.load(save(tmp_path / "points.glb", points))
    with pytest.raises(UserError, match=r"^Scene .*wall\.glb: nobody can stand in it: no level surface of 1 m² has"):
        simulator.load(save(tmp_path / "wall.glb", wall(-2)))
    huge = floor()
    huge.apply_scale(100)
    with pytest.raises(
        UserError, match=r"^Scene .*: a scene of 400 × 0 × 400 m with 160000 m² .* the unit must be the metre\.$"
    ):
        simulator.load(save(tmp_path / "huge.glb", huge))


@pytest.mark.parametrize("text", ["{", '{"up": [0, 1]}', '{"up": [0, 0, -1]}', "[]"])
def test_a_broken_stage_configuration_is_named(tmp_path: Path, text: str) -> None:
    path = save(tmp_path / "s.glb", floor())
    (tmp_path / "s.stage_config.json").write_text(text)
    with pytest.raises(UserError, match=r"s\.stage_config\.json"):
        Embree(Camera(), Body()).load(path)


def test_a_process_keeps_one_copy_of_a_scene(tmp_path: Path) -> None:
    path = save(tmp_path / "s.glb", floor())
    first, second = Embree(Camera(), Body()), Embree(Camera(width=8), Body())
    first.load(path)
    second.load(path)
    assert first._loaded is second._loaded


def test_arrays_come_from_the_cache_until_the_file_changes(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save(tmp_path / "s.glb", floor(), wall(-2, color=RED))
    fresh = look(path)
    assert len(list(cache.iterdir())) == 2  # what is seen, and where one can stand
    embree._open.cache_clear()
    with monkeypatch.context() as without_reading:
        without_reading.setattr(embree, "read_scene", None)
        without_reading.setattr(embree, "find_floors", None)
        again = look(path)
    np.testing.assert_array_equal(again["rgb"], fresh["rgb"])
    np.testing.assert_array_equal(again["depth"], fresh["depth"])
    save(path, floor(), wall(-2, color=BLUE))
    assert tuple(look(path)["rgb"][31, 31]) == BLUE


def test_every_file_that_a_scene_reads_is_seen_to_change(tmp_path: Path, cache: Path) -> None:
    """In this process and, by the cache, in others. The files change in place, and keep their size."""
    (tmp_path / "tex").mkdir()
    faces = "vt 0 0\nusemtl a\nf 1/1 2/1 3/1 4/1\nf 5/1 6/1 7/1 8/1\n"
    corners = "v -2 0 -2\nv 2 0 -2\nv 2 4 -2\nv -2 4 -2\nv -2 0 2\nv 2 0 2\nv 2 0 -2\nv -2 0 -2\n"
    path = tmp_path / "s.obj"
    path.write_text(f"mtllib s.mtl\n{corners}{faces}")
    seen = []
    for kd, color in (("1 1 1", RED), ("1 1 1", BLUE), ("0 0 0", BLUE), ("1 1 1", BLUE)):
        Image.new("RGB", (1, 1), color).save(tmp_path / "tex" / "wood.bmp")
        (tmp_path / "s.mtl").write_text(f"newmtl a\nKd {kd}\nmap_Kd tex/wood.bmp\n")
        seen.append(tuple(look(path)["rgb"][5, 5]))
        embree._open.cache_clear()
        assert tuple(look(path)["rgb"][5, 5]) == seen[-1]
    assert seen == [RED, BLUE, (0, 0, 0), BLUE]
    assert len(list(cache.iterdir())) == 2 * 3  # what is seen, and where one can stand


@pytest.mark.parametrize("spoil", [b"", None, b"no array"])
def test_a_damaged_entry_of_the_cache_is_made_anew(tmp_path: Path, cache: Path, spoil: bytes | None) -> None:
    path = save(tmp_path / "s.glb", floor(), wall(-2, color=RED))
    fresh = look(path)
    files = sorted(cache.rglob("*.npy"))
    for file in files:
        whole = file.read_bytes()
        file.write_bytes(whole[:-1] if spoil is None else spoil)
        embree._open.cache_clear()
        np.testing.assert_array_equal(look(path)["rgb"], fresh["rgb"])
        assert file.read_bytes() == whole
    assert sorted(cache.rglob("*.npy")) == files


def test_files_beside_others_than_glb_and_obj_are_refused(tmp_path: Path) -> None:
    mesh = floor()
    (tmp_path / "s.ply").write_bytes(trimesh.exchange.ply.export_ply(mesh, encoding="ascii"))
    look(tmp_path / "s.ply")
    text = (tmp_path / "s.ply").read_text()
    (tmp_path / "t.ply").write_text(text.replace("comment", "comment TextureFile ../wood.png\ncomment", 1))
    with pytest.raises(UserError, match=r"^Scene .*t\.ply can't be read: it shows '\.\./wood\.png', and only GLB"):
        look(tmp_path / "t.ply")
    (tmp_path / "s.zip").write_bytes(b"")
    with pytest.raises(UserError, match=r"s\.zip can't be read: its name must end in one of .*\.obj"):
        look(tmp_path / "s.zip")


def test_arrays_are_mapped_so_that_processes_share_them(tmp_path: Path) -> None:
    simulator = Embree(Camera(), Body())
    simulator.load(save(tmp_path / "s.glb", floor()))
    assert isinstance(simulator._loaded.arrays.texels.base, np.memmap)
    assert isinstance(simulator._loaded.grid.floors.neighbours.base, np.memmap)


def test_a_scene_that_another_process_put_there_meanwhile_is_used(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save(tmp_path / "s.glb", floor(), wall(-2, color=RED))

    def slow(path: Path) -> scene.SceneArrays:
        with monkeypatch.context() as other:
            other.setattr(embree, "read_scene", scene.read_scene)
            embree.open_scene(path.with_name("link.glb"), Body())
        return scene.read_scene(path)

    (tmp_path / "link.glb").symlink_to(path)
    (tmp_path / "link.stage_config.json").symlink_to(tmp_path / "s.stage_config.json")
    monkeypatch.setattr(embree, "read_scene", slow)
    assert tuple(look(path)["rgb"][31, 31]) == RED
    assert len(list(cache.iterdir())) == 2


def test_without_a_place_for_the_cache_scenes_load_all_the_same(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert tuple(look(save(tmp_path / "s.glb", floor(), wall(-2, color=RED)))["rgb"][31, 31]) == RED


def test_large_textures_are_scaled_down(tmp_path: Path) -> None:
    image = Image.new("RGB", (2 * atlas.MAX_SIDE, atlas.MAX_SIDE), GREEN)
    arrays = scene.read_scene(save(tmp_path / "s.glb", wall(-2, image=image)))
    assert arrays.pyramids[:, 1].max() == atlas.MAX_SIDE
    assert arrays.pyramids[:, 2].max() == atlas.MAX_SIDE // 2


def test_walking_on_and_looking_gives_the_same_every_time(tmp_path: Path) -> None:
    path = save(tmp_path / "s.glb", floor(6), wall(-2, image=Image.effect_noise((64, 64), 80).convert("RGB")))

    def run(simulator: Simulator) -> list[NDArray[Any]]:
        simulator.load(path)
        rng = np.random.default_rng(3)
        simulator.set_pose(Pose.at(simulator.random_point(rng)))
        seen: list[NDArray[Any]] = []
        for _ in range(20):
            simulator.turn(15 * int(rng.integers(-3, 4)))
            collided = simulator.forward(0.25)
            seen += [simulator.pose.position, np.array(collided), *simulator.observe().values()]
        return seen

    first = run(Embree(Camera(), Body()))
    embree._open.cache_clear()  # now from the cache on disk
    for one, other in zip(first, run(Embree(Camera(), Body())), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_closed_simulator_can_load_again(tmp_path: Path) -> None:
    path = save(tmp_path / "s.glb", floor(6))
    simulator = Embree(Camera(), Body())
    simulator.load(path)
    simulator.close()
    simulator.load(path)
    assert simulator.snap([0, 0, 0]) is not None
