"""What stands between two matrix products on a CPU, in one pass over memory each (fused.cpp).

PyTorch goes over memory once for each operation, and code that torch.compile makes once for each reduction. Where no
C++ compiler is found, and on other devices, the layers compute the same by PyTorch's operations.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from dynalang_py.kernels import native

_MOST_CLASSES = 1024  # as in fused.cpp
_LEAST = 2**16  # numbers; with fewer, the way there takes longer than PyTorch's operations


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def available() -> bool:
    """Whether fused.cpp could be compiled here."""
    return native.library() is not None


def serves(*tensors: Tensor) -> bool:
    """Whether these tensors lie where fused.cpp reaches them, are of one type that it knows, and large enough."""
    first = tensors[0]
    return (
        first.numel() >= _LEAST
        and first.dtype in (torch.float32, torch.bfloat16)
        and all(x.device.type == "cpu" and x.dtype == first.dtype for x in tensors)
        and available()
    )


def norm_silu(x: Tensor, scale: Tensor, offset: Tensor | None, epsilon: float) -> Tensor:
    """SiLU of the norm over the last axis: LayerNorm with an offset, RMSNorm without; statistics in float32.

    x (…, width); scale, offset (width,) float32 → (…, width) as x.
    """
    # As rows: torch.compile would take (N, h, w, C) for (N, C, h, w) and copy it into a layout that suits convolutions.
    y: Tensor = _NormSiLU.apply(x.reshape(-1, x.shape[-1]), scale, offset, epsilon, 0)
    return y.view(x.shape)


def norm_silu_interleave(phases: Tensor, scale: Tensor, offset: Tensor | None, epsilon: float) -> Tensor:
    """interleave(norm_silu(phases)): (N, h, w, 4, C) → (N, 2h, 2w, C)."""
    n, height, width, _, channels = phases.shape
    y: Tensor = _NormSiLU.apply(phases.reshape(-1, channels), scale, offset, epsilon, width)
    return y.view(n, 2 * height, 2 * width, channels)


def gru(gates: Tensor, deter: Tensor) -> Tensor:
    """A gated recurrent unit, gates before their non-linearity: (…, 3, width) reset, candidate, update, and the state
    (…, width) → the next state. The update gate is biased towards remembering by 1."""
    after: Tensor = _GRU.apply(gates, deter)
    return after


def interleave(phases: Tensor) -> Tensor:
    """(N, h, w, 4, C) → (N, 2h, 2w, C)."""
    n, height, width, _, channels = phases.shape
    out: Tensor = _Interleave.apply(phases.flatten(1), width, channels)
    return out.view(n, 2 * height, 2 * width, channels)


def draw(logits: Tensor, noise: Tensor, share: float) -> Tensor:
    """One-hot samples, without gradient, of categoricals of which a share is uniform.

    logits (…, K); noise (…, 1) uniform in [0, 1) → (…, K) as logits.
    """
    assert noise.shape == (*logits.shape[:-1], 1)
    sample: Tensor = torch.ops.dynalang.draw(logits, noise, share)
    return sample


def draws(logits: Tensor) -> bool:
    """Whether `draw` serves logits (…, K)."""
    return serves(logits) and logits.shape[-1] <= _MOST_CLASSES


class _NormSiLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, offset: Tensor | None, epsilon: float, doubling: int) -> Tensor:
        y, stats = torch.ops.dynalang.norm_silu(x, scale, offset, epsilon, doubling)
        ctx.doubling = doubling
        ctx.save_for_backward(x, scale, offset, stats)
        return y

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, Tensor, Tensor | None, None, None]:
        x, scale, offset, stats = ctx.saved_tensors
        back, sums = torch.ops.dynalang.norm_silu_back(x, scale, offset, stats, slope, ctx.doubling)
        return back, sums[0], None if offset is None else sums[1], None, None


class _GRU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gates: Tensor, deter: Tensor) -> Tensor:
        ctx.save_for_backward(gates, deter)
        after: Tensor = torch.ops.dynalang.gru(gates, deter)
        return after

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, Tensor]:
        gates, deter = ctx.saved_tensors
        gates_back, deter_back = torch.ops.dynalang.gru_back(gates, deter, slope)
        return gates_back, deter_back


class _Interleave(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, phases: Tensor, width: int, channels: int) -> Tensor:
        ctx.sizes = width, channels
        out: Tensor = torch.ops.dynalang.interleave(phases, width, channels, False)
        return out

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, None, None]:
        return torch.ops.dynalang.interleave(slope, *ctx.sizes, True), None, None


# -- the operators -----------------------------------------------------------------------------------------------------


def _norm_silu(x: Tensor, scale: Tensor, offset: Tensor | None, epsilon: float, doubling: int) -> tuple[Tensor, Tensor]:
    x, y, stats = x.contiguous(), _new(x), x.new_empty((*x.shape[:-1], 2), dtype=torch.float32)
    rows, width = _rows(x)
    _call("norm_silu", x, scale.contiguous(), offset, y, stats, rows, width, doubling, epsilon)
    return y, stats


def _norm_silu_back(
    x: Tensor, scale: Tensor, offset: Tensor | None, stats: Tensor, slope: Tensor, doubling: int
) -> tuple[Tensor, Tensor]:
    x, back = x.contiguous(), _new(x)
    rows, width = _rows(x)
    sums = scale.new_zeros(_threads(x), 5, width)
    _call("norm_silu_back", x, scale.contiguous(), offset, stats, slope.contiguous(), back, sums, rows, width, doubling)
    return back, sums[:, :2].sum(0)


def _gru(gates: Tensor, deter: Tensor) -> Tensor:
    gates, deter, after = gates.contiguous(), deter.contiguous(), _new(deter)
    _call("gru", gates, deter, after, *_rows(deter))
    return after


def _gru_back(gates: Tensor, deter: Tensor, slope: Tensor) -> tuple[Tensor, Tensor]:
    gates, deter = gates.contiguous(), deter.contiguous()
    gates_back, deter_back = _new(gates), _new(deter)
    _call("gru_back", gates, deter, slope.contiguous(), gates_back, deter_back, *_rows(deter))
    return gates_back, deter_back


def _draw(logits: Tensor, noise: Tensor, share: float) -> Tensor:
    logits, sample = logits.contiguous(), _new(logits)
    _call("draw", logits, noise.contiguous(), sample, *_rows(logits), share)
    return sample


def _interleave(x: Tensor, width: int, channels: int, back: bool) -> Tensor:
    x, out = x.contiguous(), _new(x)
    _call("interleave", x, out, x.numel() // (4 * width * channels), width, channels * x.element_size(), int(back))
    return out


def _norm_silu_shapes(
    x: Tensor, scale: Tensor, offset: Tensor | None, epsilon: float, doubling: int
) -> tuple[Tensor, Tensor]:
    return _new(x), x.new_empty((*x.shape[:-1], 2), dtype=torch.float32)


def _norm_silu_back_shapes(
    x: Tensor, scale: Tensor, offset: Tensor | None, stats: Tensor, slope: Tensor, doubling: int
) -> tuple[Tensor, Tensor]:
    return _new(x), scale.new_empty(2, x.shape[-1])


def _gru_shapes(gates: Tensor, deter: Tensor) -> Tensor:
    return _new(deter)


def _gru_back_shapes(gates: Tensor, deter: Tensor, slope: Tensor) -> tuple[Tensor, Tensor]:
    return _new(gates), _new(deter)


def _new(x: Tensor) -> Tensor:
    return x.new_empty(x.shape)


def _rows(x: Tensor) -> tuple[int, int]:
    return x.numel() // x.shape[-1], x.shape[-1]


def _threads(x: Tensor) -> int:
    """As many as PyTorch uses, unless one is done before another has woken."""
    return torch.get_num_threads() if x.numel() > 2**15 else 1


def _call(name: str, first: Tensor, *others: Tensor | int | float | None) -> None:
    library = native.library()
    assert library is not None
    values = [value.data_ptr() if isinstance(value, Tensor) else value for value in others]
    library[name](first.dtype == torch.bfloat16, first.data_ptr(), *values, _threads(first))


# Operators of PyTorch, so that torch.compile takes each as it is.
_OPERATORS: dict[str, tuple[str, Callable[..., Any], Callable[..., Any]]] = {
    "norm_silu": (
        "(Tensor x, Tensor scale, Tensor? offset, float epsilon, int doubling) -> (Tensor, Tensor)",
        _norm_silu,
        _norm_silu_shapes,
    ),
    "norm_silu_back": (
        "(Tensor x, Tensor scale, Tensor? offset, Tensor stats, Tensor slope, int doubling) -> (Tensor, Tensor)",
        _norm_silu_back,
        _norm_silu_back_shapes,
    ),
    "gru": ("(Tensor gates, Tensor deter) -> Tensor", _gru, _gru_shapes),
    "gru_back": ("(Tensor gates, Tensor deter, Tensor slope) -> (Tensor, Tensor)", _gru_back, _gru_back_shapes),
    "draw": ("(Tensor logits, Tensor noise, float share) -> Tensor", _draw, lambda x, *_: _new(x)),
    "interleave": ("(Tensor x, int width, int channels, bool back) -> Tensor", _interleave, lambda x, *_: _new(x)),
}
for _name, (_schema, _compute, _shapes) in _OPERATORS.items():
    torch.library.define(f"dynalang::{_name}", _schema)
    torch.library.impl(f"dynalang::{_name}", "CPU", _compute)
    torch.library.register_fake(f"dynalang::{_name}", _shapes)
