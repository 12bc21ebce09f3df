"""`dynalang bench`: figures on stdout, and what it is doing elsewhere."""

import json
from typing import Any

import pytest

from dynalang_py.run.bench import FAMILIES, BenchConfig, main


def test_the_figures_are_alone_on_stdout_and_each_family_tells_what_it_does(capsys: pytest.CaptureFixture[str]) -> None:
    tiny: dict[str, Any] = {
        "deter": 16,
        "stoch": 2,
        "classes": 4,
        "cnn_depth": 8,
        "units": 8,
        "horizon": 2,
        "image": 16,
    }
    main(BenchConfig(**tiny, batch_size=2, batch_length=4, updates=1, compile=False, device="cpu", json=True))
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert found["families"].keys() == set(FAMILIES)
    assert all(result["frames_per_s"] > 0 for result in found["families"].values())
    for family in FAMILIES:
        assert f"{family}: the first update ...\n" in err
        assert f"{family}: 1 updates, about " in err
