"""The RSSM's cells against their equations, written out."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from dynalang_py.nn.unrolled import Shared
from dynalang_py.world_model.cells import BlockCell, DenseCell

ACTIONS, DETER, HIDDEN, BLOCKS = 3, 8, 6, 2


def gru(reset: Tensor, candidate: Tensor, update: Tensor, deter: Tensor) -> Tensor:
    candidate = (reset.sigmoid() * candidate).tanh()
    update = (update - 1).sigmoid()
    return update * candidate + (1 - update) * deter


@pytest.mark.parametrize("bottleneck", [0, 5])
def test_the_dense_cell_norms_all_gates_at_once(bottleneck: int) -> None:
    cell = DenseCell(12, ACTIONS, DETER, HIDDEN, bottleneck)
    assert cell.norm.bias is not None
    torch.nn.init.normal_(cell.norm.scale)
    torch.nn.init.normal_(cell.norm.bias)
    deter, stoch, action = torch.randn(4, DETER), torch.randn(4, 12), torch.rand(4, ACTIONS)
    x = torch.cat([deter, cell.inputs(torch.cat([stoch, action], -1))], -1)
    if cell.bottleneck is not None:
        x = cell.bottleneck(x)
    x = x @ cell.gates.weight.T
    x = (x - x.mean(-1, keepdim=True)) / (x.var(-1, correction=0, keepdim=True) + 1e-3).sqrt()
    reset, candidate, update = (x * cell.norm.scale + cell.norm.bias).chunk(3, -1)
    reads = Shared(cell.weights(), 1, 4).at(0)
    ours = cell(deter, stoch, cell.read_action(action), reads)
    torch.testing.assert_close(ours, gru(reset, candidate, update, deter))


def test_the_block_cell_block_by_block() -> None:
    """Written out as published: every block reads its slice of deter and a copy of all three embeddings."""
    cell = BlockCell(12, ACTIONS, DETER, HIDDEN, BLOCKS)
    for param in cell.parameters():
        torch.nn.init.normal_(param)
    deter, stoch, action = torch.randn(4, DETER), torch.randn(4, 12), torch.rand(4, ACTIONS)
    read = torch.cat([cell.from_deter(deter), cell.from_stoch(stoch), cell.from_action(action)], -1)
    width = DETER // BLOCKS
    hidden = []
    for g in range(BLOCKS):
        assert cell.shared.bias is not None
        own, shared = slice(g * width, (g + 1) * width), cell.shared.weight.T
        weight = torch.cat([cell.own.weight[g], shared[:, own]])
        hidden.append(torch.cat([deter[:, own], read], -1) @ weight + cell.shared.bias[own])
    x = torch.cat(hidden, -1)
    x = F.silu(x / (x.square().mean(-1, keepdim=True) + 1e-4).sqrt() * cell.norm.scale)
    expected = []
    for g in range(BLOCKS):
        own = slice(g * width, (g + 1) * width)
        assert cell.gates.bias is not None
        gates = x[:, own] @ cell.gates.weight[g] + cell.gates.bias[3 * g * width : 3 * (g + 1) * width]
        reset, candidate, update = gates.split(width, -1)
        expected.append(gru(reset, candidate, update, deter[:, own]))
    reads = Shared(cell.weights(), 1, 4).at(0)
    torch.testing.assert_close(cell(deter, stoch, cell.read_action(action), reads), torch.cat(expected, -1))


def test_fresh_block_weights_share_one_fan() -> None:
    torch.manual_seed(0)
    cell = BlockCell(64, ACTIONS, deter=256, hidden=64, blocks=8)
    fan = 256 + 8 * 3 * 64  # all that the eight blocks read together
    for weight in (cell.own.weight, cell.shared.weight):
        assert float(weight.detach().std()) == pytest.approx(fan**-0.5, rel=0.05)
    assert float(cell.gates.weight.detach().std()) == pytest.approx(256**-0.5, rel=0.05)
