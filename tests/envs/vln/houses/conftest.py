"""Houses to look at: a dozen of each level."""

import pytest

from dynalang_py.envs.vln.houses.builtin import BuiltIn
from dynalang_py.envs.vln.houses.house import House, make_house
from dynalang_py.envs.vln.houses.plan import LEVELS


@pytest.fixture(scope="session")
def houses() -> list[House]:
    return [make_house(f"{level}_{i}", level, f"test/{level}/{i}", BuiltIn()) for level in LEVELS for i in range(12)]
