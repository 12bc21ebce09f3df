"""Scalars predicted as a distribution over exponentially spaced bins (DreamerV3 eq. 9–10, arXiv 2301.04104)."""

from typing import cast

import torch
from torch import Tensor, nn

from dynalang_py.nn.layers import MLP, Family, linear


class TwoHot:
    """The distribution that the logits describe. logits: (…, bins), bins odd."""

    def __init__(self, logits: Tensor, centres: Tensor) -> None:
        self.log_prob = logits.float().log_softmax(-1)
        self.centres = centres

    @property
    def mean(self) -> Tensor:
        """Expected value in the target's own units: (…)."""
        prob = self.log_prob.exp()
        # Centres reach ±4.9e8: pair each with its mirror image before summing, or rounding drowns small rewards.
        half = self.centres.numel() // 2
        return ((prob[..., half + 1 :] - prob[..., :half].flip(-1)) * self.centres[half + 1 :]).sum(-1)

    def loss(self, target: Tensor) -> Tensor:
        """Cross-entropy in nats with the two-hot encoding of the target: (…) → (…).

        A target between two bins puts weight on both in proportion to nearness; one beyond the ends falls on the end.
        """
        last = self.centres.numel() - 1
        target = target.detach().float().contiguous()
        above = torch.searchsorted(self.centres, target, right=True).clamp(1, last)
        low, high = self.centres[above - 1], self.centres[above]
        weight = ((target - low) / (high - low)).clamp(0, 1)
        pair = self.log_prob.gather(-1, torch.stack([above - 1, above], -1))  # (…, 2)
        return -(pair[..., 0] * (1 - weight) + pair[..., 1] * weight)


class TwoHotHead(nn.Module):
    """MLP → two-hot logits. features: (…, inputs) → TwoHot over (…)."""

    def __init__(self, inputs: int, units: int, layers: int, family: Family, bins: int = 255) -> None:
        super().__init__()
        if bins % 2 == 0:
            raise ValueError(f"bins must be odd so that zero has one of its own, got {bins}")
        self.mlp = MLP(inputs, units, layers, family)
        self.out = linear(self.mlp.width, bins, family, scale=0.0)  # the first predictions are exactly zero
        # ±20 in symlog units is about ±4.9e8 in reward units. Computed in float64: float32 would lose the symmetry.
        positive = torch.linspace(0, 20, bins // 2 + 1, dtype=torch.float64, device="cpu")[1:].expm1().float()
        self.register_buffer(
            "centres", torch.cat([-positive.flip(0), positive.new_zeros(1), positive]), persistent=False
        )

    def forward(self, features: Tensor) -> TwoHot:
        return TwoHot(self.out(self.mlp(features)), cast(Tensor, self.centres))
