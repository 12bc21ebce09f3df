"""Where furniture stands."""

from itertools import combinations
from random import Random

import numpy as np
import pytest

from dynalang_py.envs.vln.houses.builtin import BuiltIn
from dynalang_py.envs.vln.houses.catalogue import COLOURS, KINDS, RECIPES, Wish, hidden
from dynalang_py.envs.vln.houses.furnish import FACING, GAP, Furnisher, Piece, door_zone, is_walkable
from dynalang_py.envs.vln.houses.house import House, make_house
from dynalang_py.envs.vln.houses.plan import HEIGHT, Box, Opening, Plan, Room, side_strip, span


def solid_pairs(house: House) -> list[tuple[Piece, Piece]]:
    return list(combinations([piece for piece in house.pieces if piece.solid], 2))


def chair(x: float, z: float, size: tuple[float, float, float] = (0.5, 0.5, 0.9)) -> Piece:
    return Piece(
        name="chair_1", kind="chair", colour="red", room="office", x=x, z=z, turn=0, size=size, model="builtin"
    )


def test_furniture_is_inside_its_room(houses: list[House]) -> None:
    for house in houses:
        for piece in house.pieces:
            assert house.plan.room(piece.room).box.contains(piece.box), piece
            assert piece.elevation >= 0
            assert piece.elevation + piece.size[2] < HEIGHT


def test_furniture_does_not_overlap(houses: list[House]) -> None:
    for house in houses:
        assert not [(a.name, b.name) for a, b in solid_pairs(house) if a.box.overlaps(b.box)]


def test_doors_are_kept_free(houses: list[House]) -> None:
    for house in houses:
        for door in house.plan.doors:
            zone = door_zone(door.box, door.along_x)
            assert not [piece.name for piece in house.pieces if piece.solid and piece.box.overlaps(zone)]


def test_rooms_stay_walkable(houses: list[House]) -> None:
    for house in houses:
        for room in house.plan.rooms:
            solid = [piece for piece in house.pieces_in(room.name) if piece.solid]
            assert is_walkable(room, solid, [door.box for door in house.plan.doors_of(room.name)])


def test_a_row_of_furniture_across_a_room_makes_it_unwalkable() -> None:
    room = Room("office", Box(0, 0, 4, 4))
    doors = [Box(1.5, -0.12, 2.5, 0), Box(1.5, 4, 2.5, 4.12)]
    assert is_walkable(room, [chair(2, 2)], doors)
    assert not is_walkable(room, [chair(2, 2, (3.8, 0.5, 0.9))], doors)


def test_every_room_has_furniture_of_its_own(houses: list[House]) -> None:
    for house in houses:
        for room in house.plan.rooms:
            kinds = {wish.kind for wish in RECIPES[room.name]}
            there = {piece.kind for piece in house.pieces_in(room.name)}
            assert there <= kinds or house.level == "goto"
            needed = {wish.kind for wish in RECIPES[room.name] if wish.chance == 1 and wish.near is None}
            assert needed <= there, (house.name, room.name)


def test_what_belongs_to_a_wall_has_its_back_there(houses: list[House]) -> None:
    sides = {turn: side for side, turn in FACING.items()}
    count = 0
    for house in houses:
        for piece in house.pieces:
            if KINDS[piece.kind].place == "wall":
                count += 1
                strip = side_strip(house.plan.room(piece.room).box, sides[piece.turn], GAP + 0.02)
                assert piece.box.overlaps(strip), piece
    assert count > 100


def test_tall_and_hung_pieces_do_not_cover_windows(houses: list[House]) -> None:
    for house in houses:
        for window in house.plan.windows:
            room = house.plan.room(window.room)
            strip = side_strip(room.box, window.side, 0.2)
            along = {"x0": window.low, "x1": window.high} if window.side in ("north", "south") else {}
            strip = strip._replace(**(along or {"z0": window.low, "z1": window.high}))
            tall = [piece for piece in house.pieces_in(room.name) if piece.elevation + piece.size[2] > 1.2]
            assert not [piece.name for piece in tall if piece.box.overlaps(strip)]


def test_pictures_hang_clear_of_doors_and_of_what_is_below(houses: list[House]) -> None:
    count = 0
    for house in houses:
        for hung in house.pieces:
            if KINDS[hung.kind].place != "hung":
                continue
            count += 1
            assert not any(hung.box.overlaps(door.box.grow(0.05)) for door in house.plan.doors_of(hung.room))
            others = [piece for piece in house.pieces_in(hung.room) if piece is not hung and piece.kind != "rug"]
            tall = [piece for piece in others if piece.elevation + piece.size[2] > hung.elevation]
            assert not [piece.name for piece in tall if piece.box.overlaps(hung.box)]
    assert count > 10


def test_chairs_look_at_their_table() -> None:
    plan = Plan((Room("dining room", Box(0, 0, 6, 6)),), (), ())
    furnisher = Furnisher(plan, BuiltIn(), Random(0))
    furnisher.furnish(plan.rooms[0], [Wish("table"), Wish("chair", near="table", count=4)])
    table, *chairs = furnisher.pieces
    assert len(chairs) == 4
    assert len({piece.colour for piece in chairs}) == 1
    for piece in chairs:
        ahead = ((0, 1), (1, 0), (0, -1), (-1, 0))[piece.turn]
        assert np.dot(ahead, (table.x - piece.x, table.z - piece.z)) > 0


def test_the_television_faces_the_sofa() -> None:
    plan = Plan((Room("living room", Box(0, 0, 5, 5)),), (), ())
    furnisher = Furnisher(plan, BuiltIn(), Random(0))
    furnisher.furnish(plan.rooms[0], [Wish("sofa"), Wish("television", near="sofa")])
    sofa, television = furnisher.pieces
    assert abs(sofa.turn - television.turn) == 2


def test_what_finds_no_place_is_left_out() -> None:
    plan = Plan((Room("bedroom", Box(0, 0, 1.5, 1.5)),), (), ())
    furnisher = Furnisher(plan, BuiltIn(), Random(0))
    furnisher.furnish(plan.rooms[0], [Wish("bed")])
    assert furnisher.pieces == []


def test_refused_pairs_do_not_occur() -> None:
    refused = {(kind, colour) for kind, entry in KINDS.items() for colour in entry.colours if colour != "red"}
    house = make_house("h", "houses", "seed", BuiltIn(), refused)
    assert house.pieces
    assert {piece.colour for piece in house.pieces} == {"red"}


def test_goto_rooms_hold_what_can_be_confused(houses: list[House]) -> None:
    for house in houses:
        if house.level == "goto":
            solid = [piece for piece in house.pieces if piece.solid]
            pairs = list(combinations(solid, 2))
            assert any(a.kind == b.kind and a.colour != b.colour for a, b in pairs) or any(
                a.colour == b.colour and a.kind != b.kind for a, b in pairs
            )
            assert len(solid) >= 4


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_keeps_some_colours_hidden_and_shows_others(kind: str) -> None:
    colours = KINDS[kind].colours
    kept = [colour for colour in colours if hidden(kind, colour)]
    assert 1 <= len(kept) < len(colours)
    assert {*colours} <= {*COLOURS}


def test_every_colour_is_seen_in_training() -> None:
    assert {c for kind, entry in KINDS.items() for c in entry.colours if not hidden(kind, c)} == {*COLOURS}


def test_door_zones_reach_into_both_rooms() -> None:
    door = Opening(("a", "b"), Box(1, 2, 2, 2.12))
    zone = door_zone(door.box, door.along_x)
    assert zone.z0 < 1.5
    assert zone.z1 > 2.6
    assert span(zone, "north") == pytest.approx((0.95, 2.05))
