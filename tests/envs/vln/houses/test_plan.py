"""Floor plans, whatever the seed."""

from itertools import combinations
from random import Random

import pytest

from dynalang_py.envs.vln.houses.catalogue import RECIPES
from dynalang_py.envs.vln.houses.plan import (
    LEAST_SIDE,
    LEVELS,
    WALL,
    Box,
    Level,
    Plan,
    draw_plan,
    side_strip,
    span,
)

PLANS = [draw_plan(level, Random(f"{level}{seed}")) for level in LEVELS for seed in range(60)]


def reached(plan: Plan) -> set[str]:
    """Rooms that can be reached through doors from the first one."""
    found = {plan.rooms[0].name}
    while more := {name for door in plan.doors if found & {*door.rooms} for name in door.rooms} - found:
        found |= more
    return found


def test_rooms_keep_a_wall_between_them() -> None:
    for plan in PLANS:
        for a, b in combinations(plan.rooms, 2):
            assert not a.box.grow(WALL * 0.49).overlaps(b.box.grow(WALL * 0.49))


def test_every_room_is_reached_through_doors() -> None:
    for plan in PLANS:
        assert reached(plan) == {room.name for room in plan.rooms}


@pytest.mark.parametrize(("level", "counts"), [("goto", {1}), ("rooms", {3, 4}), ("houses", {6, 7, 8})])
def test_levels_have_as_many_rooms_as_they_promise(level: Level, counts: set[int]) -> None:
    assert {len(draw_plan(level, Random(seed)).rooms) for seed in range(60)} == counts


def test_rooms_are_wide_enough_for_furniture() -> None:
    for plan in PLANS:
        for room in plan.rooms:
            least = 1.4 if room.name == "hallway" else LEAST_SIDE - 0.001
            assert min(room.box.width, room.box.depth) >= least, (room, plan)


def test_names_are_unique_and_known() -> None:
    for plan in PLANS:
        names = [room.name for room in plan.rooms]
        assert len({*names}) == len(names)
        assert {*names} <= {*RECIPES}


def test_houses_have_what_people_need() -> None:
    for seed in range(20):
        names = {room.name for room in draw_plan("houses", Random(seed)).rooms}
        assert {"living room", "kitchen", "bathroom", "bedroom", "hallway"} <= names


def test_a_door_fills_the_wall_between_its_rooms() -> None:
    for plan in PLANS:
        for door in plan.doors:
            a, b = (plan.room(name).box for name in door.rooms)
            assert min(door.box.width, door.box.depth) == pytest.approx(WALL, abs=1e-3)
            assert max(door.box.width, door.box.depth) >= 0.9
            assert not door.box.overlaps(a.grow(-0.001))
            assert not door.box.overlaps(b.grow(-0.001))
            assert door.box.grow(0.001).overlaps(a)
            assert door.box.grow(0.001).overlaps(b)


def test_doors_do_not_share_a_place() -> None:
    for plan in PLANS:
        assert not any(a.box.overlaps(b.box) for a, b in combinations(plan.doors, 2))


def test_windows_look_out_of_the_house() -> None:
    count = 0
    for plan in PLANS:
        for window in plan.windows:
            count += 1
            room = plan.room(window.room)
            low, high = span(room.box, window.side)
            assert low < window.low < window.high < high
            outside = side_strip(room.box, window.side, 0.5, outside=True)
            along = {"x0": window.low, "x1": window.high} if window.side in ("north", "south") else {}
            outside = outside._replace(**(along or {"z0": window.low, "z1": window.high}))
            assert not any(other.box.overlaps(outside) for other in plan.rooms)
    assert count > len(PLANS)


def test_plans_differ_and_repeat() -> None:
    again = [draw_plan(level, Random(f"{level}{seed}")) for level in LEVELS for seed in range(60)]
    assert again == PLANS
    assert len({plan.bounds for plan in PLANS}) == len(PLANS)


def test_distance_to_a_box_is_that_to_its_nearest_point() -> None:
    box = Box(0, 0, 2, 1)
    assert box.distance(1, 0.5) == 0
    assert box.distance(5, 5) == 5
    assert box.distance(1, 3) == 2
