"""How posterior and prior are drawn to each other. The dynamics know nothing of it."""

from dataclasses import dataclass

from torch import Tensor, nn

from dynalang_py.bounds import Weight, check
from dynalang_py.nn.functional import balanced_kl
from dynalang_py.world_model.rssm import State


@dataclass(frozen=True, kw_only=True)
class KLConfig:
    free_nats: Weight = 1.0
    """KL below this many nats per step costs nothing; the KL is summed over the latents before it is compared."""
    dyn: Weight = 1.0
    """Weight of the KL that trains the prior towards the posterior."""
    rep: Weight = 0.1
    """Weight of the KL that trains the posterior towards the prior."""

    def __post_init__(self) -> None:
        check(self)


class KLBalance(nn.Module):
    """max(free, KL(sg(posterior) ‖ prior)) and max(free, KL(posterior ‖ sg(prior))) (DreamerV3 eq. 5).

    The posterior may have no logits of the first latents: these are observed, as its stoch says, and not inferred.
    """

    def __init__(self, config: KLConfig) -> None:
        super().__init__()
        self.config = config

    def forward(self, posterior: State, prior: State) -> tuple[dict[str, Tensor], Tensor]:
        """Logits (B, T, S, K) of both → unweighted losses {dyn, rep} (B, T), and the KL (B, T) without gradient."""
        observed = prior["logit"].shape[-2] - posterior["logit"].shape[-2]
        dyn, rep = balanced_kl(posterior["logit"], prior["logit"][..., observed:, :])
        if observed:
            surprise = -(posterior["stoch"][..., :observed, :] * prior["logit"][..., :observed, :]).sum((-2, -1))
            dyn, rep = dyn + surprise, rep + surprise.detach()
        free = self.config.free_nats
        return {"dyn": dyn.clamp(min=free), "rep": rep.clamp(min=free)}, dyn.detach()
