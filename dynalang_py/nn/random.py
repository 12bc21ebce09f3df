"""The one source of randomness: whoever draws is handed it, so a run can be replayed and a draw can be chosen."""

import torch
from torch import Tensor


class Noise:
    """Uniform and normal numbers from a generator of its own.

    The dynamics and the policies turn these numbers into samples by formulas, and draw nothing themselves. Hand in a
    subclass that returns other numbers to decide what is drawn.
    """

    def __init__(self, device: torch.device, seed: int) -> None:
        self.device = device
        drawing = (
            torch.device("cpu") if device.type == "meta" else device
        )  # nothing is drawn where shapes are all there is
        self.generator = torch.Generator(drawing).manual_seed(seed)

    def uniform(self, *shape: int) -> Tensor:
        """Float32 numbers in [0, 1)."""
        return torch.rand(shape, generator=self.generator, device=self.device)

    def normal(self, *shape: int) -> Tensor:
        """Float32 numbers of mean 0 and variance 1."""
        return torch.randn(shape, generator=self.generator, device=self.device)
