"""What moves the state of the RSSM by one step: a gated recurrent unit, dense (2023) or of diagonal blocks (2025)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dynalang_py.kernels import fused
from dynalang_py.nn.layers import BlockLinear, Dense, Family, Norm, NormSiLU, initialise, linear
from dynalang_py.nn.unrolled import Read


class DenseCell(nn.Module):
    """The 2023 cell: one layer reads stoch and action, then a GRU with one LayerNorm across all three gates."""

    def __init__(self, stoch: int, actions: int, deter: int, hidden: int, bottleneck: int = 0) -> None:
        """stoch: S·K; bottleneck: width of a layer before the gates, 0: none."""
        super().__init__()
        family: Family = "dreamer2023"
        self.widths = (stoch, actions)
        self.inputs = Dense(stoch + actions, hidden, family)
        self.bottleneck = Dense(deter + hidden, bottleneck, family) if bottleneck else None
        self.gates = linear(bottleneck or deter + hidden, 3 * deter, family, bias=False)
        self.norm = Norm(3 * deter, family)

    def read_action(self, action: Tensor) -> Tensor:
        """The action's share of the cell's input, for all steps at once: (…, A) → (…, hidden)."""
        return F.linear(_bounded(action), self.inputs.columns(self.widths, 1))

    def weights(self) -> dict[str, Tensor]:
        """What the steps of a loop over time share."""
        return {"stoch": self.inputs.columns(self.widths, 0), "gates": self.gates.weight}

    def forward(self, deter: Tensor, stoch: Tensor, move: Tensor, reads: dict[str, Read]) -> Tensor:
        """deter (B, D), stoch (B, S·K), move from read_action → next deter (B, D)."""
        x = self.inputs.finish(reads["stoch"](stoch) + move)
        x = torch.cat([deter.to(x.dtype), x], -1)
        if self.bottleneck is not None:
            x = self.bottleneck(x)
        return _gru(self.norm(reads["gates"](x)).unflatten(-1, (3, -1)), deter)


class BlockCell(nn.Module):
    """The 2025 cell: three embeddings, a block-diagonal hidden layer, a block-diagonal GRU with gates not normed."""

    def __init__(self, stoch: int, actions: int, deter: int, hidden: int, blocks: int) -> None:
        """stoch: S·K; blocks: how many the state falls into."""
        super().__init__()
        family: Family = "dreamer2025"
        self.blocks = blocks
        self.from_deter = Dense(deter, hidden, family)
        self.from_stoch = Dense(stoch, hidden, family)
        self.from_action = Dense(actions, hidden, family)
        # Every block reads its own slice of deter and all three embeddings; the part that all blocks read is one
        # plain matrix here instead of eight copies of the embeddings.
        fan_in = deter + blocks * 3 * hidden
        self.own = BlockLinear(deter, deter, blocks, fan_in, bias=False)
        self.shared = linear(3 * hidden, deter, family)
        initialise(self.shared.weight, fan_in, deter, family)
        self.norm = NormSiLU(deter, family)
        self.gates = BlockLinear(deter, 3 * deter, blocks, fan_in=deter)

    def read_action(self, action: Tensor) -> Tensor:
        """The action's embedding, for all steps at once: (…, A) → (…, hidden)."""
        return self.from_action(_bounded(action))

    def weights(self) -> dict[str, Tensor]:
        """What the steps of a loop over time share."""
        return {
            "deter": self.from_deter.linear.weight,
            "stoch": self.from_stoch.linear.weight,
            "all": self.shared.weight,
        }

    def forward(self, deter: Tensor, stoch: Tensor, move: Tensor, reads: dict[str, Read]) -> Tensor:
        """deter (B, D), stoch (B, S·K), move from read_action → next deter (B, D)."""
        told = [self.from_deter.finish(reads["deter"](deter)), self.from_stoch.finish(reads["stoch"](stoch)), move]
        mixed = reads["all"](torch.cat(told, -1)) + self.shared.bias
        hidden = self.norm(self.own(deter) + mixed)
        gates = self.gates(hidden).unflatten(-1, (self.blocks, 3, -1))  # (B, G, 3, D / G)
        return _gru(gates, deter.unflatten(-1, (self.blocks, -1))).flatten(-2)


def _gru(gates: Tensor, deter: Tensor) -> Tensor:
    """gates (…, 3, width), before their non-linearity, and the state (…, width) → the next state."""
    deter = deter.to(gates.dtype)
    if fused.serves(gates, deter):
        return fused.gru(gates, deter)
    reset, candidate, update = gates.unbind(-2)
    candidate = (reset.sigmoid() * candidate).tanh()
    update = (update - 1).sigmoid()  # biased towards remembering
    return torch.lerp(deter, candidate, update)


def _bounded(action: Tensor) -> Tensor:
    """Scale components beyond ±1 back to ±1."""
    return action / action.abs().clamp(min=1).detach()
