"""The agent compiled: the graphs of torch.compile, run without its C++ code so that the test needs no compiler."""

import functools

import pytest
import torch

from dynalang_py.contract import StepSpec
from dynalang_py.nn.layers import Family

from .tiny import FAMILIES, FLOATS, SPEC, agent, window


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    ("spec", "tiles"), [(SPEC, False), (FLOATS, False), (SPEC, True)], ids=["discrete", "continuous", "tiles"]
)
def test_compiled_it_learns_the_same(
    family: Family, spec: StepSpec, tiles: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="aot_eager"))
    plain, compiled = agent(spec, family, tiles=tiles), agent(spec, family, compile=True, tiles=tiles)
    for seed in range(2):
        expected, _ = plain.update(window(plain, seed=seed))
        figures, _ = compiled.update(window(compiled, seed=seed))
        assert figures == pytest.approx(expected, rel=1e-3, abs=1e-5)
