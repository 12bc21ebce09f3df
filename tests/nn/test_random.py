"""One source of randomness: the seed decides, and nobody else's draws do."""

import torch

from dynalang_py.nn.random import Noise


def test_the_seed_alone_decides() -> None:
    first, second, other = (Noise(torch.device("cpu"), seed) for seed in (3, 3, 4))
    drawn = first.uniform(5), first.normal(5)
    torch.rand(7)  # somebody else draws
    assert second.uniform(5).equal(drawn[0])
    assert second.normal(5).equal(drawn[1])
    assert not other.uniform(5).equal(drawn[0])


def test_uniform_numbers_stay_below_one() -> None:
    numbers = Noise(torch.device("cpu"), 0).uniform(100_000)
    assert 0 <= float(numbers.min()) < float(numbers.max()) < 1
