"""λ-returns, and the scale they are measured by."""

import torch
from torch import Tensor, nn


def lambda_returns(reward: Tensor, discount: Tensor, value: Tensor, lam: Tensor | float, last: Tensor) -> Tensor:
    """R_t = r_{t+1} + d_{t+1} · [(1 − λ) v_{t+1} + λ R_{t+1}] backwards from R_H = last (DreamerV3 eq. 7).

    reward, discount, value: (N, H), those of steps 1 … H; lam: a number or (N, H), λ of these steps; last: (N,).
    Returns (N, H): the returns of steps 0 … H − 1.
    """
    fixed = reward + discount * (1 - lam) * value
    carried = (discount * lam).unbind(1)
    result = last
    results = []
    for t in reversed(range(reward.shape[1])):
        result = fixed[:, t] + carried[t] * result
        results.append(result)
    return torch.stack(results[::-1], 1)


class ReturnScale(nn.Module):
    """Running distance between the 5th and the 95th percentile of the returns (DreamerV3 eq. 11)."""

    def __init__(self, rate: float = 0.01) -> None:
        super().__init__()
        self.rate = rate
        # No correction for the start at zero: both codes of the authors let the range grow.
        self.register_buffer("low", torch.zeros(()))
        self.register_buffer("high", torch.zeros(()))
        self.low: Tensor
        self.high: Tensor

    def update(self, returns: Tensor) -> Tensor:
        """Take in a batch of returns (any shape), then give the scale max(1, high − low), a scalar."""
        low, high = torch.quantile(returns.detach().float().flatten(), returns.new_tensor([0.05, 0.95]).float())
        self.low.lerp_(low, self.rate)
        self.high.lerp_(high, self.rate)
        return (self.high - self.low).clamp(min=1)
