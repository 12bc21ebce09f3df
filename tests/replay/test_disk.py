"""Room on the disk, and files that do not fit the run."""

import errno
import logging
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from dynalang_py.errors import UserError
from dynalang_py.replay import Field, Replay, ReplayConfig
from dynalang_py.replay_ends import Ends
from dynalang_py.replay_room import STRETCH

from .ring import FIELDS, fill, make, step


def test_it_knows_its_size_and_reserves_it(tmp_path: Path) -> None:
    replay = make(tmp_path, streams=2, capacity=1000)
    files = list(tmp_path.glob("*.raw"))
    assert replay.nbytes == sum(file.stat().st_size for file in files) == 1000 * (6 + 4 + 4 + 1 + 1 + 4) + 2 * 2 * 8
    assert replay.gigabytes == replay.nbytes / 1e9
    if hasattr(os, "posix_fallocate"):
        assert all(file.stat().st_blocks * 512 >= file.stat().st_size for file in files)


BIG = FIELDS | {"image": ((64, 64, 3), "u1")}


def test_a_disk_without_room_for_the_beginning_is_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=int(3.1e6)))
    with pytest.raises(UserError, match=r"replay at .*replay needs 8\.0 MB more but only 3\.1 MB are free; make room"):
        make(tmp_path / "replay", BIG, capacity=1_000_000)
    assert not list((tmp_path / "replay").iterdir())


def _steps(replay: Replay, serials: range) -> None:
    for serial in serials:
        replay.add(step([serial]) | {"image": np.full((1, 64, 64, 3), serial % 251, np.uint8)})


def test_it_grows_with_what_is_in_it(tmp_path: Path) -> None:
    replay = make(tmp_path, BIG, capacity=20_000)
    files = list(tmp_path.glob("*.raw"))
    assert sum(file.stat().st_size for file in files) == replay.nbytes > 200e6
    begun = replay.room.bytes
    assert begun < 2 * STRETCH
    _steps(replay, range(900))
    held = sum(file.stat().st_blocks * 512 for file in files)
    assert 900 * 64 * 64 * 3 < replay.room.bytes <= held < begun + 2 * STRETCH
    reopened = make(tmp_path, BIG, capacity=20_000)
    assert reopened.room.rows == len(reopened) == 900
    assert (np.diff(reopened.sample(20)[0]["serial"]) == 1).all()


def test_a_disk_that_fills_up_costs_no_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replay = make(tmp_path, BIG, capacity=20_000)
    rows = replay.room.rows
    _steps(replay, range(rows))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=int(9e6)))
    replay.room.spare = 2_000_000
    with pytest.raises(UserError, match=r"only 9\.0 MB are free, of which 2 MB are kept for a checkpoint"):
        _steps(replay, range(rows, rows + 1))
    assert len(replay) == rows
    replay.room.spare = 0
    _steps(replay, range(rows, rows + 3))
    assert make(tmp_path, BIG, capacity=20_000).sample(1)[0]["serial"].max() <= rows + 2


@pytest.mark.parametrize("victim", ["image.raw", ""])
def test_files_that_are_deleted_meanwhile_are_told(tmp_path: Path, victim: str) -> None:
    replay = make(tmp_path / "replay", BIG, capacity=20_000)
    _steps(replay, range(replay.room.rows))
    path = tmp_path / "replay" / victim
    path.unlink() if victim else shutil.rmtree(path)
    with pytest.raises(UserError, match=f"{path} was deleted while the run was writing to it"):
        _steps(replay, range(replay.room.rows, replay.room.rows + 1))


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="this system reserves no blocks")
def test_holes_of_a_copy_are_filled_before_they_are_written_to(tmp_path: Path) -> None:
    replay = make(tmp_path, BIG, capacity=20_000)
    _steps(replay, range(50))
    image = tmp_path / "image.raw"
    content, size = image.read_bytes()[: 50 * 64 * 64 * 3], image.stat().st_size
    image.write_bytes(b"")
    os.truncate(image, size)
    assert image.stat().st_blocks == 0
    make(tmp_path, BIG, capacity=20_000)
    assert image.stat().st_blocks * 512 >= len(content)


def test_a_disk_that_fills_while_reserving_is_refused_and_left_clean(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []

    def fallocate(_file: int, _offset: int, nbytes: int) -> None:
        calls.append(nbytes)
        if len(calls) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", fallocate, raising=False)
    with pytest.raises(UserError, match=r"lower --replay\.capacity"):
        make(tmp_path)
    assert not list(tmp_path.iterdir())
    monkeypatch.undo()
    fill(make(tmp_path), range(9))


def test_where_space_cannot_be_reserved_it_works_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "posix_fallocate", raising=False)
    replay = make(tmp_path / "none")
    fill(replay, range(9))
    assert len(replay) == 9

    def unsupported(*_: int) -> None:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(os, "posix_fallocate", unsupported, raising=False)
    replay = make(tmp_path / "unsupported")
    fill(replay, range(9))
    assert len(replay) == 9


def test_continuing_needs_no_free_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(make(tmp_path), range(9))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=0))
    assert len(make(tmp_path)) == 9


def test_a_start_that_was_killed_half_way_is_begun_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(make(tmp_path), range(9))
    (tmp_path / "meta.json").unlink()
    (tmp_path / "deter.raw").unlink()
    left: list[Path] = []

    def disk_usage(path: Path) -> SimpleNamespace:
        left.extend(file for file in path.glob("*.raw") if file.stat().st_blocks)
        return SimpleNamespace(free=10**6)

    monkeypatch.setattr(shutil, "disk_usage", disk_usage)
    assert len(make(tmp_path)) == 0
    assert not left, "what a half-made replay occupies is free for the new one"


@pytest.mark.parametrize(
    ("fields", "kwargs", "sentence"),
    [
        (FIELDS | {"image": ((3, 3), np.uint8)}, {}, r"field 'image' as uint8 \(2, 3\) where .* uint8 \(3, 3\)"),
        (FIELDS | {"reward": ((), np.float64)}, {}, r"field 'reward' as float32 \(\) where .* float64 \(\)"),
        (FIELDS | {"stoch": ((4,), np.uint8)}, {}, r"no field 'stoch' where .* field 'stoch' as uint8 \(4,\)"),
        ({k: v for k, v in FIELDS.items() if k != "deter"}, {}, r"'deter' as float16 \(2,\) where .* no field 'deter'"),
        (FIELDS, {"streams": 2, "capacity": 64}, "has 1 streams where this run needs 2 streams"),
        (FIELDS, {"capacity": 33}, "has 32 steps per stream where this run needs 33 steps per stream"),
    ],
)
def test_another_layout_is_refused_by_name(
    tmp_path: Path, fields: dict[str, Field], kwargs: dict[str, int], sentence: str
) -> None:
    fill(make(tmp_path), range(9))
    with pytest.raises(UserError, match=sentence):
        make(tmp_path, fields, **kwargs)
    assert len(make(tmp_path)) == 9


def test_windows_of_another_length_may_be_sampled_from_the_same_files(tmp_path: Path) -> None:
    fill(make(tmp_path, length=4), range(20))
    assert make(tmp_path, length=7, context=1).sample(2)[0]["serial"].shape == (2, 8)


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    make(tmp_path)
    os.truncate(tmp_path / "image.raw", 5)
    with pytest.raises(UserError, match=r"image\.raw has 5 bytes instead of 192"):
        make(tmp_path)
    (tmp_path / "meta.json").write_text("{}")
    with pytest.raises(UserError, match=r"meta\.json does not describe a replay"):
        make(tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        *("", "[]", "3", "{", "[" * 100_000, '{"streams": 1, "steps per stream": 32, "fields": [1]}'),
        *(f'{{"streams": {value}, "steps per stream": 32, "fields": {{}}}}' for value in ("[1]", "9" * 4000, '"1"')),
        *(
            f'{{"streams": 1, "steps per stream": 32, "fields": {{"image": {value}}}}}'
            for value in ("3", "null", '"ab"', '[[2, 3], "|O"]', '[[2, 3], "x"]', '[7, "|u1"]', '[[1e400], "|u1"]')
        ),
    ],
)
def test_a_description_of_other_json_is_refused(tmp_path: Path, text: str) -> None:
    make(tmp_path)
    (tmp_path / "meta.json").write_text(text)
    with pytest.raises(UserError, match=f"{tmp_path}.*delete the folder") as caught:
        make(tmp_path)
    assert len(str(caught.value)) < 500


def test_a_link_in_a_replay_is_not_written_through(tmp_path: Path) -> None:
    make(tmp_path / "a")
    for name in ("image.raw", "counters.raw", "counters.check", "meta.json"):
        theirs, ours = tmp_path / name, tmp_path / "a" / name
        ours.rename(theirs)
        ours.symlink_to(theirs)
        with pytest.raises(UserError, match=f"{name} is a link"):
            make(tmp_path / "a")
        ours.unlink()
        theirs.rename(ours)


def test_a_new_replay_is_not_written_through_links(tmp_path: Path) -> None:
    theirs, folder = tmp_path / "theirs", tmp_path / "replay"
    theirs.write_text("keep me")
    folder.mkdir()
    for name in ("image.raw", "counters.raw", "counters.check", "meta.json.new", f".meta.json.{os.getpid()}.partial"):
        (folder / name).symlink_to(theirs)
    fill(make(folder), range(9))
    assert theirs.read_text() == "keep me"


def test_a_flipped_bit_of_the_counters_is_mended_from_their_copy(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("dynalang"), "propagate", True)
    fill(make(tmp_path, streams=2, capacity=64), range(40), streams=2)
    for name in ("counters.raw", "counters.check"):
        path = tmp_path / name
        whole = path.read_bytes()
        for bit in range(0, 8 * len(whole), 5):
            content = bytearray(whole)
            content[bit // 8] ^= 1 << bit % 8
            path.write_bytes(content)
            replay = make(tmp_path, streams=2, capacity=64)
            assert (replay._tail.tolist(), replay._head.tolist()) == ([8, 8], [40, 40])
            assert path.read_bytes() == whole
    assert {record.getMessage() for record in caplog.records} == {
        f"{tmp_path / 'counters.raw'} is damaged, or was cut off by a kill; going on with its copy"
    }


def test_ids_that_there_are_none_of_are_refused_where_they_are_held(tmp_path: Path) -> None:
    replay = make(tmp_path)
    fill(replay, range(9))
    replay.check_ids({"serial": 9, "image": (13, 14, 15)})
    for counts in ({"serial": 8}, {"image": (20, 20, 13)}):
        with pytest.raises(UserError, match=r"(serial|image)\.raw is damaged: .* delete the folder"):
            replay.check_ids(counts)
    serials = np.fromfile(tmp_path / "serial.raw", np.int32)
    serials[20] = -1  # no step is held there
    serials.tofile(tmp_path / "serial.raw")
    make(tmp_path).check_ids({"serial": 9})
    serials[3] = -1
    serials.tofile(tmp_path / "serial.raw")
    with pytest.raises(UserError, match=r"serial\.raw is damaged"):
        make(tmp_path).check_ids({"serial": 9})


def test_a_kill_before_the_first_step_leaves_counters_that_are_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(_: Ends) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Ends, "write", killed)
        with pytest.raises(KeyboardInterrupt):
            make(tmp_path)
    assert len(make(tmp_path)) == 0


def test_counters_that_can_not_be_are_refused(tmp_path: Path) -> None:
    fill(make(tmp_path), range(9))
    plain, checked = tmp_path / "counters.raw", tmp_path / "counters.check"
    whole = checked.read_bytes()
    for content, sentence in ((whole[:-1], "has 31 bytes instead of 32"), (bytes(32), "nor does its copy")):
        checked.write_bytes(content)
        with pytest.raises(UserError, match=rf"counters\.(raw|check) is damaged: .*{sentence}; delete the folder"):
            make(tmp_path)
    for tail, head in ((0, 33), (-1, 3), (4, 3), (2**62, 2**62 + 1), (0, -5)):
        checked.unlink()  # of a version that kept no checksum
        np.array([tail, head]).tofile(plain)
        with pytest.raises(UserError, match=rf"it counts from \[{tail}\] to \[{head}\], of 32 at most"):
            make(tmp_path)
    checked.unlink()
    np.array([0, 9]).tofile(plain)
    assert len(make(tmp_path)) == 9


def test_a_capacity_below_one_window_per_stream_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"capacity 64 leaves 4 steps to each of 16 .* at least 80"):
        make(tmp_path, streams=16, capacity=64, length=4, context=1)
    with pytest.raises(ValueError, match="capacity must be at least 1, got 0"):
        ReplayConfig(capacity=0)
