"""Built-in furniture."""

import numpy as np
import pytest

from dynalang_py.envs.vln.houses import shapes
from dynalang_py.envs.vln.houses.catalogue import COLOURS, KINDS
from dynalang_py.envs.vln.houses.solids import box, cylinder


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_fills_its_box_and_stays_inside(kind: str) -> None:
    w, d, h = size = KINDS[kind].size
    vertices = np.concatenate([solid.vertices for solid in shapes.build(kind, KINDS[kind].colours[0], size, "seed")])
    low, high = vertices.min(0), vertices.max(0)
    slack = 0.13  # a bathtub's tap may stand out above
    assert (low >= [-w / 2 - 1e-6, -1e-6, -d / 2 - 1e-6]).all()
    assert (high <= [w / 2 + 1e-6, h + slack, d / 2 + 1e-6]).all()
    assert high[1] > 0.9 * h
    assert (high - low)[0] > 0.7 * w


@pytest.mark.parametrize("kind", KINDS)
def test_the_colour_of_a_piece_is_plain_to_see(kind: str) -> None:
    def share(colour: str) -> float:
        """Of the surface, what changes with the piece's colour."""
        other = "red" if colour != "red" else "green"
        solids = zip(*(shapes.build(kind, name, KINDS[kind].size, "seed") for name in (colour, other)), strict=True)
        areas = [(area(a.vertices[a.faces]), a.colour != b.colour) for a, b in solids]
        return sum(size for size, differs in areas if differs) / sum(size for size, _ in areas)

    assert share("blue") > 0.3


def area(triangles: np.ndarray) -> float:
    cross = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    return float(np.linalg.norm(cross, axis=1).sum() / 2)


def test_boxes_and_cylinders_look_outwards() -> None:
    for solid in (box((-1, 1), (0, 2), (-1, 1), COLOURS["red"]), cylinder((0, 0), (0, 2), 1.0, COLOURS["red"])):
        corners = solid.vertices[solid.faces]
        normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        outwards = corners.mean(1) - [0, 1, 0]
        assert ((normal * outwards).sum(1) > 0).all()


def test_a_box_has_the_area_of_a_box() -> None:
    solid = box((0, 1), (0, 2), (0, 3), COLOURS["red"])
    assert area(solid.vertices[solid.faces]) == pytest.approx(2 * (2 + 3 + 6))
