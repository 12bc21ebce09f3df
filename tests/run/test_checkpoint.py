import json
import resource
from collections.abc import Mapping
from pathlib import Path
from typing import Any

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


def test_every_bit_of_a_checkpoint_counts(tmp_path: Path) -> None:
    state = {"counters": {"steps": 3}, "note": '"file_crc32":"00000000"'}
    path = checkpoints.save(tmp_path, 3, _tensors(), state)
    found = checkpoints.load(tmp_path)
    assert found is not None
    assert found.state == state
    content = path.read_bytes()
    for at in range(len(content)):
        path.write_bytes(content[:at] + bytes([content[at] ^ 1 << at % 8]) + content[at + 1 :])
        with pytest.raises(UserError, match=r"step-0+3.safetensors is damaged"):
            checkpoints.load(tmp_path)


def test_a_checkpoint_of_an_earlier_version_is_read_as_it_was(tmp_path: Path) -> None:
    path, metadata = tmp_path / "step-000000000001.safetensors", {"state": '{"a": 1}'}
    save_file(_tensors(), path, metadata | {"checksum": checkpoints._checksum(_tensors())})
    found = checkpoints.load(tmp_path)
    assert found is not None
    assert found.state == {"a": 1}
    save_file(_tensors(2), path, metadata | {"checksum": checkpoints._checksum(_tensors())})
    with pytest.raises(UserError, match="does not match its checksum"):
        checkpoints.load(tmp_path)


def test_what_others_put_beside_checkpoints_is_neither_read_nor_deleted(tmp_path: Path) -> None:
    foreign = ["step-best.safetensors", "step-12.safetensors", ".DS_Store", ".step-1.safetensors.7.partial", ".nfs0001"]
    for name in foreign:
        (tmp_path / name).write_bytes(b"theirs")
    (tmp_path / ".ipynb_checkpoints").mkdir()
    (tmp_path / ".step-000000000009.safetensors.77.partial").mkdir()
    before = set(tmp_path.iterdir())
    for step in (1, 2, 3):
        checkpoints.save(tmp_path, step, _tensors(), {"step": step})
    checkpoints.forget_after(tmp_path, 2)
    found = checkpoints.load(tmp_path)
    assert found is not None
    assert (found.state, found.damaged) == ({"step": 2}, {})
    assert set(tmp_path.iterdir()) - before == {found.path}


def test_a_link_or_a_folder_in_the_place_of_a_checkpoint_is_damage_and_stays(tmp_path: Path) -> None:
    good = checkpoints.save(tmp_path / "run", 1, _tensors(), {"step": 1})
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(good.read_bytes())
    linked, folder = (good.with_name(f"step-{step:012d}.safetensors") for step in (2, 3))
    linked.symlink_to(elsewhere)
    folder.mkdir()
    found = checkpoints.load(good.parent)
    assert found is not None
    assert (found.path, set(found.damaged)) == (good, {linked, folder})
    assert "is a link" in found.damaged[linked]
    folder.with_suffix(".damaged").touch()  # taken
    checkpoints.set_aside(found)
    checkpoints.save(good.parent, 4, _tensors(), {})
    assert elsewhere.exists()
    assert folder.with_suffix(".damaged1").is_dir()


def test_a_state_that_the_caller_can_not_use_counts_as_damage(tmp_path: Path) -> None:
    def check(state: Mapping[str, Any]) -> None:
        if state["step"] != 1:
            raise ValueError("a step of another kind")

    good = checkpoints.save(tmp_path, 1, _tensors(), {"step": 1})
    bad = checkpoints.save(tmp_path, 2, _tensors(), {"step": "x"})
    found = checkpoints.load(tmp_path, check)
    assert found is not None
    assert (found.path, found.damaged) == (good, {bad: f"{bad} is damaged (a step of another kind)"})


@pytest.mark.parametrize("text", ["[1]", "[" * 100_000, "9" * 5000, "nothing"])
def test_a_state_that_is_none_is_damage(tmp_path: Path, text: str) -> None:
    path = tmp_path / "step-000000000001.safetensors"
    save_file(_tensors(), path, {"state": text, "checksum": checkpoints._checksum(_tensors())})
    with pytest.raises(UserError, match="no checkpoint can be read"):
        checkpoints.load(tmp_path)


def test_a_header_of_absurd_length_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "step-000000000001.safetensors").write_bytes((1 << 62).to_bytes(8, "little") + b"{}")
    with pytest.raises(UserError, match="100,000,000 are allowed"):
        checkpoints.load(tmp_path)


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
    assert header["__metadata__"].keys() == {"state", "file_crc32"}


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
