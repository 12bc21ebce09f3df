"""What is noticed on a path, in a house drawn by hand.

Two rooms side by side, 4 × 4 m each: the office (x from 0 to 4) and the kitchen (4.12 to 8.12), with a door at z = 1.5
to 2.5.
"""

import numpy as np
import pytest

from dynalang_py.envs.vln.houses.furnish import Piece
from dynalang_py.envs.vln.houses.house import House
from dynalang_py.envs.vln.houses.plan import Box, Opening, Plan, Room
from dynalang_py.envs.vln.houses.route import Turn, describe_route, nameable, resample

NORTH, EAST, SOUTH, WEST = (0.0, -1.0), (1.0, 0.0), (0.0, 1.0), (-1.0, 0.0)


def piece(name: str, colour: str, room: str, x: float, z: float) -> Piece:
    kind = name.partition("_")[0]
    return Piece(
        name=name, kind=kind, colour=colour, room=room, x=x, z=z, turn=0, size=(0.5, 0.5, 0.9), model="builtin"
    )


CHAIR, FRIDGE = piece("chair_1", "red", "office", 2, 1.2), piece("fridge_1", "white", "kitchen", 7.5, 0.4)
PLAN = Plan(
    (Room("office", Box(0, 0, 4, 4)), Room("kitchen", Box(4.12, 0, 8.12, 4))),
    (Opening(("office", "kitchen"), Box(4, 1.5, 4.12, 2.5)),),
    (),
)
HOUSE = House("h", "rooms", "", PLAN, (CHAIR, FRIDGE))


def path(*corners: tuple[float, float]) -> np.ndarray:
    return np.array([(x, 0, z) for x, z in corners], float)


@pytest.mark.parametrize(("heading", "turn"), [(EAST, None), (NORTH, "right"), (SOUTH, "left"), (WEST, "around")])
def test_the_first_turn_is_seen_from_the_heading(heading: tuple[float, float], turn: Turn | None) -> None:
    route = describe_route(HOUSE, path((0.5, 2), (7.5, 2)), heading, FRIDGE)
    assert route is not None
    assert route.turn == turn


def test_rooms_are_told_in_order() -> None:
    there = describe_route(HOUSE, path((0.5, 2), (7.5, 2)), EAST, FRIDGE)
    back = describe_route(HOUSE, path((7.5, 2), (0.5, 2)), WEST, CHAIR)
    assert there is not None
    assert back is not None
    assert there.rooms == ("office", "kitchen")
    assert back.rooms == ("kitchen", "office")
    assert there.legs[1].entered is None


def test_a_turn_through_a_door_and_one_after_it() -> None:
    route = describe_route(HOUSE, path((3.4, 3.9), (3.4, 2), (4.7, 2), (4.7, 0.3)), NORTH, FRIDGE)
    assert route is not None
    assert route.turn is None
    assert route.legs[1].entered == "right"
    assert route.legs[1].turn == "left"


def test_what_is_passed_has_a_side() -> None:
    there = describe_route(HOUSE, path((0.5, 2), (7.5, 2)), EAST, FRIDGE)
    assert there is not None
    assert there.legs[0].passed is not None
    assert (there.legs[0].passed.words, there.legs[0].passed.side) == ("red chair", "left")
    back = describe_route(HOUSE, path((7.5, 2), (0.5, 2)), WEST, piece("desk_1", "blue", "office", 0.4, 3))
    assert back is not None
    assert back.legs[1].passed is not None
    assert back.legs[1].passed.side == "right"


def test_the_target_is_not_passed() -> None:
    route = describe_route(HOUSE, path((7.5, 2), (0.5, 2)), WEST, CHAIR)
    assert route is not None
    assert route.legs[1].passed is None


def test_a_path_that_ends_elsewhere_is_not_told() -> None:
    assert describe_route(HOUSE, path((0.5, 2), (3, 2)), EAST, FRIDGE) is None


def test_things_with_a_double_have_no_name() -> None:
    twin = piece("chair_2", "red", "office", 3, 3)
    assert nameable([CHAIR, twin, FRIDGE]) == [FRIDGE]


def test_paths_are_judged_at_even_steps() -> None:
    points = resample(np.array([(0.0, 0.0), (1.0, 0.0), (1.0, 1.0)]))
    assert np.allclose(np.linalg.norm(np.diff(points, axis=0), axis=1), 0.1)
    assert points[-1].tolist() == [1, 1]
