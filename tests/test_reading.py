"""Whatever a user hands in is read within bounds, or refused in one sentence that names it."""

import gzip
import io
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from dynalang_py import reading
from dynalang_py.errors import UserError, shown


def test_an_ordinary_file_is_read_whole(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"a": [1, 2.5]}')
    (tmp_path / "a.json.gz").write_bytes(gzip.compress(b'{"a": [1, 2.5]}'))
    assert reading.read_json(tmp_path / "a.json") == {"a": [1, 2.5]}
    assert reading.read_json(tmp_path / "a.json.gz") == {"a": [1, 2.5]}
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfw\xc3\xb6rter")
    assert reading.read_text(tmp_path / "a.txt") == "wörter"


def _folder(path: Path) -> None:
    path.mkdir()


def _latin(path: Path) -> None:
    path.write_bytes(b"ab\xff")


def _device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def _memory(path: Path) -> None:
    path.symlink_to("/proc/self/mem")


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda path: None, "No such file"),
        (_folder, "is a folder"),
        (os.mkfifo, "is a device, pipe or socket"),
        (_device, "is a device, pipe or socket"),
        (_memory, "can't be read"),
        (_latin, "byte 2 is 0xff"),
    ],
)
def test_what_is_no_readable_text_is_refused_at_once(
    make: Callable[[Path], None], sentence: str, tmp_path: Path
) -> None:
    make(tmp_path / "x")
    with pytest.raises(UserError, match=f"the corpus .*{sentence}"):
        reading.read_text(tmp_path / "x", "the corpus")


@pytest.mark.parametrize("text", ["a\0b", "x" * 300, "a/" * 3000, "~nobody-is-called-this/x"])
def test_paths_that_no_system_opens_are_refused(text: str) -> None:
    with pytest.raises(UserError, match="the path"):
        reading.user_path(text)


def test_home_is_expanded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/somewhere")
    assert reading.user_path("~/runs") == Path("/somewhere/runs")


def test_files_beyond_the_bound_are_refused_and_the_bound_is_named(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(bytes(101))
    (tmp_path / "a.gz").write_bytes(gzip.compress(bytes(100_000)))
    assert len(reading.read_bytes(tmp_path / "a", most=101)) == 101
    with pytest.raises(UserError, match="larger than 100 bytes"):
        reading.read_bytes(tmp_path / "a", most=100)
    with pytest.raises(UserError, match="unpacks to more than 1,000 bytes"):
        reading.read_unpacked(tmp_path / "a.gz", most=1000)


def test_a_small_file_of_a_large_nothing_is_not_unpacked(tmp_path: Path) -> None:
    (tmp_path / "a.gz").write_bytes(gzip.compress(bytes(reading.SMALL + 1), 1))
    with pytest.raises(UserError, match="unpacks to more than 67,108,864 bytes"):
        reading.read_unpacked(tmp_path / "a.gz")


@pytest.mark.parametrize("damage", [lambda packed: packed[:-9], lambda packed: b"no" + packed])
def test_damaged_gzip_is_refused(damage: Callable[[bytes], bytes], tmp_path: Path) -> None:
    (tmp_path / "a.gz").write_bytes(damage(gzip.compress(os.urandom(1000))))
    with pytest.raises(UserError, match="damaged gzip"):
        reading.read_unpacked(tmp_path / "a.gz")


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "1" * 10_000, "{", b"\xff", ""])
def test_what_is_no_json_is_refused_by_name(text: str | bytes) -> None:
    with pytest.raises(UserError, match="settings can't be read as JSON"):
        reading.parse_json(text, "settings")


def test_pictures_are_bounded_before_they_are_decoded() -> None:
    file = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(file, "PNG")
    assert len(file.getvalue()) < 100_000
    with pytest.raises(UserError, match="pixels"):
        reading.parse_picture(file.getvalue(), "wall.png")


@pytest.mark.parametrize("damage", [lambda png: png[:60], lambda png: b"", lambda png: png[:40] + bytes(40) + png[80:]])
def test_damaged_pictures_are_refused_by_name(damage: Callable[[bytes], bytes]) -> None:
    file = io.BytesIO()
    Image.effect_noise((40, 40), 50).save(file, "PNG")
    with pytest.raises(UserError, match=r"wall\.png is a damaged picture"):
        reading.parse_picture(damage(file.getvalue()), "wall.png")


@pytest.mark.parametrize(("value", "fits"), [(1, True), (-2.5, True), (True, False), ("1", False)])
def test_numbers_that_fit_a_float(value: object, fits: bool) -> None:
    assert reading.is_finite(value) == fits
    assert not reading.is_finite(float("nan"))
    assert not reading.is_finite(float("inf"))
    assert not reading.is_finite(10**400)


def test_values_are_cut_for_sentences() -> None:
    for value in ("x" * 1000, 10**5000, [[1] * 100]):
        assert len(shown(value)) <= 60
