"""fused.cpp as a library of this machine's own instructions, compiled at first use and kept in the user's cache."""

import ctypes
import functools
import hashlib
import os
import platform
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dynalang_py import files

_SOURCE = Path(__file__).with_name("fused.cpp")
_FLAGS = (
    "-std=c++17",
    "-O3",
    "-march=native",
    "-fno-math-errno",
    "-shared",
    "-fPIC",
    "-Wl,--as-needed",
)

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


@functools.cache
def library() -> dict[str, Callable[..., None]] | None:
    """The functions of fused.cpp by name, compiled unless that was done on such a machine before; None without a
    compiler. Tensors are handed in as addresses."""
    if platform.system() != "Linux":
        return None
    compilers = [shutil.which(name) for name in (os.environ.get("CXX"), "g++", "c++") if name]
    compiled = next(filter(None, map(_compiled, filter(None, compilers))), None)
    if compiled is None:
        return None
    functions: dict[str, Callable[..., None]] = {}
    for name, arguments in _FUNCTIONS.items():
        function = compiled[f"dynalang_{name}"]
        function.argtypes, function.restype = [ctypes.c_int, *arguments, ctypes.c_int], None
        functions[name] = function
    return functions


def _compiled(compiler: str) -> ctypes.CDLL | None:
    # The very library of threads that PyTorch runs on: two would wait for each other.
    threads = _loaded("libgomp", "libiomp")
    command = [compiler, *_FLAGS, *(["-fopenmp"] if threads else []), str(_SOURCE), *threads]
    if platform.machine() == "x86_64":
        command.append("-mprefer-vector-width=512")
    machine = command, _processor(), platform.libc_ver()
    key = hashlib.sha256(_SOURCE.read_bytes() + repr(machine).encode()).hexdigest()[:16]
    path = files.user_cache() / f"fused-{key}.so"
    try:
        if not path.exists():
            with files.replacing(path) as new:
                subprocess.run([*command, "-o", str(new)], check=True, capture_output=True, timeout=120)
        return ctypes.CDLL(str(path))
    except (OSError, subprocess.SubprocessError):
        return None


def _loaded(*names: str) -> list[str]:
    """The first shared library in this process whose file name begins with one of these names."""
    paths = (line.split()[-1] for line in Path("/proc/self/maps").read_text("utf-8").splitlines())
    return next(([path] for path in paths if Path(path).name.startswith(names)), [])


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    return next((line for line in lines if line.startswith(("flags", "Features"))), "")
