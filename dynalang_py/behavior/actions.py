"""Distributions over actions: one categorical, several at once, or independent normals."""

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from dynalang_py.contract import StepSpec
from dynalang_py.nn.functional import entropy, sample_onehot, unimix
from dynalang_py.nn.random import Noise


class ActionDistribution(Protocol):
    def sample(self, noise: Noise) -> Tensor:
        """An action (…, A)."""

    def mode(self) -> Tensor:
        """The likeliest action (…, A)."""

    def log_prob(self, action: Tensor) -> Tensor:
        """Log-density or log-probability in nats: (…, A) → (…)."""

    def entropy(self) -> Tensor:
        """In nats: (…)."""


class Categoricals:
    """Independent categoricals, one per component; an action is their one-hots side by side.

    logits: (…, A). unimix: share of the uniform distribution in each.
    """

    def __init__(self, logits: Tensor, sizes: tuple[int, ...], share: float) -> None:
        self.log_probs = [unimix(part, share) for part in logits.split(list(sizes), -1)]
        self.sizes = sizes

    def sample(self, noise: Noise) -> Tensor:
        draws = noise.uniform(*self.log_probs[0].shape[:-1], len(self.sizes))
        parts = [sample_onehot(log_prob, draws[..., i : i + 1]) for i, log_prob in enumerate(self.log_probs)]
        return torch.cat(parts, -1)

    def mode(self) -> Tensor:
        parts = [F.one_hot(part.argmax(-1), part.shape[-1]).to(part.dtype) for part in self.log_probs]
        return torch.cat(parts, -1)

    def log_prob(self, action: Tensor) -> Tensor:
        parts = zip(self.log_probs, action.split(list(self.sizes), -1), strict=True)
        return torch.stack([(log_prob * part).sum(-1) for log_prob, part in parts]).sum(0)

    def entropy(self) -> Tensor:
        return torch.stack([entropy(log_prob) for log_prob in self.log_probs]).sum(0)


class Normals:
    """Independent normals with mean in (−1, 1) and deviation in (0.1, 1). outputs: (…, 2A), means before deviations."""

    def __init__(self, outputs: Tensor) -> None:
        mean, deviation = outputs.float().chunk(2, -1)
        self.normal = torch.distributions.Normal(
            mean.tanh(), 0.1 + 0.9 * (deviation + 2).sigmoid(), validate_args=False
        )

    def sample(self, noise: Noise) -> Tensor:
        """With gradient to mean and deviation."""
        return self.normal.loc + self.normal.scale * noise.normal(*self.normal.loc.shape)

    def mode(self) -> Tensor:
        return self.normal.mean

    def log_prob(self, action: Tensor) -> Tensor:
        return self.normal.log_prob(action).sum(-1)

    def entropy(self) -> Tensor:
        return self.normal.entropy().sum(-1)


def distribution(spec: StepSpec, outputs: Tensor, share: float) -> Categoricals | Normals:
    """The distribution that a policy's last layer (…, policy_outputs(spec)) describes."""
    return Normals(outputs) if spec.continuous else Categoricals(outputs, spec.actions, share)


def policy_outputs(spec: StepSpec) -> int:
    return 2 * spec.continuous + sum(spec.actions)


def encode_action(spec: StepSpec, action: Tensor) -> Tensor:
    """An action in the environment's form (…, components) ids or (…, A) floats → (…, A) floats for the model."""
    if spec.continuous:
        return action.float()
    parts = [F.one_hot(action[..., i].long(), size) for i, size in enumerate(spec.actions)]
    return torch.cat(parts, -1).float()


def decode_action(spec: StepSpec, action: Tensor) -> Tensor:
    """The inverse of encode_action; floats are clipped to [-1, 1]."""
    if spec.continuous:
        return action.clamp(-1, 1)
    return torch.stack([part.argmax(-1) for part in action.split(list(spec.actions), -1)], -1)
