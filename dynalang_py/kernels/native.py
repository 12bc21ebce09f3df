"""fused.cpp as a library of this machine's own instructions, compiled at first use and kept in the user's cache."""

import ctypes
import functools
import hashlib
import itertools
import os
import platform
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from dynalang_py import files

_SOURCES = [Path(__file__).with_name(name) for name in ("fused.cpp", "vectors.h")]
_FLAGS = ("-std=c++17", "-O3", "-fno-math-errno", "-shared", "-fPIC", "-Wl,--as-needed")
_NATIVE = ["-march=native", *(["-mprefer-vector-width=512"] if platform.machine() == "x86_64" else [])]
_PATIENCE = 600  # seconds for the compiler, which takes five where nobody else computes

_POINTER, _COUNT, _NUMBER = ctypes.c_void_p, ctypes.c_int64, ctypes.c_float
# What each takes between a flag for bfloat16, with which all begin, and the number of threads, with which they end.
_FUNCTIONS: dict[str, list[Any]] = {
    "norm_silu": [_POINTER] * 5 + [_COUNT] * 3 + [_NUMBER],
    "norm_silu_back": [_POINTER] * 7 + [_COUNT] * 3,
    "gru": [_POINTER] * 3 + [_COUNT] * 2,
    "gru_back": [_POINTER] * 5 + [_COUNT] * 2,
    "draw": [_POINTER] * 3 + [_COUNT] * 2 + [_NUMBER],
    "interleave": [_POINTER] * 2 + [_COUNT] * 4,
}

Library = dict[str, Callable[..., None]]
"""The functions of fused.cpp by name. Tensors are handed in as addresses."""


@functools.cache
def library() -> Library | None:
    """The functions for this machine, compiled unless that was done on such a machine before; None without a compiler.

    A compiler that doesn't know this processor makes what every processor of its kind understands.
    """
    if platform.system() != "Linux":
        return None
    ways = itertools.product(_compilers(), (_NATIVE, []))
    path = next(filter(None, itertools.starmap(build, ways)), None)
    return load(path) if path else None


def build(compiler: str, flags: Sequence[str]) -> Path | None:
    """fused.cpp compiled with these flags beside those that it always gets, or as this was done before; None where
    that fails."""
    threads = _threads()
    command = [compiler, *_FLAGS, *flags, *(["-DTHREADS"] if threads else []), str(_SOURCES[0]), *threads]
    made_for = command, _processors(), platform.libc_ver()
    key = hashlib.sha256(b"".join(source.read_bytes() for source in _SOURCES) + repr(made_for).encode())
    try:
        path = files.user_cache() / f"fused-{key.hexdigest()[:16]}.so"
        if not _is_whole(path):
            with files.replacing(path) as new:
                subprocess.run([*command, "-o", str(new)], check=True, capture_output=True, timeout=_PATIENCE)
                made = new.read_bytes()
                new.write_bytes(made + hashlib.sha256(made).digest())  # loaders ignore what stands behind the end
    except (OSError, subprocess.SubprocessError):
        return None
    return path


def load(path: Path) -> Library | None:
    """The functions of a library that `build` made; None where libraries can't be loaded from its folder."""
    try:
        compiled = ctypes.CDLL(str(path))
    except OSError:
        return None
    functions: Library = {}
    for name, arguments in _FUNCTIONS.items():
        function = compiled[f"dynalang_{name}"]
        function.argtypes, function.restype = [ctypes.c_int, *arguments, ctypes.c_int], None
        functions[name] = function
    return functions


def _is_whole(path: Path) -> bool:
    """Whether a library is there as it was written: the loader itself may crash on one that was cut off."""
    content = path.read_bytes() if path.is_file() else b""
    return hashlib.sha256(content[:-32]).digest() == content[-32:]


def _compilers() -> Iterator[str]:
    """Where those lie that the user names or has."""
    for name in (os.environ.get("CXX"), "g++", "c++", "clang++"):
        if name and (found := shutil.which(name)):
            yield found


def _threads() -> list[str]:
    """The very library of threads that PyTorch runs on: two would wait for each other."""
    try:
        maps = Path("/proc/self/maps").read_text("utf-8").splitlines()
    except OSError:
        return []
    paths = (Path(line.split(maxsplit=5)[-1]) for line in maps)
    return next(([str(path)] for path in paths if path.name.startswith(("libgomp", "libiomp", "libomp"))), [])


def _processors() -> list[str]:
    """What decides which instructions a compiler takes, for each kind of core."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return []
    telling = ("flags", "Features", "isa", "vendor_id", "cpu family", "model", "CPU implementer", "CPU part", "cpu\t")
    return sorted({line for line in lines if line.startswith(telling)})
