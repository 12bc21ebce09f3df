"""The kernels are compiled once, by whatever compiler is there, and nothing that is half made is ever loaded."""

import platform
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from dynalang_py.kernels import fused, native
from dynalang_py.nn.layers import Dense


@pytest.fixture
def anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty cache, and a library that is looked for again."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    native.library.cache_clear()
    yield tmp_path / "dynalang_py"
    native.library.cache_clear()


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder where programs are found; empty."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", str(folder))
    return folder


def test_without_a_compiler_layers_do_without(anew: Path, tools: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused, "_LEAST", 0)
    assert not fused.available()
    assert not list(anew.glob("*"))
    assert Dense(6, 4, "dreamer2025")(torch.randn(2, 6)).shape == (2, 4)


@pytest.mark.skipif(platform.system() != "Linux", reason="kernels are for Linux")
def test_a_compiler_that_fails_leaves_nothing_and_the_next_one_is_asked(anew: Path, tools: Path) -> None:
    for name, ends in (("g++", "echo half >$last; exit 1"), ("c++", "kill -9 $$"), ("clang++", "exit 0")):
        program = tools / name
        program.write_text(f'#!/bin/sh\necho "$@" >>{tools}/asked-{name}\nfor last; do :; done\n{ends}\n')
        program.chmod(0o755)
    assert not fused.available()
    assert not list(anew.iterdir())
    for name in ("g++", "c++", "clang++"):  # each for this machine first, then for all of its kind
        first, second = (tools / f"asked-{name}").read_text().splitlines()
        assert "-march=native" in first
        assert "-march" not in second


@pytest.fixture
def counting(tmp_path: Path) -> Path:
    """A compiler that adds a line to `calls` beside it, and makes what it is not asked to load."""
    compiler = tmp_path / "counting"
    compiler.write_text(f"#!/bin/sh\necho >>{tmp_path}/calls\nfor last; do :; done\nseq 1000 >$last\n")
    compiler.chmod(0o755)
    return compiler


def test_it_is_compiled_once_and_again_once_it_is_damaged(anew: Path, counting: Path) -> None:
    path = native.build(str(counting), [])
    assert path is not None
    assert list(anew.iterdir()) == [path]
    assert native.build(str(counting), []) == path
    calls = counting.with_name("calls")
    assert len(calls.read_text()) == 1
    whole = path.read_bytes()
    for count, damaged in enumerate((b"", whole[:100], whole[:-1]), start=2):
        path.write_bytes(damaged)
        assert native.build(str(counting), []) == path
        assert len(calls.read_text()) == count
        assert path.read_bytes() == whole
    assert native.build(str(counting), ["-O0"]) != path


def test_a_cache_that_cannot_be_written_is_no_obstacle(anew: Path, counting: Path) -> None:
    anew.write_text("a file in its place")
    path = native.build(str(counting), [])
    assert path is not None
    assert not path.is_relative_to(anew.parent)
    path.unlink()


def test_what_is_no_library_is_not_loaded(tmp_path: Path) -> None:
    path = tmp_path / "fused.so"
    assert native.load(path) is None
    path.write_text("1\n2\n")
    assert native.load(path) is None


@pytest.mark.parametrize("target", ["aarch64-linux-gnu", "riscv64-linux-gnu", "powerpc64le-linux-gnu"])
def test_compilers_for_other_processors_take_them(target: str, tmp_path: Path) -> None:
    """Where a cross compiler happens to be installed, as Debian's g++-aarch64-linux-gnu."""
    if not (compiler := shutil.which(f"{target}-g++")):
        pytest.skip(f"no {target}-g++")
    source = Path(native.__file__).with_name("fused.cpp")
    command = [compiler, "-std=c++17", "-O0", "-DTHREADS", "-fPIC", "-c", str(source), "-o", str(tmp_path / "fused.o")]
    subprocess.run(command, check=True)
