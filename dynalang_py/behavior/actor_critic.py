"""What the agent wants: a policy and its value, learned inside imagined rollouts (DreamerV3, arXiv 2301.04104)."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dynalang_py.behavior.actions import Categoricals, Normals, distribution, policy_outputs
from dynalang_py.behavior.returns import ReturnScale, lambda_returns
from dynalang_py.bounds import Layers, Share, Weight, Width, Within, check
from dynalang_py.contract import StepSpec
from dynalang_py.nn.layers import MLP, Family, linear
from dynalang_py.nn.random import Noise
from dynalang_py.nn.two_hot import TwoHot, TwoHotHead
from dynalang_py.world_model.model import WorldModel
from dynalang_py.world_model.rssm import State


@dataclass(frozen=True, kw_only=True)
class ActorCriticConfig:
    units: Width = 256
    """Width of the layers of actor and critic."""
    layers: Layers = 3
    """How many such layers each."""
    horizon: Annotated[int, Within(1, 1024)] = 15
    """H: imagined steps per rollout."""
    starts: Annotated[float, Within(0, 1, above=True)] = 1.0
    """Fraction of each window, counted from its end, whose beliefs start a rollout."""
    discount_horizon: Annotated[float, Within(1, above=True)] = 333.0
    """Rewards this many steps ahead count 1/e; the discount is 1 − 1/discount_horizon."""
    return_lambda: Share = 0.95
    """λ of the λ-returns: 0 trusts the critic alone, 1 the imagined rewards."""
    entropy: Weight = 3e-4
    """Weight of the policy's entropy beside the normalised advantage."""
    unimix: Annotated[float, Within(0, 1, below=True)] = 0.0
    """Share of the uniform distribution in a discrete policy (0.01 in the 2023 family)."""
    actor_scale: Weight = 0.01
    """Scale of the initial weights of the actor's last layer (1.0 in the 2023 family)."""
    slow_rate: Share = 0.02
    """Share of the critic that flows into its slow copy at each update."""
    slow_weight: Weight = 1.0
    """Weight of the loss that keeps the critic near its slow copy."""
    discounted_continue: bool = True
    """The continue head predicts the discount too, and weighs the first imagined step (2025); else the discount is
    applied outside and the first step is weighed by the true flag (2023)."""
    replay_value: Weight = 0.3
    """Weight of the critic's loss on replayed steps, whose gradient shapes the world model; 0 turns it off (2023)."""
    imitation: Weight = 0.0
    """Weight of the loss that draws the policy, in the episodes that the world's expert walked, to what it did there;
    its gradient shapes the world model, too."""
    inflection: Annotated[float, Within(1)] = 1.0
    """How much more a step counts in that loss at which the expert does something else than before: who only goes on
    doing the same is right most of the time (inflection weighting, arXiv 1904.03461)."""
    continuous_gradient: Literal["reinforce", "dynamics"] = "reinforce"
    """How a continuous policy learns: from log-probabilities (2025) or through the imagined dynamics (2023)."""

    def __post_init__(self) -> None:
        check(self)

    @property
    def discount(self) -> float:
        """γ, per step."""
        return 1 - 1 / self.discount_horizon


@dataclass(frozen=True)
class Dream:
    """Imagined rollouts: the states 0 … H (N, H + 1, …) with what was predicted in them, without gradient.

    Through-the-dynamics policies alone keep the gradient.
    """

    features: Tensor
    """(N, H + 1, F)."""
    action: Tensor
    """(N, H + 1, A)."""
    reward: Tensor
    """(N, H): received on arriving at states 1 … H."""
    discount: Tensor
    """(N, H + 1): the factor that stands before everything from that state on."""
    weight: Tensor
    """(N, H + 1): probability, discounted, that the rollout still lives there."""


@dataclass(frozen=True)
class Wants:
    """Losses of one batch of dreams."""

    actor: Tensor
    """(N, H)."""
    critic: Tensor
    """(N, H)."""
    returns: Tensor
    """(N, H) λ-returns without gradient."""
    figures: dict[str, Tensor]
    """Scalars to show."""


class ActorCritic(nn.Module):
    def __init__(self, spec: StepSpec, features: int, config: ActorCriticConfig, family: Family) -> None:
        super().__init__()
        self.spec = spec
        self.config = config
        self.actor = MLP(features, config.units, config.layers, family)
        self.actor_out = linear(config.units, policy_outputs(spec), family, scale=config.actor_scale)
        self.critic = TwoHotHead(features, config.units, config.layers, family)
        self.slow_critic = copy.deepcopy(self.critic).requires_grad_(False)
        self.scale = ReturnScale()
        self.through_dynamics = bool(spec.continuous) and config.continuous_gradient == "dynamics"

    def policy(self, features: Tensor) -> Categoricals | Normals:
        """(…, F) → distribution over (…, A)."""
        return distribution(self.spec, self.actor_out(self.actor(features)), self.config.unimix)

    def act(self, features: Tensor, noise: Noise, greedy: bool = False) -> Tensor:
        """An action (…, A): a sample, or the likeliest one."""
        policy = self.policy(features)
        return policy.mode() if greedy else policy.sample(noise)

    def dream(self, model: WorldModel, start: State, is_terminal: Tensor, noise: Noise) -> Dream:
        """Roll the policy out from N beliefs. start: (N, …); is_terminal: (N,) bool."""
        config = self.config
        start = {name: value.detach() for name, value in start.items()}
        seen = []  # the features of each state, which the policy is asked about

        def act(features: Tensor, noise: Noise) -> Tensor:
            seen.append(features)
            return self.act(features, noise)

        with torch.set_grad_enabled(self.through_dynamics):
            _, action = model.dynamics.imagine(start, act, config.horizon, noise)
            features = torch.stack(seen, 1)
            reward, go_on = model.foresee(features)
            reward = reward[:, 1:]
        if config.discounted_continue:
            discount = go_on
            weight = discount.detach().cumprod(1)
        else:
            discount = torch.cat([(~is_terminal).float()[:, None], go_on[:, 1:]], 1) * config.discount
            weight = discount.detach().cumprod(1) / config.discount
        return Dream(features, action, reward, discount, weight)

    def want(self, dream: Dream) -> Wants:
        """Actor and critic losses; the features carry no gradient to the world model."""
        config = self.config
        features = dream.features.detach()
        values = self.critic(features)  # over (N, H + 1)
        value = self._opinion(dream.features) if self.through_dynamics else values.mean.detach()
        returns = lambda_returns(
            dream.reward, dream.discount[:, 1:], value[:, 1:], config.return_lambda, last=value[:, -1]
        )
        scale = self.scale.update(returns)
        advantage = (returns - value[:, :-1]) / scale
        early = features[:, :-1].contiguous()  # a linear layer on a strided view would copy its weight for every row
        policy = self.policy(early)
        entropy = policy.entropy()  # (N, H)
        if self.through_dynamics:
            gain = advantage
        else:
            gain = policy.log_prob(dream.action[:, :-1].detach()) * advantage.detach()
        weight = dream.weight[:, :-1]
        actor = -weight * (gain + config.entropy * entropy)
        critic = weight * self.critic_loss(_first_steps(values), returns.detach(), early)
        figures = {
            "behavior/return": returns.mean(),
            "behavior/return_scale": scale,
            "behavior/value": value.mean(),
            "behavior/advantage": advantage.abs().mean(),
            "behavior/entropy": entropy.mean(),
            "behavior/reward": dream.reward.mean(),
            "behavior/weight": weight.mean(),
        }
        return Wants(actor, critic, returns.detach(), {name: value.detach() for name, value in figures.items()})

    def replay_value_loss(self, features: Tensor, batch: Mapping[str, Tensor], dreamed: Tensor) -> Tensor:
        """The critic's loss on replayed steps, with gradient to the features: (B, K − 1).

        features: (B, K, F) beliefs; batch: (B, K, …); dreamed: (B, K) imagined return of each belief, which stands in
        where the replayed rewards end.
        """
        config = self.config
        alive = (~batch["is_last"]).float()
        discount = config.discount * (~batch["is_terminal"]).float()
        returns = lambda_returns(
            batch["reward"][:, 1:],
            discount[:, 1:],
            dreamed[:, 1:],
            config.return_lambda * alive[:, 1:],
            last=dreamed[:, -1],
        )
        features = features[:, :-1].contiguous()
        return alive[:, :-1] * self.critic_loss(self.critic(features), returns, features)

    def imitation_loss(self, features: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        """−log π(action) in nats where an expert acted, with gradient to the features, and 0 elsewhere: (B, K).

        features: (B, K, F) beliefs; batch: `action` (B, K, A) and flags (B, K), of which `led` says that the expert
        walks. While an instruction is read, and at a last step, actions do nothing.
        """
        action = batch["action"]
        acted = batch["led"] & ~(batch["is_read_step"] | batch["is_last"])
        turned = (action[:, 1:] != action[:, :-1]).any(-1)
        weight = 1 + (self.config.inflection - 1) * F.pad(turned, (1, 0)).float()
        return -self.policy(features).log_prob(action) * acted * weight

    def critic_loss(self, values: TwoHot, returns: Tensor, features: Tensor) -> Tensor:
        """Cross-entropy with the returns and with the slow critic's opinion, in nats: (…)."""
        with torch.no_grad():
            slow = self.slow_critic(features).mean
        return values.loss(returns) + self.config.slow_weight * values.loss(slow)

    def _opinion(self, features: Tensor) -> Tensor:
        """The critic's mean with gradient to the features, and none to the critic."""
        frozen = {name: p.detach() for name, p in self.critic.named_parameters()}
        opinion: TwoHot = torch.func.functional_call(self.critic, frozen, (features,))
        return opinion.mean

    @torch.no_grad()
    def follow(self, first: bool) -> None:
        """Move the slow critic after an update; at the first one it becomes a copy."""
        fast: list[Tensor] = list(self.critic.parameters())
        slow: list[Tensor] = list(self.slow_critic.parameters())
        torch._foreach_lerp_(slow, fast, 1.0 if first else self.config.slow_rate)


def _first_steps(values: TwoHot) -> TwoHot:
    steps = copy.copy(values)
    steps.log_prob = values.log_prob[:, :-1]
    return steps
