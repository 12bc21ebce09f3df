"""The recurrent state-space model: what the agent believes, and how the belief moves (DreamerV3, arXiv 2301.04104).

One class for both families. 2023: one dense GRU, learned start state. 2025: block-diagonal GRU, zero start state.
Letters: dynalang_py/nn/__init__.py.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dynalang_py.bounds import Layers, Width, Within, check
from dynalang_py.nn.functional import draw_mixed, straight_through, unimix
from dynalang_py.nn.layers import MLP, Dense, Family, linear
from dynalang_py.nn.patches import NO_SITES, Sites
from dynalang_py.nn.random import Noise
from dynalang_py.nn.unrolled import Read, Shared, product_dtype
from dynalang_py.world_model.cells import BlockCell, DenseCell
from dynalang_py.world_model.echo import Echo
from dynalang_py.world_model.map import Map, MapConfig

State = dict[str, Tensor]
"""A belief: a plain dictionary of tensors, batch first. Here deter (…, D), stoch (…, S, K), and the action (…, A) that
was taken in it (zeros as long as none was)."""

Policy = Callable[[Tensor, Noise], Tensor]
"""(feature (B, F), source of randomness) → action (B, A)."""


@dataclass(frozen=True, kw_only=True)
class RSSMConfig:
    deter: Width = 512
    """D: width of the deterministic state."""
    hidden: Width = 256
    """Width of the layers around the recurrent cell."""
    stoch: Annotated[int, Within(1, 4096)] = 32
    """S: number of categorical latents."""
    classes: Annotated[int, Within(2, 4096)] = 16
    """K: classes of each latent."""
    patch_stoch: Annotated[int, Within(1, 4096)] = 2
    """Latents that each patch of the image has to itself, beside the others, where encoder.patch cuts it."""
    mapped: bool = False
    """Keep a map of what the patches show, where encoder.patch cuts the image; with encoder.prototypes there always is
    one."""
    map: MapConfig = field(default_factory=MapConfig)
    """What the map knows of each place."""
    echo: Annotated[int, Within(0, 2**16)] = 0
    """Numbers that are kept of the words heard lately, beside what the cell remembers; 0: none."""
    blocks: Annotated[int, Within(1, 4096)] = 8
    """Groups of the block-diagonal cell (2025 family)."""
    bottleneck: Annotated[int, Within(0, 2**16)] = 0
    """Width of a layer before the dense cell that saves parameters (2023 family); 0: none."""
    unimix: Annotated[float, Within(0, 1, below=True)] = 0.01
    """Share of the uniform distribution in prior and posterior."""
    prior_layers: Layers = 2
    """Hidden layers between deter and the prior (1 in the 2023 family)."""

    def __post_init__(self) -> None:
        check(self)
        if self.deter % self.blocks:
            raise ValueError(f"deter must be divisible by blocks ({self.blocks}), got {self.deter}")


class Told(NamedTuple):
    """What one step of observe is told; with an axis T after the first, what all steps of a window are."""

    stays: Tensor
    """(B, 1) bool: no reset."""
    start: Tensor
    """(B, S·K): the latents that a reset puts in place."""
    move: Tensor
    """(B, hidden): the cell's reading of the action before."""
    seen: Tensor
    """(B, hidden): the posterior's reading of the observation."""
    leaning: Tensor
    """(B, S·K): what the patches make of the logits. Here and below S counts no names."""
    names: Tensor
    """(B, …): latents that are the names of patches."""
    draw: Tensor
    """(B, S, 1): noise."""


class RSSM(nn.Module):
    """Dynamics behind the project's interface: initial, observe, imagine, feature.

    sites: which of the embedding's first features belong to one patch of the image each. The first latents belong to
    the patches then, config.patch_stoch to each, and the same small layer gives every patch a say in its own: what a
    tile looks like is learned from all tiles at once. With a map, deter has what is known of places, which cell, heads
    and behaviors read instead of the patches' latents. Where the patches are named, one latent of each is its name,
    which needs no posterior.

    words: width of the embedding's last features, which belong to the word that is heard. With an echo of words, deter
    ends with it; heads, behaviors and the map's questions read it, and dreams go on hearing it.
    """

    def __init__(
        self,
        embed: int,
        actions: int,
        config: RSSMConfig,
        family: Family,
        sites: Sites = NO_SITES,
        named: bool = False,
        words: int = 0,
    ) -> None:
        super().__init__()
        self.config = config
        self.actions = actions
        self.sites = sites
        self.latents = sites.patches * config.patch_stoch + config.stoch  # S
        stoch, hidden = self.latents * config.classes, config.hidden
        free = config.stoch * config.classes
        own = config.patch_stoch * config.classes
        self.owned = sites.patches * own
        """How much of the latents, the first of them, belongs to patches."""
        mapped = sites.patches > 0 and (named or config.mapped)
        self.words = words
        self.echo = Echo(words, config.echo, family) if words and config.echo else None
        asking = config.deter + (config.echo if self.echo else 0)
        self.map = Map(sites[:2], own, config.deter, asking, config.map, family) if mapped else None
        self.widths = (config.deter, self.map.size if self.map else 0)
        """What moves, with which deter begins: the cell's state and the map. After it comes the echo."""
        self.deter = sum(self.widths) + asking - config.deter
        told = self.map.view + free if self.map else stoch
        self.cell: DenseCell | BlockCell
        self.start: nn.Parameter | None = None
        if family == "dreamer2023":
            self.cell = DenseCell(told, actions, config.deter, hidden, config.bottleneck)
            self.start = nn.Parameter(torch.zeros(config.deter))
        else:
            self.cell = BlockCell(told, actions, config.deter, hidden, config.blocks)
        self.prior_net = nn.Sequential(
            MLP(config.deter, hidden, config.prior_layers, family), linear(hidden, stoch, family)
        )
        self.posterior_in = Dense(config.deter + embed, hidden, family)
        self.named = sites.patches * named
        """How many of the latents, the first ones, are names."""
        self.posterior_out = linear(hidden, free if named else stoch, family)
        self.site_out = linear(sites.width, own, family) if sites.patches and not named else None
        self.embed = embed
        self.feature_size = self.deter + stoch
        if self.map:
            self.feature_size = self.deter + free + self.map.places * config.map.questions

    # -- the interface ----------------------------------------------------------------------------------------------

    def feature(self, state: State) -> Tensor:
        """What heads and behaviors read: [deter, stoch] (…, F), or with a map [cell's state, echo, map, other latents,
        what the map answers]; of what is in view the map then has what is seen, not what was expected."""
        # In what autocast multiplies, if there is any: every head would cast it for itself.
        moving, echo = self._apart(state["deter"].to(product_dtype(state["deter"])))
        cell, known = moving.split(self.widths, -1)
        if self.echo:
            cell = torch.cat([cell, self.echo.read(echo)], -1)
        stoch = state["stoch"].flatten(-2).to(cell.dtype)
        if self.map is None:
            return torch.cat([cell, stoch], -1)
        seen, free = self._told(stoch)
        beyond = known[..., self.map.view :]
        return torch.cat([cell, seen, beyond, free, self.map.answers(seen, beyond, cell)], -1)

    def initial(self, batch: int) -> State:
        """An empty belief, which `observe` replaces wherever is_first is set."""
        new = self.posterior_out.weight.new_zeros
        config = self.config
        return {
            "deter": new(batch, self.deter),
            "stoch": new(batch, self.latents, config.classes),
            "action": new(batch, self.actions),
        }

    def observe(
        self, embed: Tensor, action: Tensor, is_first: Tensor, state: State, noise: Noise
    ) -> tuple[State, State]:
        """Filter a window of observations.

        embed: (B, T, E); action: (B, T, A), taken **at** t: it is shifted here and nowhere else;
        is_first: (B, T) bool; state: the belief before the window, with the action taken in it.
        Returns the posterior {deter, stoch, logit, action} and the prior {logit}, each (B, T, …); logit is a
        log-probability (S, K); the posterior's leaves out the latents that are names.
        """
        batch, length = is_first.shape
        config = self.config
        keep = ~is_first[..., None]  # (B, T, 1)
        previous = torch.cat([state["action"][:, None].to(action.dtype), action[:, :-1]], 1) * keep
        moves = self.cell.read_action(previous)  # (B, T, …)
        read = config.deter, self.embed
        seen = F.linear(embed, self.posterior_in.columns(read, 1))  # (B, T, hidden)
        leaning = self._leaning(embed)
        names = embed[..., : self.named * config.classes]  # (B, T, …)
        weights = {"own": self.posterior_in.columns(read, 0), "latents": self.posterior_out.weight}
        shared = Shared(self._weights() | weights, length, batch)
        draws = noise.uniform(batch, length, self.latents - self.named, 1)
        deter, stoch = state["deter"].to(seen.dtype), state["stoch"].flatten(-2).to(seen.dtype)
        deter, before = self._apart(deter)
        start_deter, start_stoch = (x.to(seen.dtype) for x in self._start(batch, length, noise))
        deters, stochs, logits = [], [], []
        window = Told(keep, start_stoch, moves, seen, leaning, names, draws)
        # Unbound at once: the gradient of each x[:, t] would be a whole window of zeros, quadratic in T.
        for t, step in enumerate(zip(*(x.unbind(1) for x in window), strict=True)):
            reads = shared.at(t)
            deter, stoch, logit = self.filter_step(deter, stoch, start_deter, Told(*step), reads)
            shared.done(reads)
            deters.append(deter)
            stochs.append(stoch)
            logits.append(logit)
        moved = torch.stack(deters, 1)
        heard = self.echo(embed[..., -self.words :], is_first, before) if self.echo else None
        posterior = {
            "deter": moved if heard is None else torch.cat([moved, heard], -1),
            "stoch": torch.stack(stochs, 1).unflatten(-1, (self.latents, config.classes)),
            "logit": torch.stack(logits, 1),
            "action": action,
        }
        return posterior, {"logit": self.prior(moved)}

    def imagine(self, state: State, policy: Policy | Tensor, horizon: int, noise: Noise) -> tuple[list[State], Tensor]:
        """Roll the prior forward without observations.

        state: (B, …); policy: a callable, asked at each of the horizon + 1 states, or actions (B, H, A), asked at none.
        Returns the horizon + 1 states (B, …), start included, and the actions taken in them (B, H + 1, A) ((B, H, A)
        where given).
        """
        draws = noise.uniform(horizon, state["deter"].shape[0], self.latents, 1)
        shared = Shared(self._weights(), horizon, state["deter"].shape[0])
        states, actions = [{name: state[name] for name in ("deter", "stoch")}], []
        deter, echo = self._apart(state["deter"])
        for t in range(horizon + 1):
            if not isinstance(policy, Tensor):
                actions.append(policy(self.feature(states[t]), noise))
            if t == horizon:
                break
            action = policy[:, t] if isinstance(policy, Tensor) else actions[t]
            stoch = states[t]["stoch"].flatten(-2).to(deter.dtype)
            reads = shared.at(t)
            deter, stoch = self.dream_step(deter, stoch, action, draws[t], reads)
            shared.done(reads)
            states.append(
                {
                    "deter": torch.cat([deter, echo], -1) if self.echo else deter,
                    "stoch": stoch.unflatten(-1, (self.latents, self.config.classes)),
                }
            )
        return states, policy if isinstance(policy, Tensor) else torch.stack(actions, 1)

    def expect(self, deter: Tensor, prior: Tensor, noise: Noise) -> State:
        """A sample of what is expected before it is observed, with straight-through gradient.

        deter (…, D), the prior's log-probabilities (…, S, K) → a belief {deter, stoch}.
        """
        draw = noise.uniform(*prior.shape[:-1], 1)
        return {"deter": deter, "stoch": straight_through(prior, draw)}

    def replay_fields(self) -> dict[str, tuple[tuple[int, ...], np.dtype[Any]]]:
        """Name → (shape, dtype) of the state that replay keeps beside each step."""
        config = self.config
        return {
            "deter": ((self.deter,), np.dtype(np.float16)),
            "stoch": ((self.latents,), np.dtype(np.uint8 if config.classes <= 256 else np.int16)),
        }

    def to_replay(self, state: State) -> State:
        """A belief as replay keeps it: deter in float16, one class id per latent."""
        ids = state["stoch"].detach().argmax(-1)
        stoch = ids.to(torch.uint8 if self.config.classes <= 256 else torch.int16)
        return {"deter": state["deter"].detach().half(), "stoch": stoch}

    def from_replay(self, kept: State, action: Tensor) -> State:
        """The inverse of to_replay; action: (…, A), taken in that state."""
        stoch = F.one_hot(kept["stoch"].long(), self.config.classes).float()
        return {"deter": kept["deter"].float(), "stoch": stoch, "action": action}

    # -- its pieces -------------------------------------------------------------------------------------------------

    def filter_step(
        self, deter: Tensor, stoch: Tensor, start: Tensor, told: Told, reads: dict[str, Read]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """One step of observe.

        deter (B, D), stoch (B, S·K), the deter (D,) that a reset puts in place, what else the step is told, and the
        weights that all steps share → next deter, next stoch, posterior log-probabilities (B, S, K) without names.
        """
        deter, stoch = torch.where(told.stays, deter, start), torch.where(told.stays, stoch, told.start)
        deter = self._move(deter, stoch, told.move, reads)
        hidden = self.posterior_in.finish(reads["own"](deter[..., : self.config.deter]) + told.seen)
        logits = reads["latents"](hidden) + told.leaning
        logit = unimix(logits.unflatten(-1, (-1, self.config.classes)), self.config.unimix)
        stoch = straight_through(logit, told.draw).flatten(-2).to(deter.dtype)
        return deter, torch.cat([told.names.to(stoch.dtype), stoch], -1) if self.named else stoch, logit

    def dream_step(
        self, deter: Tensor, stoch: Tensor, action: Tensor, draw: Tensor, reads: dict[str, Read]
    ) -> tuple[Tensor, Tensor]:
        """One step of imagine: action (B, A), noise (B, S, 1) → next deter (B, D), next stoch (B, S·K)."""
        deter = self._move(deter, stoch, self.cell.read_action(action), reads)
        stoch = draw_mixed(self._expected(deter), self.config.unimix, draw)
        return deter, stoch.flatten(-2).to(deter.dtype)

    def prior(self, deter: Tensor) -> Tensor:
        """deter (…, D) → log-probabilities (…, S, K)."""
        return unimix(self._expected(deter), self.config.unimix)

    def _expected(self, deter: Tensor) -> Tensor:
        """deter (…, D) → the prior's logits (…, S, K)."""
        cell, known = deter.split(self.widths, -1)
        logits: Tensor = self.prior_net(cell)
        if self.map:
            names = self.map.expect(known)
            logits = logits + F.pad(names, (0, logits.shape[-1] - names.shape[-1]))
        return logits.unflatten(-1, (-1, self.config.classes))

    def _move(self, deter: Tensor, stoch: Tensor, move: Tensor, reads: dict[str, Read]) -> Tensor:
        """deter (B, D) and stoch (B, S·K) of a step, the action as the cell reads it → next deter."""
        if self.map is None:
            return self.cell(deter, stoch, move, reads)
        cell, known = deter.split(self.widths, -1)
        seen, free = self._told(stoch)
        cell = self.cell(cell, torch.cat([seen, free], -1), move, reads)
        return torch.cat([cell, self.map.move(seen, known, cell, reads)], -1)

    def _told(self, stoch: Tensor) -> tuple[Tensor, Tensor]:
        """Latents (…, S·K) → what the map keeps of those of the patches (…, view), and the others."""
        assert self.map is not None
        return self.map.read(stoch[..., : self.owned]), stoch[..., self.owned :]

    def _apart(self, deter: Tensor) -> tuple[Tensor, Tensor]:
        """deter (…, D) → what moves, and the echo."""
        moving = sum(self.widths)
        return deter[..., :moving], deter[..., moving:]

    def _weights(self) -> dict[str, Tensor]:
        return self.cell.weights() | (self.map.weights() if self.map else {})

    def _leaning(self, embed: Tensor) -> Tensor:
        """The share of the posterior's logits that needs no belief, bias included: (B, T, E) → (B, T, S·K)."""
        bias = self.posterior_out.bias
        if self.site_out is None:
            return bias.expand(*embed.shape[:2], -1)
        count, width = self.sites.patches, self.sites.width
        own = self.site_out(embed[..., : count * width].unflatten(-1, (count, width))).flatten(-2)
        return F.pad(own, (0, len(bias) - own.shape[-1])) + bias

    def _start(self, batch: int, length: int, noise: Noise) -> tuple[Tensor, Tensor]:
        """The belief that a reset puts in place: deter (D,), stoch (B, T, S·K), drawn anew for every step."""
        config = self.config
        if self.start is None:
            zeros = self.posterior_out.weight.new_zeros(batch, length, self.latents * config.classes)
            return zeros.new_zeros(sum(self.widths)), zeros
        deter = F.pad(self.start.tanh(), (0, self.widths[1]))
        free = self.prior(deter)[self.named :]  # of patches nothing was seen yet, so they have no names
        stoch = straight_through(free, noise.uniform(batch, length, self.latents - self.named, 1)).flatten(-2)
        return deter, F.pad(stoch, (self.named * config.classes, 0))
