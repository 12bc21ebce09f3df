"""fused.cpp as a library of this machine's own instructions, compiled at first use and kept in the user's cache."""

import ctypes
import functools
import hashlib
import os
import platform
import shutil
import subprocess
from pathlib import Path

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


@functools.cache
def library() -> ctypes.CDLL | None:
    """fused.cpp as a library, from the cache if it was compiled on such a machine before; None without a compiler."""
    compiler = shutil.which(os.environ.get("CXX") or "g++") or shutil.which("c++")
    if compiler is None or platform.system() != "Linux":
        return None
    # The very library of threads that PyTorch runs on: two would wait for each other.
    threads = _loaded("libgomp", "libiomp")
    command = [compiler, *_FLAGS, *(["-fopenmp"] if threads else []), str(_SOURCE), *threads]
    if platform.machine() == "x86_64":
        command.append("-mprefer-vector-width=512")
    key = hashlib.sha256(_SOURCE.read_bytes() + repr((command, _processor())).encode()).hexdigest()[:16]
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
