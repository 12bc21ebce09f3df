"""fused.cpp computes what PyTorch's operations do, forwards and backwards."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from dynalang_py.kernels import fused, native
from dynalang_py.nn import conv
from dynalang_py.nn.functional import draw_mixed, straight_through, unimix
from dynalang_py.nn.layers import Dense, Family, NormSiLU
from dynalang_py.world_model import cells

compiled = pytest.mark.skipif(not fused.available(), reason="no C++ compiler, so nothing is fused")

FAMILIES: list[Family] = ["dreamer2023", "dreamer2025"]


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Layers are fused however small their inputs are."""
    monkeypatch.setattr(fused, "_LEAST", 0)


@pytest.fixture
def threads() -> Iterator[None]:
    """Two of them, so that rows are shared out."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def normed(x: Tensor, scale: Tensor, bias: Tensor | None) -> Tensor:
    """SiLU of the norm as it is written."""
    if bias is not None:
        return F.silu(F.layer_norm(x, scale.shape, scale, bias, 1e-3))
    return F.silu(x * (x.square().mean(-1, keepdim=True) + 1e-4).rsqrt() * scale)


def slopes(function: Callable[..., Tensor], *inputs: Tensor, of: Tensor) -> list[Tensor]:
    """What a function gives, and the gradient of its product with `of` in each input."""
    own = [x.detach().clone().requires_grad_() for x in inputs]
    out = function(*own)
    (out.double() * of.double().view(out.shape)).sum().backward()
    return [out.detach(), *[x.grad for x in own if x.grad is not None]]


@compiled
@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    "shape", [(1, 1), (3, 5), (2, 3, 16), (7, 24), (5, 48), (600, 32), (1200, 100), (3, 700)], ids=str
)
def test_norm_and_silu(family: Family, shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    norm = NormSiLU(shape[-1], family)
    x, of = torch.randn(shape) * 3 + 1, torch.randn(shape)
    weights = [torch.rand(shape[-1]) + 0.5, torch.randn(shape[-1])][: len(list(norm.parameters()))]

    def ours(x: Tensor, *weights: Tensor) -> Tensor:
        return fused.norm_silu(x, weights[0], weights[1] if len(weights) > 1 else None, norm.epsilon)

    def theirs(x: Tensor, *weights: Tensor) -> Tensor:
        return normed(x, weights[0], weights[1] if len(weights) > 1 else None)

    exact = slopes(theirs, x.double(), *[w.double() for w in weights], of=of)
    for got, want in zip(slopes(ours, x, *weights, of=of), exact, strict=True):
        torch.testing.assert_close(got.double(), want, rtol=1e-4, atol=2e-5 * len(x) ** 0.5)
    brief = slopes(ours, x.bfloat16(), *weights, of=of.bfloat16())
    again = slopes(theirs, x.bfloat16().double(), *[w.double() for w in weights], of=of.bfloat16())
    assert brief[0].dtype == brief[1].dtype == torch.bfloat16
    for got, want in zip(brief, again, strict=True):
        torch.testing.assert_close(got.double(), want, rtol=1e-2, atol=1e-2 * len(x) ** 0.5)


@compiled
def test_the_layer_is_fused_and_says_the_same_as_without(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    x = torch.randn(4, 6)
    for family in FAMILIES:
        layer = Dense(6, 40, family)
        assert layer.norm.is_fused(x)
        ours = layer(x)
        with monkeypatch.context() as patch:
            patch.setattr(fused, "available", lambda: False)
            assert not layer.norm.is_fused(x)
            torch.testing.assert_close(layer(x), ours)


@compiled
@pytest.mark.parametrize("family", FAMILIES)
def test_extremes(family: Family) -> None:
    norm = NormSiLU(20, family)
    x = torch.zeros(6, 20)
    x[1, 3], x[2] = 1e15, torch.randn(20) * 1e-20
    x[3, 7], x[4, 0], x[5, 1] = torch.nan, torch.inf, -1e15
    with torch.no_grad():
        norm.scale.mul_(1000)
    y = norm(x)
    assert y[[0, 1, 2, 5]].isfinite().all()
    assert y[3].isnan().all()  # what is no number does not become one
    assert y[4].isnan().any()
    torch.testing.assert_close(y[[0, 1, 2, 5]], normed(x, norm.scale, norm.bias)[[0, 1, 2, 5]])


@compiled
@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 2, 5), (40, 8, 64), (300, 1, 130)], ids=str)
def test_gru(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    gates, deter, of = torch.randn(*shape[:-1], 3, shape[-1]) * 4, torch.randn(shape), torch.randn(shape)

    def theirs(gates: Tensor, deter: Tensor) -> Tensor:
        reset, candidate, update = gates.unbind(-2)
        update = (update - 1).sigmoid()
        return update * (reset.sigmoid() * candidate).tanh() + (1 - update) * deter

    exact = slopes(theirs, gates.double(), deter.double(), of=of)
    for got, want in zip(slopes(cells._gru, gates, deter, of=of), exact, strict=True):
        torch.testing.assert_close(got.double(), want, rtol=1e-5, atol=3e-6)
    brief = gates.bfloat16(), deter.bfloat16()
    exact = slopes(theirs, brief[0].double(), brief[1].double(), of=of.bfloat16())
    for got, want in zip(slopes(cells._gru, *brief, of=of.bfloat16()), exact, strict=True):
        torch.testing.assert_close(got.double(), want, rtol=1e-2, atol=1e-2)


@compiled
def test_gates_that_are_wide_open_or_shut() -> None:
    gates = torch.tensor([-torch.inf, -1e4, -100.0, -30.0, 0.0, 30.0, 100.0, 1e4, torch.inf])
    gates = torch.cartesian_prod(gates, torch.tensor([-1e4, -0.5, 3.0, torch.inf]), gates).t()[None]  # (1, 3, width)
    deter = torch.linspace(-2, 2, gates.shape[-1])[None]
    reset, candidate, update = gates.unbind(1)
    expected = torch.lerp(deter, (reset.sigmoid() * candidate).tanh(), (update - 1).sigmoid())
    torch.testing.assert_close(fused.gru(gates, deter), expected, equal_nan=True)  # 0 · ∞ is none


@compiled
@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("classes", [2, 3, 15, 16, 17, 33, 1024])
@pytest.mark.parametrize("share", [0.0, 0.01, 1.0])
def test_draws(classes: int, share: float) -> None:
    torch.manual_seed(0)
    logits = torch.randn(200, 3, classes) * 5 - 30
    ends = unimix(logits.double(), share).exp().cumsum(-1)
    drawn = torch.randint(classes, (200, 3, 1))
    low = F.pad(ends, (1, 0)).gather(-1, drawn)
    noise = (low + ends.gather(-1, drawn)) / 2  # the middle of what falls to that class
    sure = (ends.gather(-1, drawn) - low > 1e-5)[..., 0]  # no rounding moves it across an end
    assert sure.any()
    sample = fused.draw(logits, noise.float(), share)
    torch.testing.assert_close(sample.sum(-1), torch.ones(200, 3))
    assert (sample.argmax(-1) == drawn[..., 0])[sure].all()
    assert fused.draw(logits.bfloat16(), noise.float(), share).dtype == torch.bfloat16


@compiled
def test_the_ends_of_the_noise_draw_the_ends() -> None:
    logits = torch.zeros(1, 20)
    assert fused.draw(logits, torch.zeros(1, 1), 0.0)[0, 0] == 1
    assert fused.draw(logits, torch.full((1, 1), 1 - 2**-24), 0.0)[0, -1] == 1
    assert fused.draw(logits * torch.nan, torch.full((1, 1), 0.5), 0.0).sum() == 1


@compiled
def test_a_draw_has_a_gradient_where_one_is_wanted() -> None:
    torch.manual_seed(0)
    logits, noise = torch.randn(50, 4, requires_grad=True), torch.rand(50, 1)
    sample = draw_mixed(logits, 0.01, noise)
    (slope,) = torch.autograd.grad(sample.square().sum(), logits)
    assert slope.abs().max() > 0
    with torch.no_grad():
        torch.testing.assert_close(draw_mixed(logits, 0.01, noise), sample)
        torch.testing.assert_close(straight_through(unimix(logits, 0.01), noise), sample)


@compiled
@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("size", [(1, 1, 1, 1), (2, 3, 5, 3), (3, 16, 8, 48)], ids=str)
def test_interleaving(size: tuple[int, int, int, int], kind: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    n, height, width, channels = size
    phases = torch.randn(n, height, width, 4, channels).to(kind)
    of = torch.randn(n, 2 * height, 2 * width, channels).to(kind)
    norm = conv.NormSiLUInterleave(channels, "dreamer2025")
    ours = slopes(conv.interleave, phases, of=of) + slopes(norm, phases, of=of)
    monkeypatch.setattr(fused, "available", lambda: False)
    theirs = slopes(conv.interleave, phases, of=of) + slopes(norm, phases, of=of)
    for k, (got, want) in enumerate(zip(ours, theirs, strict=True)):
        close = (0, 0) if k < 2 else (1e-5, 1e-6) if kind == torch.float32 else (0.05, 0.05)
        torch.testing.assert_close(got, want, rtol=close[0], atol=close[1])


@compiled
def test_the_same_threads_give_the_same_sums() -> None:
    torch.manual_seed(0)
    norm, x = NormSiLU(32, "dreamer2025"), torch.randn(5000, 32)
    first, second = (torch.autograd.grad(norm(x).square().sum(), norm.scale)[0] for _ in range(2))
    assert torch.equal(first, second)


@compiled
def test_small_inputs_go_the_shorter_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused, "_LEAST", 12)
    assert fused.serves(torch.zeros(3, 4))
    assert not fused.serves(torch.zeros(11))
    assert not fused.serves(torch.zeros(3, 4), torch.zeros(3, 4).bfloat16())
    assert not fused.serves(torch.zeros(3, 4, dtype=torch.float64))
    assert not fused.serves(torch.zeros(3, 4, device="meta"))


@pytest.fixture
def anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty cache, and a library that is looked for again."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    native.library.cache_clear()
    yield tmp_path / "dynalang_py"
    native.library.cache_clear()


@compiled
def test_it_is_compiled_once(anew: Path) -> None:
    assert fused.available()
    (library,) = anew.iterdir()
    made = library.stat().st_mtime_ns
    native.library.cache_clear()
    assert fused.available()
    assert [path.stat().st_mtime_ns for path in anew.iterdir()] == [made]


@pytest.mark.parametrize("broken", [False, True])
def test_without_a_compiler_layers_do_without(
    anew: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: bool
) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    if broken:
        (tools / "g++").write_text("#!/bin/sh\nexit 1\n")
        (tools / "g++").chmod(0o755)
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", str(tools))
    assert not fused.available()
    assert not anew.exists() or not list(anew.iterdir())  # nothing half made
    assert Dense(6, 4, "dreamer2025")(torch.randn(2, 6)).shape == (2, 4)
