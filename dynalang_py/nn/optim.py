"""The two optimisers that DreamerV3 has had."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from dynalang_py.bounds import Natural, Positive, check


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    joint: bool = True
    """One LaProp step on everything (2025), or three Adams in turn: world model, actor, critic (2023)."""
    lr: Positive = 4e-5
    """Learning rate of the joint optimiser, or of the world model's Adam."""
    actor_lr: Positive | None = None
    """The actor's learning rate in the joint step, if it is another. A world model may learn fast; an actor that does
    settles on one action before the model knows anything."""
    warmup: Natural = 1000
    """Updates over which the joint learning rate rises from 0."""
    clip: Positive = 0.3
    """Adaptive clipping of the joint optimiser: a tensor's gradient norm at most this share of its weights' norm."""
    behavior_lr: Positive = 3e-5
    """Learning rate of the actor's and the critic's Adam."""
    model_norm: Positive = 1000.0
    """Global gradient norm at which the world model's Adam clips."""
    behavior_norm: Positive = 100.0
    """Global gradient norm at which the actor's and the critic's Adam clip."""

    def __post_init__(self) -> None:
        check(self)


class LaProp(torch.optim.Optimizer):
    """LaProp (arXiv 2002.04839) behind adaptive gradient clipping (arXiv 2102.06171) per tensor, with linear warm-up.

    The gradient is normalised *before* momentum is taken, so ε may be tiny and the betas are independent.
    """

    def __init__(
        self,
        params: Iterable[nn.Parameter] | Iterable[dict[str, Any]],
        lr: float,
        *,
        warmup: int = 1000,
        clip: float = 0.3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-20,
    ) -> None:
        """params: parameters, or groups of them (`params`) of which each may have an `lr` of its own."""
        super().__init__(params, {"lr": lr})
        self.warmup, self.clip, self.betas, self.eps = warmup, clip, betas, eps

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        if closure is not None:
            raise ValueError("LaProp takes no closure")
        for group in self.param_groups:
            params = [p for p in group["params"] if p.grad is not None]
            states = [self.state[p] or self._begin(p) for p in params]
            for count in {state["step"] for state in states}:  # what once had no gradient is behind the others
                chosen = [i for i, state in enumerate(states) if state["step"] == count]
                part = [params[i] for i in chosen]
                rate = group["lr"] * (min(1.0, count / self.warmup) if self.warmup else 1.0)
                self._move(part, [p.grad for p in part], [states[i] for i in chosen], count, rate)

    def _begin(self, param: nn.Parameter) -> dict[str, Any]:
        self.state[param].update(step=0, momentum=torch.zeros_like(param), square=torch.zeros_like(param))
        return self.state[param]

    def _move(
        self, params: list[Tensor], grads: list[Tensor], states: list[dict[str, Any]], count: int, rate: float
    ) -> None:
        beta1, beta2 = self.betas
        momenta, squares = [s["momentum"] for s in states], [s["square"] for s in states]
        limits = torch._foreach_norm(params)
        torch._foreach_clamp_min_(limits, 1e-3)
        torch._foreach_mul_(limits, self.clip)
        norms = torch._foreach_norm(grads)
        torch._foreach_clamp_min_(norms, 1e-30)
        torch._foreach_div_(limits, norms)
        torch._foreach_clamp_max_(limits, 1.0)
        grads = list(torch._foreach_mul(grads, limits))
        torch._foreach_mul_(squares, beta2)
        torch._foreach_addcmul_(squares, grads, grads, 1 - beta2)
        scale = torch._foreach_div(squares, 1 - beta2 ** (count + 1))
        torch._foreach_sqrt_(scale)
        torch._foreach_add_(scale, self.eps)
        torch._foreach_div_(grads, scale)
        torch._foreach_lerp_(momenta, grads, 1 - beta1)
        torch._foreach_add_(params, momenta, alpha=-rate / (1 - beta1 ** (count + 1)))
        for state in states:
            state["step"] = count + 1


def adam(params: Iterable[nn.Parameter], lr: float, eps: float) -> torch.optim.Adam:
    """Adam as the 2023 code uses it; the caller clips."""
    params = list(params)
    return torch.optim.Adam(params, lr=lr, eps=eps, fused=all(p.device.type != "meta" for p in params))


def gradient_norm(grads: list[Tensor]) -> Tensor:
    """Norm of all gradients together: ()."""
    return torch.linalg.vector_norm(torch.stack(torch._foreach_norm(grads)))


def clip_gradients(grads: list[Tensor], norm: Tensor, limit: float) -> None:
    """Shrink gradients, in place, whose `gradient_norm` is above the limit."""
    torch._foreach_mul_(grads, (limit / norm.clamp(min=1e-12)).clamp(max=1))
