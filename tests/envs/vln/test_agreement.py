"""Both simulators, the same houses, the same places: what they show and tell must be the same.

The figures are those of scripts/agree.py, which prints them for more houses.
"""

import importlib.util
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dynalang_py.envs.vln.houses.builtin import BuiltIn

pytest.importorskip("embreex")
pytest.importorskip("trimesh")

SCRIPT = Path(__file__).parents[3] / "scripts" / "agree.py"

pytestmark = pytest.mark.usefixtures("habitat")


@pytest.fixture(scope="module")
def agree() -> Any:
    spec = importlib.util.spec_from_file_location("agree", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["agree"] = module  # its dataclass looks there
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def found(agree: Any, habitat: None, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What was found in two houses of each level."""
    pair, found = agree.make_pair(), agree.Found()
    for scene in agree.make_scenes(tmp_path_factory.mktemp("houses"), 2, BuiltIn()):
        agree.compare(pair, scene, found, views=20)
    for simulator in pair:
        simulator.close()
    return found


def test_depth_is_the_same_to_a_millimetre(found: Any) -> None:
    assert (np.array(found.depth) < 1e-3).mean() > 0.999


def test_colours_are_the_same_but_for_the_grain_of_textures(found: Any) -> None:
    assert np.mean(found.rgb) < 4 / 2
    assert max(found.rgb) < 4


def test_ways_are_equally_long(found: Any) -> None:
    ways = np.array(found.geodesic)
    assert np.isfinite(ways).all()
    assert ways.mean() < 0.01
    # A gap between pieces of furniture that is as wide as the body is a way in one and none in the other.
    assert (ways < 0.05).mean() > 0.97


def test_an_experts_actions_lead_to_the_same_place(found: Any) -> None:
    ends = np.array(found.expert)
    assert (ends < 0.1).mean() > 0.98
    assert np.median(ends) < 0.05


def test_random_actions_which_mostly_bump_into_things_mostly_do_so_too(found: Any) -> None:
    ends = np.array(found.random)
    assert (ends < 0.1).mean() > 0.75
