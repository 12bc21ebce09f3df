import json
import resource
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from dynalang_py.errors import UserError
from dynalang_py.run import checkpoint as checkpoints


def _tensors(value: float = 1.0) -> dict[str, Tensor]:
    return {
        "world_model/encoder.weight": torch.full((3, 4), value),
        "world_model/dynamics.weight": torch.full((5,), value, dtype=torch.bfloat16),
        "behavior/actor.weight": torch.full((2, 2), value),
        "random/learning": torch.arange(16, dtype=torch.uint8),
        "updates": torch.tensor(7),
    }


def _flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 0xFF
    path.write_bytes(content)


def test_what_is_saved_comes_back(tmp_path: Path) -> None:
    state = {"counters": {"steps": 3}, "random": {"state": 2**127 + 1}}
    path = checkpoints.save(tmp_path, 3, _tensors(), state)
    found = checkpoints.load(tmp_path)
    assert found is not None
    assert (found.path, found.state, found.damaged) == (path, state, {})
    assert found.tensors.keys() == _tensors().keys()
    for name, tensor in _tensors().items():
        assert found.tensors[name].dtype == tensor.dtype
        assert torch.equal(found.tensors[name], tensor)


def test_a_view_into_other_memory_is_saved_as_what_it_shows(tmp_path: Path) -> None:
    whole = torch.arange(12.0).reshape(3, 4)
    checkpoints.save(tmp_path, 0, {"a": whole.T, "b": whole[1]}, {})
    found = checkpoints.load(tmp_path)
    assert found is not None
    assert torch.equal(found.tensors["a"], whole.T)
    assert torch.equal(found.tensors["b"], whole[1])


def test_the_last_two_are_kept_and_nothing_else_is_left(tmp_path: Path) -> None:
    for step in (1, 20, 300):
        checkpoints.save(tmp_path, step, _tensors(step), {"step": step})
    assert [path.name for path in checkpoints.find(tmp_path)] == [
        "step-000000000300.safetensors",
        "step-000000000020.safetensors",
    ]
    assert len(list(tmp_path.iterdir())) == 2
    found = checkpoints.load(tmp_path)
    assert found is not None
    assert found.state == {"step": 300}


def test_what_a_killed_process_left_is_cleared_away(tmp_path: Path) -> None:
    (tmp_path / ".step-000000000001.safetensors.77.partial").write_bytes(b"half")
    path = checkpoints.save(tmp_path, 2, _tensors(), {})
    assert list(tmp_path.iterdir()) == [path]


def test_damaged_checkpoints_can_be_set_aside(tmp_path: Path) -> None:
    checkpoints.save(tmp_path, 1, _tensors(), {"step": 1})
    checkpoints.save(tmp_path, 9, _tensors(), {"step": 9}).write_bytes(b"")
    found = checkpoints.load(tmp_path)
    assert found is not None
    checkpoints.set_aside(found)
    checkpoints.save(tmp_path, 2, _tensors(), {"step": 2})  # newer than the good one, older than the damaged one
    again = checkpoints.load(tmp_path)
    assert again is not None
    assert (again.state, again.damaged) == ({"step": 2}, {})
    assert len(checkpoints.find(tmp_path)) == 2


def test_others_may_read_what_they_may_read_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    path = checkpoints.save(tmp_path, 0, _tensors(), {})
    assert path.stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_folder_without_checkpoints_has_none(tmp_path: Path) -> None:
    assert checkpoints.load(tmp_path) is None
    assert checkpoints.load(tmp_path / "nowhere") is None


@pytest.mark.parametrize("damage", ["truncated", "empty", "a bit in the tensors", "a bit in the header", "foreign"])
def test_a_damaged_checkpoint_is_named_and_the_one_before_it_taken(tmp_path: Path, damage: str) -> None:
    good = checkpoints.save(tmp_path, 1, _tensors(1), {"step": 1})
    bad = checkpoints.save(tmp_path, 2, _tensors(2), {"step": 2})
    size = bad.stat().st_size
    if damage == "truncated":
        bad.write_bytes(bad.read_bytes()[: size - 5])
    elif damage == "empty":
        bad.write_bytes(b"")
    elif damage == "foreign":
        save_file(_tensors(), bad)
    else:
        _flip(bad, size - 40 if "tensors" in damage else 3)
    found = checkpoints.load(tmp_path)
    assert found is not None
    assert (found.path, found.state) == (good, {"step": 1})
    assert found.damaged.keys() == {bad}
    assert found.damaged[bad].startswith(f"{bad} is damaged (")
    _flip(good, good.stat().st_size - 1)
    with pytest.raises(UserError, match="no checkpoint can be read"):
        checkpoints.load(tmp_path)


def test_a_full_disk_gets_a_sentence_and_the_older_checkpoint_stays(tmp_path: Path) -> None:
    good = checkpoints.save(tmp_path, 1, _tensors(1), {"step": 1})
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200, old[1]))  # no file may grow beyond 200 bytes
    try:
        with pytest.raises(UserError, match=rf"step-0+2\S+ could not be written .*the last good checkpoint is {good}"):
            checkpoints.save(tmp_path, 2, _tensors(2), {"step": 2})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
    assert list(tmp_path.iterdir()) == [good]
    found = checkpoints.load(tmp_path)
    assert found is not None
    assert found.state == {"step": 1}


def test_a_checkpoint_holds_no_code(tmp_path: Path) -> None:
    path = checkpoints.save(tmp_path, 0, _tensors(), {"a": 1})
    length = int.from_bytes(path.read_bytes()[:8], "little")
    header = json.loads(path.read_bytes()[8 : 8 + length])
    assert {entry["dtype"] for name, entry in header.items() if name != "__metadata__"} == {"F32", "BF16", "U8", "I64"}
    assert header["__metadata__"].keys() == {"state", "checksum"}


def test_parts_are_taken_over_and_the_rest_is_told() -> None:
    agent = _tensors(0) | {"world_model/encoder.bias": torch.zeros(3)}
    saved = _tensors(1) | {
        "world_model/dynamics.weight": torch.ones(6),
        "world_model/encoder.old": torch.ones(1),
    }
    merged, report = checkpoints.take_parts(agent, saved, ["world_model"])
    assert report.loaded == ["world_model/encoder.weight"]
    assert report.mismatched == ["world_model/dynamics.weight"]
    assert report.skipped == ["behavior/actor.weight", "random/learning", "updates", "world_model/encoder.old"]
    assert merged.keys() == agent.keys()
    assert merged["world_model/encoder.weight"].eq(1).all()
    assert merged["behavior/actor.weight"].eq(0).all()
    assert agent["world_model/encoder.weight"].eq(0).all()


def test_a_part_is_a_whole_name() -> None:
    _, report = checkpoints.take_parts(_tensors(0), _tensors(1), ["world_model/encoder", "updates"])
    assert report.loaded == ["world_model/encoder.weight", "updates"]
    with pytest.raises(UserError, match=r"no part 'world_model/enc'; it has behavior/actor\.weight, .*world_model"):
        checkpoints.take_parts(_tensors(0), _tensors(1), ["world_model/enc"])
