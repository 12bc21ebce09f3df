"""The world model: encoder, dynamics, decoder and heads, and the loss that trains them together."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from dynalang_py.bounds import Layers, Weight, Width, check
from dynalang_py.contract import StepSpec
from dynalang_py.nn.functional import binary_nll
from dynalang_py.nn.layers import MLP, Family, linear
from dynalang_py.nn.random import Noise
from dynalang_py.nn.two_hot import TwoHotHead
from dynalang_py.world_model.decoder import Decoder, DecoderConfig
from dynalang_py.world_model.encoder import Encoder, EncoderConfig, has_images
from dynalang_py.world_model.objective import KLBalance, KLConfig
from dynalang_py.world_model.rssm import RSSM, RSSMConfig, State


@dataclass(frozen=True, kw_only=True)
class HeadConfig:
    units: Width = 256
    """Width of the hidden layers of reward and continue head."""
    layers: Layers = 1
    """How many hidden layers each."""

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, kw_only=True)
class WorldModelConfig:
    family: Family = "dreamer2025"
    """Architecture: dreamer2025 (block GRU, RMSNorm) or dreamer2023 (Dynalang's: dense GRU, LayerNorm)."""
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    """Reads an observation."""
    rssm: RSSMConfig = field(default_factory=RSSMConfig)
    """Moves the belief."""
    decoder: DecoderConfig = field(default_factory=DecoderConfig)
    """Predicts the observation."""
    heads: HeadConfig = field(default_factory=HeadConfig)
    """Predict reward and continuation."""
    kl: KLConfig = field(default_factory=KLConfig)
    """Draws posterior and prior together."""
    image_scale: Weight = 1.0
    """Weight of the image loss; 0 also keeps its gradient from the encoder (text-only pretraining)."""
    token_scale: Weight = 1.0
    """Weight of the token loss."""
    foretell_scale: Weight = 0.0
    """Weight of a second token loss: of what a sample of the prior says, before the token is heard. Not in the paper;
    it makes a better language model of few updates."""
    foresee_scale: Weight = 0.0
    """Share of the reward and continue losses that a sample of the prior is charged with, beside the posterior. Not in
    the paper. Where an observation gives a reward away, as a new task does, the posterior alone never learns what
    earned it, and imagination does not know."""
    reward_scale: Weight = 1.0
    """Weight of the reward loss."""
    continue_scale: Weight = 1.0
    """Weight of the continue loss."""
    stored_latents: bool = True
    """Windows start from the belief that replay keeps beside each step (2025); else from an empty one (2023)."""

    def __post_init__(self) -> None:
        check(self)
        if self.encoder.prototypes and self.rssm.patch_stoch != 1:
            raise ValueError(f"rssm.patch_stoch must be 1 with encoder.prototypes, got {self.rssm.patch_stoch}")
        if self.rssm.mapped and not self.encoder.patch:
            raise ValueError("rssm.mapped needs encoder.patch, the side of what the map is of, got 0")


@dataclass(frozen=True)
class Learned:
    """What one window taught: everything (B, T, …) and, but for the figures, with gradient."""

    loss: Tensor
    """Weighted sum of all losses (B, T)."""
    losses: dict[str, Tensor]
    """Unweighted losses (B, T) by name."""
    posterior: State
    """The beliefs along the window."""
    features: Tensor
    """(B, T, F): what heads and behaviors read of them."""
    prior: State
    """What was expected of them."""
    kl: Tensor
    """KL(posterior ‖ prior) in nats (B, T), before free nats and without gradient."""


class WorldModel(nn.Module):
    """p(image, token, reward, continue | past). Batches: dictionaries of (B, T, …), the step contract's keys."""

    def __init__(self, spec: StepSpec, config: WorldModelConfig) -> None:
        super().__init__()
        self.spec = spec
        self.config = config
        family = config.family
        self.encoder = Encoder(spec, config.encoder, family, config.rssm.classes)
        named = self.encoder.sites.patches > 0 and config.encoder.prototypes
        words = config.encoder.units if self.encoder.flat is not None else 0
        self.dynamics = RSSM(self.encoder.size, spec.action_size, config.rssm, family, self.encoder.sites, named, words)
        self.decoder = Decoder(spec, config.encoder, config.rssm, config.decoder, family)
        features = self.dynamics.feature_size
        self.reward = TwoHotHead(features, config.heads.units, config.heads.layers, family)
        self.go_on = ContinueHead(features, config.heads, family)
        self.objective = KLBalance(config.kl)

    def learn(self, batch: Mapping[str, Tensor], state: State, noise: Noise, discount: float = 1.0) -> Learned:
        """Filter a window and score every prediction.

        batch: observations, `action` (B, T, A) taken at t, `reward` (B, T) received on arriving at t, and the flags;
        state: the belief before the window. discount: what the continue head predicts where the episode goes on.
        Windows of text have neither images, reward nor is_terminal; the parts that predict these get no gradient then.
        """
        embed = self.encoder(batch)
        posterior, prior = self.dynamics.observe(embed, batch["action"], batch["is_first"], state, noise)
        features = self.dynamics.feature(posterior)
        losses, kl = self.score(posterior, features, prior, batch, discount)
        config = self.config
        if config.foretell_scale or config.foresee_scale:
            expected = self.dynamics.expect(posterior["deter"], prior["logit"], noise)
            if config.foretell_scale:
                losses["foretell"] = self.decoder.losses(self.decoder(expected, image=False), batch)["token"]
            if config.foresee_scale:
                foreseen = self._outcomes(self.dynamics.feature(expected), batch, discount)
                losses |= {f"foresee_{name}": value for name, value in foreseen.items()}
        scales = self.scales()
        loss = torch.stack([losses[name] * scales[name] for name in losses]).sum(0)
        return Learned(loss, losses, posterior, features, prior, kl)

    def score(
        self, posterior: State, features: Tensor, prior: State, batch: Mapping[str, Tensor], discount: float
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Every prediction's unweighted loss (B, T) by name, and the KL (B, T)."""
        losses = self.decoder.losses(self.decoder(posterior, image=has_images(self.spec, batch)), batch)
        losses |= self._outcomes(features, batch, discount)
        balance, kl = self.objective(posterior, prior)
        return losses | balance, kl

    def _outcomes(self, features: Tensor, batch: Mapping[str, Tensor], discount: float) -> dict[str, Tensor]:
        """Losses (B, T) of reward and continue head, as far as the batch has these."""
        losses = {}
        if "reward" in batch:
            losses["reward"] = self.reward(features).loss(batch["reward"])
        if "is_terminal" in batch:
            losses["continue"] = binary_nll(self.go_on(features), (~batch["is_terminal"]).float() * discount)
        return losses

    def foresee(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Features (…, F) → expected reward on arriving there, and probability that the episode goes on: (…), (…)."""
        return self.reward(features).mean, self.go_on(features).sigmoid()

    def parts(self) -> dict[str, list[nn.Parameter]]:
        """The parameters of each part, by a name for people."""
        parts: dict[str, list[nn.Module | None]] = {
            "image encoder": [self.encoder.image],
            "text encoder": [self.encoder.flat],
            "dynamics": [self.dynamics],
            "image decoder": [self.decoder.image],
            "text decoder": [self.decoder.flat, getattr(self.decoder, "outs", None)],
            "reward": [self.reward],
            "continue": [self.go_on],
        }
        return {
            part: [p for module in modules if module is not None for p in module.parameters()]
            for part, modules in parts.items()
        }

    def scales(self) -> dict[str, float]:
        """Weight of each loss by its name."""
        config = self.config
        return {
            "image": config.image_scale,
            "token": config.token_scale,
            "foretell": config.foretell_scale,
            "vectors": 1.0,
            "reward": config.reward_scale,
            "continue": config.continue_scale,
            "foresee_reward": config.foresee_scale * config.reward_scale,
            "foresee_continue": config.foresee_scale * config.continue_scale,
            "dyn": config.kl.dyn,
            "rep": config.kl.rep,
        }


class ContinueHead(nn.Module):
    """Features (…, F) → logit (…) of the probability that the episode goes on."""

    def __init__(self, inputs: int, config: HeadConfig, family: Family) -> None:
        super().__init__()
        self.mlp = MLP(inputs, config.units, config.layers, family)
        self.out = linear(self.mlp.width, 1, family)

    def forward(self, features: Tensor) -> Tensor:
        return self.out(self.mlp(features)).squeeze(-1).float()
