"""Agent = world model + behavior: it acts, and it learns from windows of experience."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.profiler import record_function

from dynalang_py.behavior.actions import decode_action, encode_action
from dynalang_py.behavior.actor_critic import ActorCritic, ActorCriticConfig, Wants
from dynalang_py.contract import StepSpec
from dynalang_py.errors import UserError
from dynalang_py.nn.functional import entropy
from dynalang_py.nn.optim import LaProp, OptimizerConfig, adam, clip_gradients, gradient_norm
from dynalang_py.nn.random import Noise
from dynalang_py.nn.saving import checked, load_optimizer_state, optimizer_state
from dynalang_py.world_model.model import Learned, WorldModel, WorldModelConfig
from dynalang_py.world_model.rssm import State

Precision = Literal["float32", "bfloat16"]
Arrays = Mapping[str, np.ndarray[Any, Any]]
BesideLoss = Callable[["Agent"], tuple[Tensor, dict[str, Tensor]]]
"""Agent → a loss (a scalar with gradient), and figures to show."""

PARTS = ("world model", "dream", "actor and critic", "backward", "optimizer")
"""The parts of an update, as `dynalang bench` and torch.profiler name them."""


class NonFiniteError(Exception):
    """A loss or gradient is NaN or infinite. The weights are still those of before the update."""

    def __init__(self, tensor: str) -> None:
        super().__init__(f"{tensor} is not finite")
        self.tensor = tensor


@dataclass(frozen=True)
class OpenLoop:
    """What a model expects after it has seen only the beginning of a window."""

    truth: np.ndarray[Any, Any]
    """(B, T, height, width, C) uint8."""
    prediction: np.ndarray[Any, Any]
    """(B, T, height, width, C) uint8: reconstructions as long as it sees, predictions after."""
    token_true: np.ndarray[Any, Any] | None
    """(B, T) ids, or None without token ids."""
    token_predicted: np.ndarray[Any, Any] | None
    """(B, T) ids: the likeliest ones."""
    context: int
    """How many steps it has seen."""


class Agent:
    def __init__(
        self,
        spec: StepSpec,
        *,
        model: WorldModelConfig,
        behavior: ActorCriticConfig,
        optimizer: OptimizerConfig,
        device: torch.device,
        precision: Precision = "float32",
        compile: bool = False,
        seed: int = 0,
    ) -> None:
        self.spec = spec
        self.device = device
        self.precision = precision
        # Weights are drawn on the CPU, so that a seed means the same weights everywhere; on meta they are only counted.
        with torch.device("meta" if device.type == "meta" else "cpu"), torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)  # the weights' own randomness, untouched by whoever drew before
            self.model = WorldModel(spec, model)
            self.behavior = ActorCritic(spec, self.model.dynamics.feature_size, behavior, model.family)
        if optimizer.joint and self.behavior.through_dynamics:
            # One step on all would teach the world model to dream of what the actor wants.
            raise UserError("behavior.continuous_gradient 'dynamics' needs optimizer.joint False")
        for name in ("replay_value", "imitation"):
            weight = getattr(behavior, name)
            if weight and not optimizer.joint:
                raise UserError(f"behavior.{name} needs optimizer.joint; without it it must be 0, got {weight}")
        self.model.to(device)
        self.behavior.to(device)
        self.noise = Noise(device, seed)
        self.acting_noise = Noise(device, seed + 1)
        self.updates = 0
        self.optimizers = self._optimizers(optimizer)
        self.optimizer_config = optimizer
        if compile:
            self._compile()

    # -- acting -----------------------------------------------------------------------------------------------------

    def initial(self, batch: int) -> State:
        """The belief before an episode's first step; is_first replaces it."""
        return self.model.dynamics.initial(batch)

    @torch.no_grad()
    @torch.compiler.set_stance("force_eager")  # type: ignore[untyped-decorator]  # small batches of changing sizes: not worth graphs of their own
    def act(
        self, obs: Arrays, is_first: np.ndarray[Any, Any], state: State, *, greedy: bool = False
    ) -> tuple[np.ndarray[Any, Any], State, dict[str, np.ndarray[Any, Any]]]:
        """Take in one observation of each environment and choose its action.

        obs: the step contract's keys (N, …); is_first: (N,) bool; state: from `initial` or the call before; greedy:
        take the likeliest action instead of drawing one.
        Returns the action in the environment's form (N, components), the new state, and what replay keeps beside the
        step (N, …).
        """
        batch = {name: self._tensor(obs[name])[:, None] for name in self._observed()}
        first = self._tensor(is_first).bool()[:, None]
        action = torch.zeros(first.shape[0], 1, self.spec.action_size, device=self.device)
        embed = self.model.encoder(batch)
        posterior, _ = self.model.dynamics.observe(embed, action, first, state, self.acting_noise)
        belief = {name: posterior[name][:, 0] for name in ("deter", "stoch")}
        chosen = self.behavior.act(self.model.dynamics.feature(belief), self.acting_noise, greedy)
        latent = self.model.dynamics.to_replay(belief) if self.replay_context else {}
        return (
            decode_action(self.spec, chosen).cpu().numpy(),
            {**belief, "action": chosen},
            {name: value.cpu().numpy() for name, value in latent.items()},
        )

    def did(self, state: State, action: np.ndarray[Any, Any]) -> State:
        """The state after `act` where something else was done than what it chose: action (N, components)."""
        return {**state, "action": encode_action(self.spec, self._tensor(action))}

    # -- learning ---------------------------------------------------------------------------------------------------

    @property
    def replay_context(self) -> int:
        """Steps of context that a window needs before those it is trained on."""
        return int(self.model.config.stored_latents)

    def replay_fields(self) -> dict[str, tuple[tuple[int, ...], np.dtype[Any]]]:
        """Name → (shape, dtype) of what replay keeps for the agent beside each step."""
        return self.model.dynamics.replay_fields() if self.replay_context else {}

    def expert_fields(self) -> dict[str, tuple[tuple[int, ...], np.dtype[Any]]]:
        """Name → (shape, dtype) of what replay keeps beyond the spec where an expert is imitated."""
        flag: tuple[tuple[int, ...], np.dtype[Any]] = ((), np.dtype(np.bool_))
        return {"led": flag, "is_read_step": flag} if self.behavior.config.imitation else {}

    def update(
        self, batch: Arrays, beside: BesideLoss | None = None
    ) -> tuple[dict[str, float], dict[str, np.ndarray[Any, Any]]]:
        """Learn from one batch of windows (B, context + T, …).

        beside: gives a further loss of the world model, such as that of text; the same step follows both.
        Returns figures to show, and refreshed latents (B, T, …) for replay. Raises NonFiniteError before any weight of
        the part concerned is touched.
        """
        window, state = self._window(batch)
        kinds = self.model.encoder.take_in(window)
        with record_function("world model"), self._autocast():
            learned = self.model.learn(window, state, self.noise, self._continue_target())
            more, figures = beside(self) if beside else (None, {})
        figures |= _figures(learned) | kinds
        believed = learned.loss.mean() if more is None else learned.loss.mean() + more
        _require_finite(figures)  # before the return scale, which outlives the update, takes anything in
        if self.optimizer_config.joint:
            wants, replay_value = self._want(learned, window)
            loss = believed + wants.actor.mean() + wants.critic.mean()
            figures |= wants.figures | {"loss/actor": wants.actor.mean(), "loss/critic": wants.critic.mean()}
            if replay_value is not None:
                loss = loss + self.behavior.config.replay_value * replay_value.mean()
                figures["loss/replay_value"] = replay_value.mean()
            if self.behavior.config.imitation:
                with self._autocast():
                    figures["loss/imitation"] = self.behavior.imitation_loss(learned.features, window).mean()
                loss = loss + self.behavior.config.imitation * figures["loss/imitation"]
            _require_finite(figures)
            figures |= self._step(loss, "joint")
        else:
            figures |= self._step(believed, "model")
            wants, _ = self._want(learned, window)
            figures |= wants.figures | {"loss/actor": wants.actor.mean(), "loss/critic": wants.critic.mean()}
            _require_finite(figures)
            # Each loss moves its own part alone: one backward pass serves both.
            figures |= self._step(wants.actor.mean() + wants.critic.mean(), "actor", "critic")
        self.behavior.follow(first=self.updates == 0)
        self.updates += 1
        latent = self.model.dynamics.to_replay(learned.posterior) if self.replay_context else {}
        shown = torch.stack([value.detach().float().mean() for value in figures.values()]).tolist()
        return dict(zip(figures, shown, strict=True)), {name: value.cpu().numpy() for name, value in latent.items()}

    def _want(self, learned: Learned, window: Mapping[str, Tensor]) -> tuple[Wants, Tensor | None]:
        """Dream from the last beliefs of each window; actor and critic losses, and the critic's loss on replay."""
        config = self.behavior.config
        length = window["is_first"].shape[1]
        last = max(1, round(config.starts * length))
        start = {name: learned.posterior[name][:, -last:] for name in ("deter", "stoch")}
        flat = {name: value.flatten(0, 1) for name, value in start.items()}
        # One autocast region each: a weight cast without gradient in one must not be found cached in the next.
        with record_function("dream"), self._autocast():
            dream = self.behavior.dream(self.model, flat, window["is_terminal"][:, -last:].flatten(), self.noise)
        with record_function("actor and critic"), self._autocast():
            wants = self.behavior.want(dream)
            if not config.replay_value or last < 2:
                return wants, None
            replayed = {name: window[name][:, -last:] for name in ("reward", "is_last", "is_terminal")}
            dreamed = wants.returns[:, 0].unflatten(0, (-1, last))
            return wants, self.behavior.replay_value_loss(learned.features[:, -last:], replayed, dreamed)

    def _step(self, loss: Tensor, *names: str) -> dict[str, Tensor]:
        """One backward pass, then a step of each of these optimizers."""
        params = {name: [p for group in self.optimizers[name].param_groups for p in group["params"]] for name in names}
        for name in names:
            self.optimizers[name].zero_grad(set_to_none=True)
        with record_function("backward"):
            loss.backward(inputs=[p for part in params.values() for p in part])
        with record_function("optimizer"):
            return {
                f"grad_norm/{name}": self._descend(
                    self.optimizers[name], [p.grad for p in part if p.grad is not None], name
                )
                for name, part in params.items()
            }

    def _descend(self, optimizer: torch.optim.Optimizer, grads: list[Tensor], name: str) -> Tensor:
        """Clip and step; returns the norm of the whole gradient before clipping."""
        norm = gradient_norm(grads)
        if not torch.isfinite(norm):
            raise NonFiniteError(f"gradient of the {name} loss")
        config = self.optimizer_config
        if not config.joint:
            limit = config.model_norm if name == "model" else config.behavior_norm
            clip_gradients(grads, norm, limit)
        optimizer.step()
        return norm

    # -- showing ----------------------------------------------------------------------------------------------------

    @torch.no_grad()
    @torch.compiler.set_stance("force_eager")  # type: ignore[untyped-decorator]
    def open_loop(self, batch: Arrays, context: int = 5) -> OpenLoop:
        """Watch `context` steps of each window, then predict the rest from its actions alone."""
        window, state = self._window(batch)
        dynamics, decoder = self.model.dynamics, self.model.decoder
        seen = {name: value[:, :context] for name, value in window.items()}
        posterior, _ = dynamics.observe(self.model.encoder(seen), seen["action"], seen["is_first"], state, self.noise)
        start = {name: posterior[name][:, -1] for name in ("deter", "stoch")}
        actions = window["action"][:, context - 1 : -1]
        states, _ = dynamics.imagine(start, actions, actions.shape[1], self.noise)
        belief = {
            name: torch.cat([posterior[name], torch.stack([state[name] for state in states[1:]], 1)], 1)
            for name in start
        }
        decoded = decoder(belief)
        images = torch.cat([window[name] for name in self.spec.images], -1) if self.spec.images else None
        if images is None or decoded.image is None:
            raise UserError("an open-loop picture needs an environment with images")
        heard = decoded.token if self.spec.vocab else None
        return OpenLoop(
            truth=images.cpu().numpy(),
            prediction=decoder.pixels(decoded.image).cpu().numpy(),
            token_true=window["token"].cpu().numpy() if self.spec.vocab else None,
            token_predicted=heard.argmax(-1).cpu().numpy() if heard is not None else None,
            context=context,
        )

    def parameter_table(self) -> dict[str, int]:
        """Parameters per part; `total` leaves the slow critic out, as published counts do."""
        behavior = self.behavior
        parts = {
            **self.model.parts(),
            "actor": [*behavior.actor.parameters(), *behavior.actor_out.parameters()],
            "critic": list(behavior.critic.parameters()),
        }
        table = {part: sum(p.numel() for p in params) for part, params in parts.items()}
        table["total"] = sum(p.numel() for p in self._trained())
        return {part: count for part, count in table.items() if count}

    # -- saving -----------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Tensor]:
        """Everything that learning changes, as one flat dictionary of tensors."""
        state = {f"world_model/{name}": value for name, value in self.model.state_dict().items()}
        state |= {f"behavior/{name}": value for name, value in self.behavior.state_dict().items()}
        state |= optimizer_state(self.optimizers, dict(self._named_parameters()))
        state["random/learning"] = self.noise.generator.get_state()
        state["random/acting"] = self.acting_noise.generator.get_state()
        state["updates"] = torch.tensor(self.updates)
        return {name: value.detach() for name, value in state.items()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Put a state_dict back; UserError names the first tensor that is missing, unknown or of another shape."""
        for name in ("random/learning", "random/acting", "updates"):
            if name not in state:
                raise UserError(f"the checkpoint has no {name!r}, which is needed here")
        self.model.load_state_dict(checked(state, "world_model/", self.model.state_dict()))
        self.behavior.load_state_dict(checked(state, "behavior/", self.behavior.state_dict()))
        load_optimizer_state(self.optimizers, dict(self._named_parameters()), state, self.device)
        self.noise.load_state(state["random/learning"])
        self.acting_noise.load_state(state["random/acting"])
        self.updates = int(state["updates"])

    # -- pieces -----------------------------------------------------------------------------------------------------

    def _named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        yield from ((f"world_model/{name}", p) for name, p in self.model.named_parameters())
        yield from ((f"behavior/{name}", p) for name, p in self.behavior.named_parameters())

    def _trained(self) -> list[nn.Parameter]:
        return [p for _, p in self._named_parameters() if p.requires_grad]

    def _optimizers(self, config: OptimizerConfig) -> dict[str, torch.optim.Optimizer]:
        actor = [*self.behavior.actor.parameters(), *self.behavior.actor_out.parameters()]
        if config.joint:
            apart = set(actor)
            rest = [p for p in self._trained() if p not in apart]
            groups: list[dict[str, Any]] = [{"params": rest}, {"params": actor, "lr": config.actor_lr or config.lr}]
            return {"joint": LaProp(groups, config.lr, warmup=config.warmup, clip=config.clip)}
        return {
            "model": adam(self.model.parameters(), config.lr, 1e-8),
            "actor": adam(actor, config.behavior_lr, 1e-5),
            "critic": adam(self.behavior.critic.parameters(), config.behavior_lr, 1e-5),
        }

    def _compile(self) -> None:
        """Compile what runs often or touches much memory; the loops over time stay in Python."""
        for part, names in (
            (self.model.encoder, ["forward"]),
            (self.model.dynamics, ["filter_step", "dream_step"]),
            (self.model, ["score", "foresee"]),
            (self.behavior, ["act", "want", "replay_value_loss"]),
        ):
            for name in names:
                setattr(part, name, torch.compile(getattr(part, name), dynamic=False))

    def _continue_target(self) -> float:
        config = self.behavior.config
        return config.discount if config.discounted_continue else 1.0

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bfloat16")

    def _observed(self) -> list[str]:
        tokens = ["token"] if self.spec.vocab else ["token_embed"] if self.spec.token_embed else []
        return [*self.spec.images, *self.spec.vectors, *tokens]

    def _tensor(self, array: np.ndarray[Any, Any]) -> Tensor:
        if array.dtype in (np.uint16, np.uint32):
            array = array.astype(np.int32)  # torch computes little with wide unsigned integers
        return torch.as_tensor(array).to(self.device, non_blocking=True)

    def _window(self, batch: Arrays) -> tuple[dict[str, Tensor], State]:
        """A batch from replay as tensors (B, T, …) in the model's form, and the belief before it."""
        context = self.replay_context
        tensors = {name: self._tensor(value) for name, value in batch.items()}
        tensors["action"] = encode_action(self.spec, tensors["action"])
        for name in ("is_first", "is_last", "is_terminal"):
            tensors[name] = tensors[name].bool()
        dynamics = self.model.dynamics
        kept = {name: tensors.pop(name)[:, 0] for name in self.replay_fields()}
        if context:
            state = dynamics.from_replay(kept, tensors["action"][:, 0])
        else:
            state = dynamics.initial(tensors["is_first"].shape[0])
            tensors["is_first"][:, 0] = True  # nothing is known of what came before the window
        return {name: value[:, context:] for name, value in tensors.items()}, state


def _require_finite(figures: Mapping[str, Tensor]) -> None:
    finite = torch.stack([value.isfinite().all() for value in figures.values()])
    if not finite.all():
        raise NonFiniteError(next(name for name, good in zip(figures, finite.tolist(), strict=True) if not good))


def _figures(learned: Learned) -> dict[str, Tensor]:
    figures = {f"loss/{name}": value.detach().mean() for name, value in learned.losses.items()}
    figures["model/kl"] = learned.kl.mean()
    for name, state in (("posterior", learned.posterior), ("prior", learned.prior)):
        figures[f"model/{name}_entropy"] = entropy(state["logit"].detach()).sum(-1).mean()
    return figures
