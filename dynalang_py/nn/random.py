"""The one source of randomness: whoever draws is handed it, so a run can be replayed and a draw can be chosen."""

import zlib

import torch
from torch import Tensor

from dynalang_py.errors import UserError


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

    def load_state(self, state: Tensor) -> None:
        """Go on where `generator.get_state` was called. Another kind of device counts otherwise: its state becomes a
        seed here. Raises UserError for a state that is none."""
        state = state.cpu()
        own = self.generator.get_state()
        if (state.dtype, state.shape) != (own.dtype, own.shape):
            self.generator.manual_seed(zlib.crc32(state.contiguous().numpy().tobytes()))
            return
        try:
            self.generator.set_state(state)
        except RuntimeError as error:
            raise UserError(f"the checkpoint's random state is none: {error}") from error

    def uniform(self, *shape: int) -> Tensor:
        """Float32 numbers in [0, 1)."""
        return torch.rand(shape, generator=self.generator, device=self.device)

    def normal(self, *shape: int) -> Tensor:
        """Float32 numbers of mean 0 and variance 1."""
        return torch.randn(shape, generator=self.generator, device=self.device)
