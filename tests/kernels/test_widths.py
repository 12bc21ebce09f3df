"""Every build of the kernels computes what is written, forwards and backwards, whatever the numbers are."""

from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from dynalang_py.kernels import fused
from dynalang_py.nn import conv
from dynalang_py.nn.functional import straight_through, unimix

from . import plain

pytestmark = pytest.mark.usefixtures("kernels")

RAGGED = [1, 2, 3, 4, 5, 7, 8, 11, 15, 16, 17, 31, 33, 100]
INF, NAN = torch.inf, torch.nan
PRECISIONS = {torch.float32: (1e-4, 2e-5), torch.bfloat16: (1e-2, 1e-2)}


@pytest.fixture
def threads() -> Iterator[None]:
    """Two of them, so that rows are shared out."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def fused_norm(x: Tensor, scale: Tensor, *offset: Tensor) -> Tensor:
    return fused.norm_silu(x, scale, offset[0] if offset else None, 1e-3 if offset else 1e-4)


def close(got: list[Tensor], exact: list[Tensor], kind: torch.dtype, rows: int = 1) -> None:
    relative, absolute = PRECISIONS[kind]
    for ours, theirs in zip(got, exact, strict=True):
        bounds = {"rtol": relative, "atol": absolute * rows**0.5}
        torch.testing.assert_close(ours.double(), theirs, equal_nan=True, **bounds)


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("centred", [False, True], ids=["rms", "layer"])
@pytest.mark.parametrize("kind", PRECISIONS, ids=str)
def test_norm_and_silu(kind: torch.dtype, centred: bool) -> None:
    torch.manual_seed(0)
    for rows, width in [*((3, width) for width in RAGGED), (600, 100)]:
        x, of = (torch.randn(rows, width) * 3 + 1).to(kind), torch.randn(rows, width).to(kind)
        weights = [torch.rand(width) + 0.5, torch.randn(width)][: 1 + centred]
        got = plain.slopes(fused_norm, x, *weights, of=of)
        assert got[0].dtype == got[1].dtype == kind
        close(got, plain.slopes(plain.norm_silu, x.double(), *[w.double() for w in weights], of=of), kind, rows)


@pytest.mark.parametrize("centred", [False, True], ids=["rms", "layer"])
@pytest.mark.parametrize("kind", PRECISIONS, ids=str)
@pytest.mark.parametrize("width", [5, 20])
def test_a_norm_of_extremes(kind: torch.dtype, centred: bool, width: int) -> None:
    torch.manual_seed(0)
    x = torch.zeros(11, width)
    x[1, 3], x[2], x[3, 1] = 1e15, torch.randn(width) * 1e-20, -1e15  # rows of numbers
    x[4], x[5, 0], x[6] = 1e-40, 1e30, 1.5e37  # the third below what some count as zero, the others above any square
    x[7, 4], x[8, 0], x[9, 2], x[10, :2] = NAN, INF, -INF, torch.tensor([INF, NAN])
    weights = [torch.full((width,), 1000.0), torch.linspace(-1e3, 1e3, width)][: 1 + centred]
    x = x.to(kind)
    got = plain.slopes(fused_norm, x, *weights, of=torch.ones(x.shape))
    close(got[:1], [plain.norm_silu(x.float(), *weights).double()], kind)
    assert got[0][:7].isfinite().all()
    assert got[1][:7].isfinite().all()  # and what is none in one row reaches no other
    assert all(row.isnan().any() for row in got[1][7:])
    exact = plain.slopes(plain.norm_silu, x[:5].double(), *[w.double() for w in weights], of=torch.ones(5, width))
    scale = exact[1].abs().amax(-1, keepdim=True)
    close([got[1][:5] / scale], [exact[1] / scale], kind)
    assert fused_norm(torch.ones(1, width, dtype=kind), _as_float(0x7FFFFFFF).expand(width)).isnan().all()


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("kind", PRECISIONS, ids=str)
def test_gru(kind: torch.dtype) -> None:
    torch.manual_seed(0)
    for shape in [*((3, 2, width) for width in RAGGED), (300, 1, 130)]:
        gates, deter = (torch.randn(*shape[:2], 3, shape[2]) * 4).to(kind), torch.randn(shape).to(kind)
        of = torch.randn(shape).to(kind)
        got = plain.slopes(fused.gru, gates, deter, of=of)
        close(got, plain.slopes(plain.gru, gates.double(), deter.double(), of=of), kind)


@pytest.mark.parametrize("kind", PRECISIONS, ids=str)
def test_gates_that_are_wide_open_or_shut(kind: torch.dtype) -> None:
    gates = torch.tensor([-INF, -1e4, -100.0, -30.0, -1e-40, 0.0, 30.0, 100.0, 1e4, INF, NAN])
    candidates = torch.tensor([-INF, -3e38, -0.5, 1e-40, 3.0, INF, NAN])
    gates = torch.cartesian_prod(gates, candidates, gates).t()[None].to(kind)  # (1, 3, width)
    deter = torch.linspace(-2, 2, gates.shape[-1])[None].to(kind)
    deter[0, ::50] = NAN
    for width in (gates.shape[-1], 3):
        given = gates[..., :width].contiguous(), deter[:, :width].contiguous()
        got = plain.slopes(fused.gru, *given, of=torch.ones(1, width))
        # In float32, whose sigmoid of -100 is 0: of what is infinite that leaves NaN.
        exact = plain.slopes(plain.gru, given[0].float(), given[1].float(), of=torch.ones(1, width))
        close(got, [x.double() for x in exact], kind)


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("share", [0.0, 0.01, 1.0])
def test_draws(share: float) -> None:
    torch.manual_seed(0)
    for classes in (2, 3, 5, 15, 16, 17, 33, 1024):
        logits = torch.randn(50, 3, classes) * 5 - 30
        ends = unimix(logits.double(), share).exp().cumsum(-1)
        drawn = torch.randint(classes, (50, 3, 1))
        low = F.pad(ends, (1, 0)).gather(-1, drawn)
        noise = (low + ends.gather(-1, drawn)) / 2  # the middle of what falls to that class
        sure = (ends.gather(-1, drawn) - low > 1e-5)[..., 0]  # no rounding moves it across an end
        assert sure.any()
        sample = fused.draw(logits, noise.float(), share)
        torch.testing.assert_close(sample.sum(-1), torch.ones(50, 3))
        assert (sample.argmax(-1) == drawn[..., 0])[sure].all()
        assert fused.draw(logits.bfloat16(), noise.float(), share).dtype == torch.bfloat16


@pytest.mark.parametrize("kind", PRECISIONS, ids=str)
def test_draws_of_extremes(kind: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    logits = torch.zeros(10, 20)
    logits[1, :7], logits[2, 13:], logits[3, 4], logits[4] = -INF, -INF, NAN, NAN
    logits[5, 6], logits[6, :2], logits[7], logits[8, 3], logits[9, 5:] = INF, INF, -INF, 3e38, -200
    logits = logits.to(kind).repeat_interleave(3, 0)
    noise = torch.tensor([0.0, 0.5, 1 - 2**-24]).repeat(10)[:, None]
    sample = fused.draw(logits, noise, 0.0)
    theirs = straight_through(unimix(logits.float(), 0.0), noise).to(kind)
    surest = torch.arange(30) % 3 < 2  # the last class that may be drawn: sums round to below the noise or not
    assert torch.equal(sample[surest], theirs[surest])
    assert torch.equal(sample.sum(-1), torch.ones(30, dtype=kind))
    assert sample[0, 0] == sample[2, -1] == sample[3, 7] == sample[24, 3] == 1


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("kind", PRECISIONS, ids=str)
@pytest.mark.parametrize("size", [(1, 1, 1, 1), (2, 3, 5, 3), (3, 16, 8, 48)], ids=str)
def test_interleaving(size: tuple[int, int, int, int], kind: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    n, height, width, channels = size
    phases = torch.randn(n, height, width, 4, channels).to(kind)
    phases[0, 0, 0, 1, 0], phases[-1, -1, -1, 2, -1] = NAN, -INF
    of = torch.randn(n, 2 * height, 2 * width, channels).to(kind)
    norm = conv.NormSiLUInterleave(channels, "dreamer2025")
    ours = plain.slopes(conv.interleave, phases, of=of) + plain.slopes(norm, phases, of=of)
    monkeypatch.setattr(fused, "available", lambda: False)
    theirs = plain.slopes(conv.interleave, phases, of=of) + plain.slopes(norm, phases, of=of)
    for k, (got, want) in enumerate(zip(ours, theirs, strict=True)):
        near = (0, 0) if k < 2 else (1e-5, 1e-6) if kind == torch.float32 else (0.05, 0.05)
        torch.testing.assert_close(got, want, rtol=near[0], atol=near[1], equal_nan=True)


def _as_float(bits: int) -> Tensor:
    return torch.tensor([bits], dtype=torch.int32).view(torch.float32)
