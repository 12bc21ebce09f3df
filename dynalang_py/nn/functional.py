"""Element-wise functions and distributions, as plain functions of tensors (letters: dynalang_py/nn/__init__.py)."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from dynalang_py.kernels import fused


def symlog(x: Tensor) -> Tensor:
    """sign(x) · ln(1 + |x|): compresses large magnitudes, identity near zero (DreamerV3 eq. 9, arXiv 2301.04104)."""
    return x.sign() * x.abs().log1p()


def symexp(x: Tensor) -> Tensor:
    """The inverse of symlog."""
    return x.sign() * x.abs().expm1()


def unimix(logits: Tensor, share: float) -> Tensor:
    """Log-probabilities of a categorical mixed with a uniform one, in float32.

    logits: (…, K) → (…, K). share: weight of the uniform part, in [0, 1); it keeps every KL finite.
    """
    logits = logits.float()
    if share == 0:
        return logits.log_softmax(-1)
    mixed: Tensor = _Unimix.apply(logits, share)
    return mixed


class _Unimix(torch.autograd.Function):
    """The mixture and its gradient, in fewer passes over memory than autograd would make."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, share: float) -> Tensor:
        prob = _softmax(logits)
        mixed = prob * (1 - share) + share / logits.shape[-1]
        ctx.save_for_backward(prob, mixed)
        ctx.set_materialize_grads(False)
        ctx.share = share
        return mixed.log()

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None) -> tuple[Tensor | None, None]:
        if grad is None:  # a loss that does not reach the mixture leaves none, not zeros
            return None, None
        prob, mixed = ctx.saved_tensors
        weighted = (grad / mixed).mul_(1 - ctx.share).mul_(prob)
        return torch.addcmul(weighted, prob, weighted.sum(-1, keepdim=True), value=-1), None


def _softmax(logits: Tensor) -> Tensor:
    """Rows shorter than a CPU's vectors go through PyTorch's softmax one number at a time, six times as slowly."""
    if logits.shape[-1] >= 16 or logits.device.type != "cpu":
        return logits.softmax(-1)
    power = (logits - logits.amax(-1, keepdim=True)).exp()
    return power / power.sum(-1, keepdim=True)


def sample_onehot(log_prob: Tensor, noise: Tensor) -> Tensor:
    """Draw one-hot samples by inverting the cumulative distribution (much cheaper than torch.multinomial).

    log_prob: (…, K); noise: (…, 1) uniform in [0, 1) → (…, K) in float32, without gradient.
    """
    return _draw(log_prob.detach().exp(), noise)


def straight_through(log_prob: Tensor, noise: Tensor) -> Tensor:
    """The same samples with the gradient of the probabilities (Bengio et al., arXiv 1308.3432)."""
    sample: Tensor = _StraightThrough.apply(log_prob, noise)
    return sample


def draw_mixed(logits: Tensor, share: float, noise: Tensor) -> Tensor:
    """straight_through(unimix(logits, share), noise), in one pass over memory where nothing wants the gradient."""
    if fused.draws(logits) and not (torch.is_grad_enabled() and logits.requires_grad):
        return fused.draw(logits, noise, share)
    return straight_through(unimix(logits, share), noise)


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, log_prob: Tensor, noise: Tensor) -> Tensor:
        prob = log_prob.exp()
        ctx.save_for_backward(prob)
        return _draw(prob, noise)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (prob,) = ctx.saved_tensors
        return grad.sum_to_size(prob.shape) * prob, None  # one distribution may serve many draws


def _draw(prob: Tensor, noise: Tensor) -> Tensor:
    cumulative = prob.cumsum(-1)
    # Rounding may leave the last entry below 1: without it, noise above it would fall on no class.
    passed = (cumulative[..., :-1] <= noise).float()  # (…, K - 1), ones up to the drawn class
    return F.pad(passed, (1, 0), value=1.0) - F.pad(passed, (0, 1))


def categorical_kl(log_p: Tensor, log_q: Tensor) -> Tensor:
    """KL(p ‖ q) in nats, summed over the latents: (…, S, K), (…, S, K) → (…)."""
    return (log_p.exp() * (log_p - log_q)).sum((-2, -1))


def balanced_kl(log_p: Tensor, log_q: Tensor) -> tuple[Tensor, Tensor]:
    """KL(sg(p) ‖ q), KL(p ‖ sg(q)) in nats, summed over the latents, computed once: (…, S, K), (…, S, K) → (…), (…)."""
    both: tuple[Tensor, Tensor] = _BalancedKL.apply(log_p, log_q)
    return both


class _BalancedKL(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, log_p: Tensor, log_q: Tensor) -> tuple[Tensor, Tensor]:
        p, ratio = log_p.exp(), log_p - log_q
        ctx.save_for_backward(p, ratio)
        ctx.set_materialize_grads(False)
        kl = (p * ratio).sum((-2, -1))
        return kl, kl.clone()

    @staticmethod
    def backward(ctx: Any, to_q: Tensor | None, to_p: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
        p, ratio = ctx.saved_tensors
        slope_p = None if to_p is None else p * (ratio + 1).mul_(to_p[..., None, None])
        return slope_p, None if to_q is None else p * -to_q[..., None, None]


def entropy(log_p: Tensor) -> Tensor:
    """Entropy in nats of each categorical: (…, K) → (…)."""
    return -(log_p.exp() * log_p).sum(-1)


def token_nll(logits: Tensor, token: Tensor) -> Tensor:
    """Negative log-likelihood in nats, in float32: (…, V), (…) ids → (…).

    Large vocabularies are taken some rows at a time, so that no float32 copy of all logits goes through memory.
    """
    nll: Tensor = _TokenNLL.apply(logits.flatten(0, -2), token.flatten().long())
    return nll.view(token.shape)


class _TokenNLL(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, token: Tensor) -> Tensor:
        norms = torch.cat([part.float().logsumexp(-1) for part in logits.split(_rows(logits))])
        told = logits.gather(-1, token[:, None])[:, 0].float() - norms
        ctx.save_for_backward(logits, token, norms, told)
        return -told

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        logits, token, norms, told = ctx.saved_tensors
        slope = torch.empty_like(logits)
        parts = zip(*(x.split(_rows(logits)) for x in (slope, logits, norms, grad)), strict=True)
        for out, part, norm, weight in parts:
            out.copy_(part.float().sub_(norm[:, None]).exp_().mul_(weight[:, None]))
        slope[torch.arange(len(token), device=token.device), token] = (told.expm1() * grad).to(slope.dtype)
        return slope, None


def _rows(logits: Tensor) -> int:
    """So many rows that they, and what is computed of them, stay in a core's cache."""
    return max(1, 2**17 // logits.shape[-1])


def binary_nll(logit: Tensor, target: Tensor) -> Tensor:
    """Negative log-likelihood in nats of a Bernoulli; soft targets in [0, 1] allowed: (…), (…) → (…)."""
    return F.binary_cross_entropy_with_logits(logit.float(), target, reduction="none")
