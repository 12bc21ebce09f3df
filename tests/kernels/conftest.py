"""The kernels as every compiler makes them for every width of registers that it can be told of."""

import functools
import platform
import shutil
from pathlib import Path

import pytest

from dynalang_py.kernels import fused, native

_AVX2 = ("avx2", "fma", "bmi2")
_WIDE = (*_AVX2, "avx512f", "avx512dq", "avx512bw", "avx512vl")
# Instructions beside those of every x86-64, and what else is asked of the compiler.
WIDTHS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "sse2": ((), ()),
    "avx2": (_AVX2, ()),
    "avx512f": ((*_AVX2, "avx512f"), ()),
    "avx512": (_WIDE, ()),
    "avx512bf16": ((*_WIDE, "avx512bf16"), ()),
    "portable": (_AVX2, ("-DPORTABLE",)),
}
VARIANTS = [(compiler, width) for compiler in ("g++", "clang++") for width in WIDTHS]


def flags(width: str) -> list[str]:
    instructions, others = WIDTHS[width]
    return ["-march=x86-64", *(f"-m{name}" for name in instructions), *others]


@functools.cache
def instructions() -> set[str]:
    """What this processor understands, by the names that compilers use."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = next((line for line in lines if line.startswith("flags")), "")
    return set(names.replace("avx512_", "avx512").split())


@pytest.fixture(params=["own", *VARIANTS], ids=lambda v: v if isinstance(v, str) else "-".join(v), scope="session")
def variant(request: pytest.FixtureRequest) -> native.Library:
    """Compiled, or found compiled, on whatever machine has the compiler; skipped where it can't run."""
    if request.param == "own":
        library = native.library()
        return library or pytest.skip("no C++ compiler, so nothing is fused")
    compiler, width = request.param
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        pytest.skip("compilers are told of the instructions of x86-64")
    if not (found := shutil.which(compiler)):
        pytest.skip(f"no {compiler}")
    path = native.build(found, flags(width))
    assert path is not None, f"{compiler} can't compile the kernels with {flags(width)}"
    if missing := set(WIDTHS[width][0]) - instructions():
        pytest.skip(f"this processor has no {', '.join(sorted(missing))}")
    library = native.load(path)
    assert library is not None
    return library


@pytest.fixture
def kernels(variant: native.Library, monkeypatch: pytest.MonkeyPatch) -> None:
    """Layers are fused however small their inputs are, each time by another build of the kernels."""
    monkeypatch.setattr(native, "library", lambda: variant)
    monkeypatch.setattr(fused, "_LEAST", 0)
