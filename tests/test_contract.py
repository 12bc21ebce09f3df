"""The step contract: what is read off an environment's spaces, and what replay keeps of a step."""

from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from dynalang_py.contract import StepSpec
from dynalang_py.errors import UserError


def box(*shape: int, dtype: Any = np.float32) -> spaces.Box:
    return spaces.Box(0, 255 if dtype == np.uint8 else 1, shape, dtype)


def observation(**more: spaces.Space[Any]) -> spaces.Dict:
    return spaces.Dict({"image": box(8, 9, 3, dtype=np.uint8), "token": spaces.Discrete(40), **more})


def test_everything_the_contract_knows_is_read() -> None:
    space = observation(
        depth=box(8, 9, 1, dtype=np.uint8),
        compass=box(2),
        is_read_step=spaces.Discrete(2),
        log_success=box(),
        log_text=spaces.Text(10),
    )
    spec = StepSpec.from_spaces(space, spaces.Discrete(5))
    assert spec == StepSpec(
        images={"depth": (8, 9, 1), "image": (8, 9, 3)}, vectors={"compass": 2}, vocab=40, actions=(5,)
    )
    assert spec.action_size == 5


def test_embeddings_in_place_of_ids() -> None:
    spec = StepSpec.from_spaces(spaces.Dict({"token_embed": box(512)}), spaces.Discrete(2))
    assert (spec.vocab, spec.token_embed) == (0, 512)
    with pytest.raises(UserError, match="never both"):
        StepSpec.from_spaces(observation(token_embed=box(512)), spaces.Discrete(2))


@pytest.mark.parametrize(
    ("space", "sizes", "continuous", "width"),
    [
        (spaces.Discrete(4), (4,), 0, 4),
        (spaces.MultiDiscrete([5, 15]), (5, 15), 0, 20),
        (spaces.Box(-1, 1, (6,)), (), 6, 6),
    ],
)
def test_actions_of_every_kind(space: spaces.Space[Any], sizes: tuple[int, ...], continuous: int, width: int) -> None:
    spec = StepSpec.from_spaces(observation(), space)
    assert (spec.actions, spec.continuous, spec.action_size) == (sizes, continuous, width)
    shape, dtype = spec.action_field
    assert shape == ((continuous,) if continuous else (len(sizes),))
    assert dtype == (np.float32 if continuous else np.uint8)


@pytest.mark.parametrize(
    ("seen", "action", "reason"),
    [
        (spaces.Discrete(3), spaces.Discrete(2), "gymnasium Dict space, got Discrete"),
        (observation(map=box(3, 4)), spaces.Discrete(2), "observation 'map'"),
        (observation(), spaces.Dict(), "actions must be"),
        (observation(), spaces.Box(-1, 1, (2, 3)), "actions must be"),
    ],
)
def test_what_the_contract_does_not_know_is_named(seen: Any, action: Any, reason: str) -> None:
    with pytest.raises(UserError, match=reason):
        StepSpec.from_spaces(seen, action)


def test_actions_are_discrete_or_continuous() -> None:
    with pytest.raises(UserError, match="discrete or continuous"):
        StepSpec(vocab=3)
    with pytest.raises(UserError, match="discrete or continuous"):
        StepSpec(vocab=3, actions=(2,), continuous=1)


def test_replay_keeps_what_the_model_reads_in_the_smallest_type() -> None:
    spec = StepSpec(images={"image": (8, 9, 3)}, vectors={"compass": 2}, vocab=257, actions=(5, 300))
    assert {name: (shape, dtype.name) for name, (shape, dtype) in spec.fields().items()} == {
        "image": ((8, 9, 3), "uint8"),
        "compass": ((2,), "float32"),
        "token": ((), "uint16"),
        "action": ((2,), "uint16"),
        "reward": ((), "float32"),
        "is_first": ((), "bool"),
        "is_last": ((), "bool"),
        "is_terminal": ((), "bool"),
    }
    assert StepSpec(vocab=256, actions=(2,)).fields()["token"][1] == np.uint8
    assert StepSpec(token_embed=7, continuous=1).fields()["token_embed"] == ((7,), np.dtype(np.float32))
