"""A world model that reads: it learns from tokens alone, says how well it predicts them, and writes on.

Images, actions and rewards are absent: zeros stand where the model would read an image or an action, and the parts that
predict images, rewards and the end of an episode get no gradient (arXiv 2308.01399, section 4.5).
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dynalang_py.agent import NonFiniteError, Precision
from dynalang_py.contract import StepSpec
from dynalang_py.errors import UserError
from dynalang_py.nn.functional import sample_onehot, token_nll
from dynalang_py.nn.optim import LaProp, OptimizerConfig, adam, clip_gradients, gradient_norm
from dynalang_py.nn.random import Noise
from dynalang_py.nn.saving import checked, load_optimizer_state, optimizer_state
from dynalang_py.world_model import State, WorldModel, WorldModelConfig

KEPT = ("deter", "stoch", "action")
"""What of a belief goes on from one window to the next."""


@dataclass(frozen=True)
class Prediction:
    """How well text was predicted, in nats over all of it."""

    nats: float
    """−log p(token | what was read before), the prior's samples averaged."""
    nats_one_draw: float
    """The same from a single sample of the prior, the mean over many: never less."""
    tokens: int


class Reader:
    def __init__(
        self,
        spec: StepSpec,
        *,
        model: WorldModelConfig,
        optimizer: OptimizerConfig,
        streams: int,
        device: torch.device,
        dropout: float = 0.0,
        precision: Precision = "float32",
        seed: int = 0,
    ) -> None:
        """spec: the tokens, and the images and actions of the agent that the model may become. streams: B.

        dropout: share of what the text encoder and the text decoder pass on that is left out while learning.
        """
        self.spec, self.device, self.precision, self.seed = spec, device, precision, seed
        with torch.device("meta" if device.type == "meta" else "cpu"), torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.model = WorldModel(spec, model)
        self.model.to(device)
        params = list(self.model.parameters())
        self.optimizer: torch.optim.Optimizer = (
            LaProp(params, optimizer.lr, warmup=optimizer.warmup, clip=optimizer.clip)
            if optimizer.joint
            else adam(params, optimizer.lr, 1e-8)
        )
        self.norm = math.inf if optimizer.joint else optimizer.model_norm
        self.noise = Noise(device, seed)
        self.belief = self.model.dynamics.initial(streams)
        self.dropout = dropout
        for network in (self.model.encoder.flat, self.model.decoder.flat):
            if dropout and network is not None:
                network.register_forward_hook(self._drop)
        self.updates = 0

    def update(self, token: NDArray[Any], is_first: NDArray[Any]) -> dict[str, float]:
        """Learn from the next window (B, T) of every stream; returns figures to show.

        Raises NonFiniteError before any weight is touched.
        """
        with self._autocast():
            learned = self.model.learn(self._batch(token, is_first), self.belief, self.noise)
        figures = {f"loss/{name}": value.detach().mean() for name, value in learned.losses.items()}
        figures["model/kl"] = learned.kl.mean()
        loss = learned.loss.mean()
        if not torch.isfinite(loss):
            raise NonFiniteError("the loss")
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        grads = [p.grad for p in self.model.parameters() if p.grad is not None]
        norm = gradient_norm(grads)
        if not torch.isfinite(norm):
            raise NonFiniteError("the gradient")
        if self.norm < math.inf:
            clip_gradients(grads, norm, self.norm)
        self.optimizer.step()
        self.updates += 1
        self.belief = {name: learned.posterior[name][:, -1].detach() for name in KEPT}
        figures["grad_norm/model"] = norm
        shown = torch.stack([value.float() for value in figures.values()]).tolist()
        return dict(zip(figures, shown, strict=True))

    @torch.no_grad()
    def score(
        self, windows: Iterable[tuple[NDArray[Any], NDArray[Any], NDArray[Any]]], draws: int
    ) -> Iterator[Prediction]:
        """How well each window (ids, beginnings, which are text) is predicted, the belief carried between them.

        A token's probability is that of the prior: Σ_z p(z | h) p(token | h, z), before the token is heard. The sum is
        estimated by `draws` samples z, half of them from the prior and half from the posterior, each weighed by
        prior / mixture: no term is left out, none counts twice, and since the logarithm of such an estimate lies below
        the truth on average, few draws make the figure worse, not better.
        """
        noise, belief = Noise(self.device, self.seed + 1), None
        for token, is_first, text in windows:
            with self._autocast():
                batch = self._batch(token, is_first)
                embed = self.model.encoder(batch)
                belief = self.model.dynamics.initial(len(token)) if belief is None else belief
                posterior, prior = self.model.dynamics.observe(embed, batch["action"], batch["is_first"], belief, noise)
                belief = {name: posterior[name][:, -1] for name in KEPT}
                mixed, alone = self._log_probs(posterior, prior["logit"], batch["token"], draws, noise)
            kept = torch.as_tensor(text, device=self.device)
            yield Prediction(-mixed[kept].sum().item(), -alone[kept].sum().item(), int(kept.sum()))

    def _log_probs(
        self, posterior: State, prior: Tensor, token: Tensor, draws: int, noise: Noise
    ) -> tuple[Tensor, Tensor]:
        """log p(token | h) from all draws together, and the mean over single draws of the prior: (B, T) each."""
        weighed, alone = [], []
        for draw in range(max(2, draws)):
            source = posterior["logit"] if draw % 2 else prior
            stoch = sample_onehot(source, noise.uniform(*prior.shape[:-1], 1))
            said = self.model.decoder({"deter": posterior["deter"], "stoch": stoch}, image=False).token
            assert said is not None
            log_prob = -token_nll(said, token)
            p, q = ((logit * stoch).sum((-2, -1)) for logit in (prior, posterior["logit"]))
            weighed.append(log_prob + p - torch.logaddexp(p, q) + math.log(2))
            if not draw % 2:
                alone.append(log_prob)
        return torch.stack(weighed).logsumexp(0) - math.log(len(weighed)), torch.stack(alone).mean(0)

    @torch.no_grad()
    def write(
        self, prompt: Sequence[int], tokens: int, temperature: float, *, end: int | None, seed: int, draws: int = 16
    ) -> list[int]:
        """Read the prompt, then go on with up to `tokens` tokens, or to the end mark.

        Each is drawn from what the prior expects (the mean over `draws` of its samples), with probabilities to the
        power of 1 / temperature; 0 takes the likeliest. What is drawn is heard in its turn. Raises UserError for a
        prompt without tokens.
        """
        if not prompt:
            raise UserError("the prompt is empty; write a word or more, as in: --prompt 'Pick up the'")
        noise, belief = Noise(self.device, seed), self.model.dynamics.initial(1)
        written: list[int] = []
        still = torch.zeros(draws, 1, self.spec.action_size, device=self.device)
        with self._autocast():
            for i, token in enumerate(prompt):
                belief = self._hear(token, belief, noise, first=i == 0)
            for _ in range(tokens):
                copies = {name: value.expand(draws, *value.shape[1:]) for name, value in belief.items()}
                states, _ = self.model.dynamics.imagine(copies, still, 1, noise)
                said = self.model.decoder(states[1], image=False).token
                assert said is not None
                chance = said.float().softmax(-1).mean(0)
                if temperature:
                    sharp = (chance.log() / temperature).softmax(-1)
                    token = int((sharp.cumsum(0) < noise.uniform(1) * sharp.sum()).sum().clamp(max=len(sharp) - 1))
                else:
                    token = int(chance.argmax())
                if token == end:
                    break
                written.append(token)
                belief = self._hear(token, belief, noise)
        return written

    def _hear(self, token: int, belief: State, noise: Noise, first: bool = False) -> State:
        batch = {
            "token": torch.tensor([[token]], device=self.device),
            "is_first": torch.tensor([[first]], device=self.device),
            "action": torch.zeros(1, 1, self.spec.action_size, device=self.device),
        }
        embed = self.model.encoder(batch)
        posterior, _ = self.model.dynamics.observe(embed, batch["action"], batch["is_first"], belief, noise)
        return {name: posterior[name][:, 0] for name in KEPT}

    def parameter_table(self) -> dict[str, int]:
        """Parameters of each part of the world model and in total."""
        table = {part: sum(p.numel() for p in params) for part, params in self.model.parts().items()}
        table["total"] = sum(p.numel() for p in self.model.parameters())
        return {part: count for part, count in table.items() if count}

    def weights(self) -> dict[str, Tensor]:
        """The world model as a flat dictionary of tensors."""
        return {f"world_model/{name}": value.detach() for name, value in self.model.state_dict().items()}

    def state_dict(self) -> dict[str, Tensor]:
        """Everything that reading changes, as one flat dictionary of tensors."""
        state = self.weights()
        state |= optimizer_state({"reading": self.optimizer}, self._named())
        state |= {f"belief/{name}": value for name, value in self.belief.items()}
        return state | {"random/learning": self.noise.generator.get_state(), "updates": torch.tensor(self.updates)}

    def load_state_dict(self, state: Mapping[str, Tensor], *, everything: bool = True) -> None:
        """Put a state_dict back; without `everything` the weights alone. Raises UserError for what doesn't fit."""
        self.model.load_state_dict(checked(state, "world_model/", self.model.state_dict()))
        if everything:
            load_optimizer_state({"reading": self.optimizer}, self._named(), state, self.device)
            self.belief = {
                name: value.to(self.device) for name, value in checked(state, "belief/", self.belief).items()
            }
            self.noise.load_state(state["random/learning"])
            self.updates = int(state["updates"])

    def _named(self) -> dict[str, nn.Parameter]:
        return {f"world_model/{name}": p for name, p in self.model.named_parameters()}

    def _drop(self, network: nn.Module, inputs: object, output: Tensor) -> Tensor:
        """Dropout (Srivastava et al., 2014) while learning, with the run's own randomness."""
        if not torch.is_grad_enabled():
            return output
        return output * (self.noise.uniform(*output.shape) >= self.dropout) / (1 - self.dropout)

    def _batch(self, token: NDArray[Any], is_first: NDArray[Any]) -> dict[str, Tensor]:
        return text_batch(token, is_first, self.spec, self.device)

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bfloat16")


def text_batch(token: NDArray[Any], is_first: NDArray[Any], spec: StepSpec, device: torch.device) -> dict[str, Tensor]:
    """A window of text (B, T) as a world model reads it: no image, no reward, and no action taken."""
    return {
        "token": torch.as_tensor(token, device=device),
        "is_first": torch.as_tensor(is_first, device=device),
        "action": torch.zeros(*token.shape, spec.action_size, device=device),
    }
