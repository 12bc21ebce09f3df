"""Floors, distances and collisions against geometry that can be worked out by hand."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import ArrayLike

trimesh = pytest.importorskip("trimesh")
pytest.importorskip("scipy")

from dynalang_py.envs.vln import navgrid  # noqa: E402
from dynalang_py.envs.vln.floors import find_floors  # noqa: E402
from dynalang_py.envs.vln.navgrid import NavGrid  # noqa: E402
from dynalang_py.envs.vln.simulator import Body, Floats  # noqa: E402
from dynalang_py.errors import UserError  # noqa: E402

FORWARD = (0.0, 0.0, -1.0)


def box(low: Sequence[float], high: Sequence[float]) -> Any:
    size = np.subtract(high, low)
    made = trimesh.creation.box(size)
    made.apply_translation(np.add(low, high) / 2)
    return made


def sheet(*corners: Sequence[float]) -> Any:
    """Four corners in a row; no thickness."""
    return trimesh.Trimesh(np.array(corners, float), [[0, 1, 2], [0, 2, 3]], process=False)


def ground(x0: float, z0: float, x1: float, z1: float, y: float = 0) -> Any:
    return sheet([x0, y, z0], [x1, y, z0], [x1, y, z1], [x0, y, z1])


def screen(x0: float, z0: float, x1: float, z1: float, y0: float = 0, y1: float = 2.5) -> Any:
    """A wall without thickness, as in scans."""
    return sheet([x0, y0, z0], [x1, y0, z1], [x1, y1, z1], [x0, y1, z0])


def grid(*meshes: Any, body: Body | None = None) -> NavGrid:
    body = body or Body()
    mesh = trimesh.util.concatenate(meshes)
    return NavGrid(find_floors(mesh.vertices.astype(np.float32), mesh.faces.astype(np.int32), body), body)


def length(path: Floats) -> float:
    return float(np.linalg.norm(np.diff(path, axis=0), axis=1).sum())


def snapped(nav: NavGrid, point: ArrayLike) -> Floats:
    found = nav.snap(point)
    assert found is not None
    return found


def fence(x0: float, z0: float, x1: float, z1: float) -> list[Any]:
    """A walled plot without a ceiling."""
    corners = [(x0, z0), (x1, z0), (x1, z1), (x0, z1)]
    return [ground(x0, z0, x1, z1), *(screen(*a, *b) for a, b in zip(corners, corners[1:] + corners[:1], strict=True))]


@pytest.mark.parametrize("angle", [0, 10, 22.5, 26, 45, 60, 77, 90])
def test_in_the_open_geodesic_distance_is_the_straight_one(angle: float) -> None:
    a = np.zeros(3)
    b = 4.5 * np.array([math.cos(math.radians(angle)), 0, math.sin(math.radians(angle))])
    nav = grid(ground(-5, -5, 5, 5))
    assert nav.geodesic(a, b) == pytest.approx(4.5, rel=0.01)
    assert nav.geodesic(b, a) == pytest.approx(4.5, rel=0.01)
    path = nav.path(a, b)
    assert len(path) == 2
    assert length(path) == pytest.approx(4.5, rel=1e-3)


def test_short_distances_are_no_multiples_of_a_cell() -> None:
    nav = grid(ground(-2, -2, 2, 2))
    for metres in (0, 0.013, 0.04, 0.09, 0.17, 0.33):
        assert nav.geodesic([0.02, 0, 0.01], [0.02, 0, 0.01 + metres]) == pytest.approx(metres, abs=0.012)


def test_every_step_towards_the_goal_pays_what_it_is_long() -> None:
    nav = grid(ground(-3, -3, 3, 3))
    steps = [nav.geodesic([0.1, 0, 2.5 - 0.25 * i], [0.1, 0, -2.5]) for i in range(20)]
    np.testing.assert_allclose(-np.diff(steps), 0.25, atol=0.01)


def test_a_door_is_walked_through_at_its_nearer_post() -> None:
    # Two rooms of 4 × 4 m; the wall x = 0 has a door from z = 1 to z = 1.8.
    body = Body(radius=0.1)
    walls = [screen(0, -2, 0, 1), screen(0, 1.8, 0, 2), screen(0, 1, 0, 1.8, y0=2.1)]
    nav = grid(*fence(-4, -2, 4, 2), *walls, body=body)
    a, b = np.array([-3.0, 0, -1]), np.array([3.0, 0, -1])
    # The string lies around a post of the body's radius: two tangents and the arc between them.
    tangent = math.sqrt(9 + 4 - body.radius**2)
    arc = 2 * (math.pi - math.atan2(3, 2) - math.acos(body.radius / math.sqrt(13)))
    by_hand = 2 * tangent + body.radius * arc
    assert nav.geodesic(a, b) == pytest.approx(by_hand, rel=0.02)
    path = nav.path(a, b)
    np.testing.assert_allclose(path[[0, -1]], [a, b], atol=0.01)
    assert length(path) == pytest.approx(by_hand, rel=0.02)
    assert np.hypot(path[1:-1, 0], path[1:-1, 2] - 1).max() < 0.3  # every corner is at the post


@pytest.mark.parametrize(("gap", "passes"), [(0.12, False), (0.15, False), (0.3, True), (0.5, True)])
def test_a_gap_narrower_than_the_body_is_no_way(gap: float, passes: bool) -> None:
    nav = grid(*fence(-3, -2, 3, 2), screen(0, -2, 0, -gap / 2), screen(0, gap / 2, 0, 2), body=Body(radius=0.1))
    a, b = [-1, 0, 0.5], [1, 0, 0.5]
    assert math.isfinite(nav.geodesic(a, b)) == passes
    assert (len(nav.path(a, b)) > 0) == passes
    assert (nav.walk([-1, 0, 0], [1, 0, 0], 2)[0] > 0.9) == passes


def test_a_wider_body_needs_a_wider_gap() -> None:
    plot = [*fence(-3, -2, 3, 2), screen(0, -2, 0, -0.25), screen(0, 0.25, 0, 2)]
    assert math.isfinite(grid(*plot, body=Body(radius=0.2)).geodesic([-1, 0, 0], [1, 0, 0]))
    assert grid(*plot, body=Body(radius=0.3)).geodesic([-1, 0, 0], [1, 0, 0]) == math.inf


def stairs(steps: int = 12, rise: float = 0.18, tread: float = 0.28, width: float = 1.2) -> list[Any]:
    """From z = 0 up towards −z, between x = 0 and `width`."""
    return [box([0, 0, -(i + 1) * tread], [width, (i + 1) * rise, -i * tread]) for i in range(steps)]


def two_storeys() -> list[Any]:
    top, end = 12 * 0.18, 12 * 0.28
    return [ground(-1, 0, 3, 3), *stairs(), ground(-1, -end - 3, 3, -end, y=top)]


def test_stairs_join_two_floors_and_count_as_a_ramp() -> None:
    nav = grid(*two_storeys())
    a, b = np.array([0.6, 0, 1]), np.array([0.6, 2.16, -12 * 0.28 - 1])
    by_hand = 1 + math.hypot(12 * 0.18, 12 * 0.28) + 1
    assert nav.geodesic(a, b) == pytest.approx(by_hand, rel=0.01)
    path = nav.path(a, b)
    assert length(path) == pytest.approx(by_hand, rel=0.025)
    top = nav.walk(a, FORWARD, 2 + 12 * 0.28)
    np.testing.assert_allclose(top, b, atol=0.01)
    np.testing.assert_allclose(nav.walk(top, [0, 0, 1], 2 + 12 * 0.28), a, atol=0.01)


def test_steps_higher_than_the_body_climbs_are_walls() -> None:
    a, b = [0.6, 0, 1], [0.6, 2.16, -12 * 0.28 - 1]
    nav = grid(*two_storeys(), body=Body(climb=0.15))
    assert nav.geodesic(a, b) == math.inf
    end = nav.walk(a, FORWARD, 3)
    np.testing.assert_allclose(end, [0.6, 0, 0.1], atol=0.03)  # a radius before the first step


def test_storeys_above_each_other_are_told_apart_by_height() -> None:
    # The upper floor covers the lower one; only the stairs beside them connect the two.
    lower, upper = ground(-4, -4, 0, 3), ground(-4, -4, 0, 3, y=2.7)
    flight = [box([0, 0, -(i + 1) * 0.25], [1, (i + 1) * 0.18, -i * 0.25]) for i in range(15)]
    landing = ground(0, -15 * 0.25 - 1, 1, -15 * 0.25, y=2.7)
    bridge = ground(-4, -5, 1, -4, y=2.7)
    entry = ground(0, 0, 1, 3)
    side = screen(0, -4, 0, 0, y1=2.95)  # no way from the upper steps over the banister
    nav = grid(lower, upper, *flight, landing, bridge, entry, side)
    below, above = np.array([-2, 0, 0]), np.array([-2, 2.7, 0])
    np.testing.assert_allclose(snapped(nav, below + np.array([0, 0.1, 0])), below, atol=0.002)
    np.testing.assert_allclose(snapped(nav, above + np.array([0, 0.1, 0])), above, atol=0.002)
    # By hand: around the foot of the banister, up, around its other end, and back over the upper floor.
    by_hand = 2 + 0.1 * math.pi / 2 + math.hypot(3.75, 2.7) + 0.25 + 0.1 * math.pi / 2 + math.hypot(2, 4)
    assert nav.geodesic(below, above) == pytest.approx(by_hand, rel=0.05)
    way = nav.path(below, above)
    assert length(way) == pytest.approx(nav.geodesic(below, above), rel=0.05)
    rng = np.random.default_rng(0)
    heights = np.array([nav.random_point(rng)[1] for _ in range(300)])
    assert (heights < 0.01).sum() > 80
    assert (heights > 2.69).sum() > 80


def test_a_low_ceiling_and_the_space_under_a_table_are_no_floor() -> None:
    table = box([-1, 0.7, -1], [1, 0.75, 1])
    nav = grid(*fence(-4, -3, 4, 3), table, ground(2, -3, 4, 3, y=1.4))
    assert nav.geodesic([-2, 0, 0], [1.5, 0, 0]) > 3.9  # around the table: 3.5 m straight
    assert nav.walk([-2, 0, 0], [1, 0, 0], 1.5)[0] == pytest.approx(-1.1, abs=0.02)
    assert nav.walk([1.5, 0, 0], [1, 0, 0], 2)[0] == pytest.approx(1.9, abs=0.03)


def test_sliding_ends_where_geometry_says() -> None:
    nav = grid(*fence(-3, -2, 3, 2))
    start = np.array([-2.0, 0, -1.5])
    heading = np.array([math.cos(math.radians(30)), 0, -math.sin(math.radians(30))])
    # Free until 0.1 m before the wall z = −2, then only the part along the wall counts.
    free = 0.4 / math.sin(math.radians(30))
    end = nav.walk(start, heading, free + 1)
    by_hand = start + free * heading + [math.cos(math.radians(30)), 0, 0]
    np.testing.assert_allclose(end, by_hand, atol=0.03)


@pytest.mark.parametrize("degrees", [20, 45, 63])
def test_sliding_along_a_slanted_wall_ends_where_geometry_says(degrees: float) -> None:
    along = np.array([math.cos(math.radians(degrees)), 0, -math.sin(math.radians(degrees))])
    ahead = np.array([1.0, 0, 0])
    normal = np.array([-along[2], 0, along[0]]) * -1
    (x0, _, z0), (x1, _, z1) = -6 * along, 6 * along
    nav = grid(ground(-5, -5, 5, 5), screen(x0, z0, x1, z1))
    start = -1.0 * ahead
    assert normal @ start > 0.2
    free = (0.1 - normal @ start) / (normal @ ahead)
    by_hand = start + free * ahead + (along @ ahead) * (2 - free) * along
    np.testing.assert_allclose(nav.walk(start, ahead, 2), by_hand, atol=0.05)


def test_without_sliding_the_wall_is_the_end() -> None:
    nav = grid(*fence(-3, -2, 3, 2), body=Body(sliding=False))
    end = nav.walk([-2, 0, -1.5], [math.sqrt(0.75), 0, -0.5], 2)
    np.testing.assert_allclose(end, [-2 + 0.8 * math.sqrt(0.75), 0, -1.9], atol=0.03)


def test_a_corner_holds_the_body() -> None:
    nav = grid(*fence(-3, -2, 3, 2))
    end = nav.walk([2.5, 0, -1.5], [0.8, 0, -0.6], 3)
    np.testing.assert_allclose(end, [2.9, 0, -1.9], atol=0.03)


def test_nobody_ever_leaves_the_plot_or_enters_a_wall() -> None:
    pillar = box([-0.3, 0, -0.3], [0.3, 2.5, 0.3])
    nav = grid(*fence(-2, -1.5, 2, 1.5), pillar)
    rng = np.random.default_rng(0)
    at = nav.random_point(rng)
    for _ in range(400):
        angle = rng.uniform(0, 2 * math.pi)
        at = nav.walk(at, [math.cos(angle), 0, math.sin(angle)], rng.uniform(0.1, 0.6))
        assert abs(at[0]) < 1.91
        assert abs(at[2]) < 1.41
        outside = np.maximum(np.abs(at[[0, 2]]) - 0.3, 0)
        assert np.hypot(*outside) > 0.07


def test_an_edge_is_no_step() -> None:
    nav = grid(ground(-2, -2, 2, 2, y=1), ground(-6, -6, 6, 6))
    end = nav.walk([0, 1, 0], [1, 0, 0], 5)
    assert end[1] == pytest.approx(1, abs=0.002)
    assert end[0] == pytest.approx(1.9, abs=0.05)


def test_steep_ground_is_no_floor() -> None:
    def slope(degrees: float) -> NavGrid:
        rise = 3 * math.tan(math.radians(degrees))
        hill = sheet([-2, 0, 0], [2, 0, 0], [2, rise, -3], [-2, rise, -3])
        return grid(ground(-2, 0, 2, 3), hill, ground(-2, -6, 2, -3, y=rise))

    assert slope(40).walk([0, 0, 0.5], FORWARD, 4)[2] == pytest.approx(-3.5, abs=0.01)
    assert slope(50).walk([0, 0, 0.5], FORWARD, 4)[2] > 0


def test_unconnected_areas_have_no_way_between_them() -> None:
    nav = grid(ground(-5, -2, -1, 2), ground(1, -2, 8, 2))
    assert nav.geodesic([-3, 0, 0], [3, 0, 0]) == math.inf
    assert nav.path([-3, 0, 0], [3, 0, 0]).shape == (0, 3)
    rng = np.random.default_rng(0)
    assert min(nav.random_point(rng)[0] for _ in range(200)) > 1  # the larger one
    assert nav.area == pytest.approx(6.8 * 3.8, rel=0.03)


def test_a_roof_is_not_taken_for_the_main_floor() -> None:
    house = [*fence(-3, -2, 3, 2), box([-3.5, 2.5, -2.5], [3.5, 2.6, 2.5])]
    nav = grid(*house)
    rng = np.random.default_rng(0)
    assert max(nav.random_point(rng)[1] for _ in range(100)) == pytest.approx(0, abs=0.002)


def test_random_points_are_spread_evenly_and_keep_their_distance() -> None:
    nav = grid(*fence(-2, -1, 2, 1))
    rng = np.random.default_rng(0)
    points = np.array([nav.random_point(rng) for _ in range(2000)])
    assert np.abs(points[:, 0]).max() <= 1.91
    assert np.abs(points[:, 2]).max() <= 0.91
    assert np.abs(points[:, [0, 2]].mean(0)).max() < 0.08
    assert (points[:, 0] > 0.95).mean() == pytest.approx(0.25, abs=0.04)
    np.testing.assert_array_equal(points[0], nav.random_point(np.random.default_rng(0)))


def test_snap_finds_the_nearest_place_that_is_clear() -> None:
    nav = grid(*fence(-2, -1, 2, 1))
    np.testing.assert_allclose(snapped(nav, [0.512, 0.3, 0.21]), [0.512, 0, 0.21], atol=1e-6)
    np.testing.assert_allclose(snapped(nav, [1.99, 0, 0]), [1.9, 0, 0], atol=0.03)
    assert nav.snap([5, 0, 0]) is None
    assert nav.geodesic([5, 0, 0], [0, 0, 0]) == nav.geodesic([0, 0, 0], [5, 0, 0]) == math.inf


def test_off_the_floors_nobody_walks() -> None:
    nav = grid(*fence(-2, -1, 2, 1))
    np.testing.assert_array_equal(nav.walk([5, 0, 0], [1, 0, 0], 1), [5, 0, 0])


def test_distances_to_forgotten_goals_are_found_again() -> None:
    nav = grid(ground(-2, -2, 2, 2))
    first = nav.geodesic([1, 0, 1], [0, 0, 0])
    for i in range(navgrid.GOALS + 1):
        nav.geodesic([1, 0, 1], [0.01 * i + 0.01, 0, 0])
    assert len(nav._goals) == navgrid.GOALS
    assert nav.geodesic([1, 0, 1], [0, 0, 0]) == first


def test_geodesic_and_path_agree_in_a_furnished_room() -> None:
    rng = np.random.default_rng(1)
    corners = rng.uniform([-3, -2], [3, 2], (12, 2))
    things = [box([x, 0, z], [x + 0.5, 1, z + 0.4]) for x, z in corners]
    nav = grid(*fence(-4, -3, 4, 3), *things)
    for _ in range(40):
        a, b = nav.random_point(rng), nav.random_point(rng)
        shortest, metres = nav.path(a, b), nav.geodesic(a, b)
        assert metres == pytest.approx(length(shortest), rel=0.04, abs=0.02)
        np.testing.assert_allclose(shortest[[0, -1]], [a, b], atol=0.03)
        assert nav.geodesic(b, a) == pytest.approx(metres, rel=0.02, abs=0.02)


def test_nowhere_to_stand_is_said() -> None:
    with pytest.raises(UserError, match="nobody can stand in it"):
        grid(screen(-2, 0, 2, 0))


def test_triangles_without_an_area_do_no_harm() -> None:
    point, line = [[0.5, 0, 0.5]] * 3, [[1, 0, 1], [1, 0, 1], [1, 0, 1.5]]
    empty = [trimesh.Trimesh(np.array(corners, float), [[0, 1, 2]], process=False) for corners in (point, line)]
    nav = grid(*fence(-2, -2, 2, 2), *empty)
    assert nav.area == pytest.approx(3.8 * 3.8, rel=0.02)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("far", [1e9, 3e18, 1e38])
def test_what_is_no_building_is_refused_however_far_it_reaches(far: float) -> None:
    """One sentence and no warning: 3e18 m make more columns than a whole number of 64 bits counts."""
    vertices = np.array([[0, 0, 0], [far, 0, far], [0, 0, 1e-30]], np.float32)
    with pytest.raises(UserError, match="is no building"):
        find_floors(vertices, np.array([[0, 1, 2]], np.int32), Body())
