import errno
import os
import resource
import stat
import tempfile
from pathlib import Path

import pytest

from dynalang_py import files
from dynalang_py.errors import UserError


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


def test_an_error_names_the_file_that_was_to_be_written(tmp_path: Path) -> None:
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200, old[1]))  # no file may grow beyond 200 bytes
    try:
        for work in (files.write, files.write_new, files.append):
            path = tmp_path / f"{work.__name__}.json"
            with pytest.raises(OSError, match="too large") as caught:
                work(path, b"x" * 201)
            assert caught.value.filename == str(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
    assert [(left.name, left.stat().st_size) for left in tmp_path.iterdir()] == [("append.json", 0)]


def test_an_append_is_whole_or_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a" / "rows"
    files.append(path, b"one\n")
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (6, old[1]))
    try:
        with pytest.raises(OSError, match="too large"):
            files.append(path, b"two\n")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
    files.append(path, b"three\n")
    assert path.read_bytes() == b"one\nthree\n"


@pytest.mark.parametrize("links", [True, False])
def test_a_new_file_never_replaces_another(tmp_path: Path, links: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not links:  # as on FAT

        def refuse(*_: object) -> None:
            raise OSError(errno.EPERM, "not permitted")

        monkeypatch.setattr(os, "link", refuse)
    made = [files.write_new(tmp_path / "a.json", str(i)) for i in range(3)]
    assert [(path.name, path.read_text()) for path in made] == [("a.json", "0"), ("a-2.json", "1"), ("a-3.json", "2")]
    assert len(list(tmp_path.iterdir())) == 3


def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.write_text("keep me")
    path = tmp_path / "run" / "a.txt"
    path.parent.mkdir()
    path.with_name(f".a.txt.{os.getpid()}.partial").symlink_to(theirs)
    files.write(path, "ours")
    path.unlink()
    path.symlink_to(theirs)
    with pytest.raises(OSError, match="symbolic links"):
        files.append(path, b"ours")
    files.write_new(path, "ours")
    files.write(path, "ours")
    assert theirs.read_text() == "keep me"


def _no_home() -> Path:
    raise RuntimeError("Could not determine home directory.")


@pytest.mark.parametrize("cache", ["", "relative", "/dev/null", "/proc/nothing"])
def test_without_a_cache_there_is_a_private_folder(cache: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", cache)
    monkeypatch.setattr(Path, "home", _no_home)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    files._private_folder.cache_clear()
    folder = files.user_cache()
    assert folder == tmp_path / f"dynalang_py-{os.getuid()}"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert files.user_cache() == folder
    # One that others may have filled, or that leads elsewhere, is not taken.
    folder.chmod(0o777)
    files._private_folder.cache_clear()
    other = files.user_cache()
    assert other != folder
    assert other.stat().st_mode & 0o777 == 0o700
    folder.rmdir()
    folder.symlink_to(other)
    files._private_folder.cache_clear()
    assert files.user_cache() not in (folder, other)
    files._private_folder.cache_clear()


def test_the_cache_is_made_where_the_user_wants_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "deep" / "cache"))
    assert files.user_cache() == tmp_path / "deep" / "cache" / "dynalang_py"
    assert files.user_cache().is_dir()


def test_no_file_takes_the_place_of_a_device_or_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path):
        with pytest.raises(UserError, match=r"is a folder, device, pipe or socket; name a file to write"):
            files.write(path, "content")
    assert (tmp_path / "pipe").is_fifo()


def test_a_disk_that_syncs_no_folders_is_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sync = os.fsync

    def refuse(handle: int) -> None:  # as some network disks do
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")
        sync(handle)

    monkeypatch.setattr(os, "fsync", refuse)
    files.write(tmp_path / "a", "new")
    assert (tmp_path / "a").read_text() == "new"
