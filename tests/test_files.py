from pathlib import Path

import pytest

from dynalang_py import files


def test_a_file_is_replaced_at_once_and_folders_are_made(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b.txt"
    files.write(path, "old")
    files.write(path, b"new")
    assert path.read_text() == "new"
    assert list(path.parent.iterdir()) == [path]


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    def fail(partial: Path) -> None:
        partial.write_text("half of the n")
        raise OSError("the disk is full")

    path = tmp_path / "a.txt"
    files.write(path, "old")
    with pytest.raises(OSError, match="disk"), files.replacing(path) as partial:
        fail(partial)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
