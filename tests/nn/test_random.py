"""One source of randomness: the seed decides, and nobody else's draws do."""

import pytest
import torch

from dynalang_py.errors import UserError
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


def test_a_state_of_another_kind_of_device_becomes_a_seed() -> None:
    cpu = torch.device("cpu")
    other = torch.arange(16, dtype=torch.uint8)  # as CUDA's are
    drawn = []
    for _ in range(2):
        noise = Noise(cpu, seed=3)
        noise.uniform(5)
        noise.load_state(other)
        drawn.append(noise.uniform(4))
    assert torch.equal(*drawn)
    assert not torch.equal(drawn[0], Noise(cpu, seed=3).uniform(4))
    before = noise.generator.get_state()
    first = noise.uniform(4)
    noise.load_state(before)
    assert torch.equal(noise.uniform(4), first)
    with pytest.raises(UserError, match="random state is none"):
        noise.load_state(torch.full_like(before, 255))
