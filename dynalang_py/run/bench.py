"""How fast the update is on this machine: synthetic batches, no environment, beside the machine's own peak."""

import json
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from typing import Annotated, Any

import numpy as np
import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from dynalang_py.agent import PARTS, Agent
from dynalang_py.bounds import Batch, Width, Within, check
from dynalang_py.config import Device, Precision, resolve_device, resolve_precision
from dynalang_py.contract import StepSpec
from dynalang_py.kernels import fused
from dynalang_py.nn.layers import Family
from dynalang_py.run import memory
from dynalang_py.run.compiling import compiling
from dynalang_py.run.console import Face, Progress, duration
from dynalang_py.run.machine import prepare, threads
from dynalang_py.sizes import parts as size_parts

FAMILIES: tuple[Family, ...] = ("dreamer2025", "dreamer2023")


@dataclass(frozen=True, kw_only=True)
class BenchConfig:
    """Time one full update: world model, imagination, actor and critic."""

    image: Annotated[int, Within(8, 1024)] = 64
    """Height and width of the image."""
    batch_size: Batch = 16
    """Windows in a batch (B)."""
    batch_length: Annotated[int, Within(2, 2**20)] = 64
    """Steps in a window (T)."""
    deter: Width = 512
    """D: width of the deterministic state."""
    stoch: Annotated[int, Within(1, 4096)] = 32
    """S: number of latents."""
    classes: Annotated[int, Within(2, 4096)] = 16
    """K: classes of each latent."""
    cnn_depth: Annotated[int, Within(1, 4096)] = 16
    """Channels of the image networks are multiples of this."""
    units: Width = 256
    """Width of all other layers."""
    horizon: Annotated[int, Within(1, 1024)] = 15
    """H: imagined steps."""
    actions: Annotated[int, Within(1, 4096)] = 10
    """Choices of the discrete action."""
    vocab: Annotated[int, Within(1, 2**17)] = 40
    """Token ids."""
    updates: Annotated[int, Within(1, 100_000)] = 7
    """Updates that are timed, after two that are not; the median counts."""
    device: Device = "auto"
    """Where to compute."""
    precision: Precision = "auto"
    """Type of the matrix products."""
    compile: bool = True
    """Compile with torch.compile; the first update then takes minutes."""
    json: bool = False
    """Print one JSON object instead of a table."""

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class Result:
    frames_per_s: float
    """Replayed steps (B·T) per second of updating."""
    seconds: float
    """Of one update: the median."""
    matmul_gflop: float
    """Multiplications and additions of one update in matrix products and convolutions, in units of 10⁹."""
    matmul_peak_gflops: float
    """What this machine does per second in one large product of the same type, in the same run."""
    matmul_share: float
    """Share of that peak which the update reaches."""
    parts: dict[str, float]
    """Seconds of each part of an update."""
    first_update_s: float
    """Seconds of the very first update, compilation included."""
    parameters: int
    threads: str
    """With how many PyTorch computed, and why with no more."""
    precision: str
    compiled: bool
    fused: bool
    """Whether kernels/fused.cpp computes what stands between matrix products."""


def main(config: BenchConfig) -> None:
    """`dynalang bench`."""
    prepare()
    with Progress(Face(quiet=True)) as progress, compiling() if config.compile else nullcontext():
        results = {family: bench(config, family, progress.silent) for family in FAMILIES}
    peaks = {name: matmul_peak(resolve_device(config.device), dtype) for name, dtype in _types(config).items()}
    if config.json:
        first = asdict(results[FAMILIES[0]])
        families = {family: asdict(result) for family, result in results.items()}
        sys.stdout.write(
            json.dumps({**first, "family": FAMILIES[0], "families": families, "peaks_gflops": peaks}) + "\n"
        )
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("", *results, title="One update")
    for label, show in _ROWS.items():
        table.add_row(label, *(show(result) for result in results.values()))
    for part in PARTS:
        table.add_row(f"{part}, ms", *(f"{1e3 * result.parts[part]:.0f}" for result in results.values()))
    for name, peak in peaks.items():
        table.add_row(f"matmul peak, {name}", *[f"{peak:,.0f} GFLOP/s"] * len(results))
    Console().print(table)


_ROWS: dict[str, Callable[[Result], str]] = {
    "frames/s": lambda r: f"{r.frames_per_s:,.0f}",
    "share of the matmul peak": lambda r: f"{r.matmul_share:.0%}",
    "GFLOP in matmuls": lambda r: f"{r.matmul_gflop:,.0f}",
    "parameters": lambda r: f"{r.parameters:,}",
    "threads": lambda r: r.threads,
    "precision": lambda r: r.precision + ", compiled" * r.compiled + ", fused" * r.fused,
    "first update, s": lambda r: f"{r.first_update_s:.1f}",
    "an update, ms": lambda r: f"{1e3 * r.seconds:.0f}",
}


def bench(config: BenchConfig, family: Family, tell: Callable[[str], None] = lambda line: None) -> Result:
    """Time the update of one family at the given sizes. tell: is told what begins."""
    device = resolve_device(config.device)
    precision = resolve_precision(config.precision, device)
    agent = _agent(config, family, device, precision, compile=config.compile)
    batch = _batch(config, agent)
    tell(f"{family}: the first update" + (", whose compilation takes minutes ..." if config.compile else " ..."))
    first = _timed(lambda: agent.update(batch), device)
    again = _timed(lambda: agent.update(batch), device)
    tell(f"{family}: {config.updates} updates, about {duration(config.updates * again)} ...")
    seconds = statistics.median(_timed(lambda: agent.update(batch), device) for _ in range(config.updates))
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        agent.update(batch)
    # The profiler slows everything down a little: its shares are kept, not its seconds.
    spans = {event.key: event.cpu_time_total for event in profiler.key_averages() if event.key in PARTS}
    scale = seconds / sum(spans.values())
    with FlopCounterMode(display=False) as counter:
        _agent(config, family, device, precision, compile=False).update(batch)
    gflop = counter.get_total_flops() / 1e9
    peak = matmul_peak(device, torch.bfloat16 if precision == "bfloat16" else torch.float32)
    return Result(
        frames_per_s=config.batch_size * config.batch_length / seconds,
        seconds=seconds,
        matmul_gflop=gflop,
        matmul_peak_gflops=peak,
        matmul_share=gflop / seconds / peak,
        parts={part: spans.get(part, 0.0) * scale for part in PARTS},
        first_update_s=first,
        parameters=agent.parameter_table()["total"],
        threads=threads(),
        precision=precision,
        compiled=config.compile,
        fused=device.type == "cpu" and fused.available(),
    )


def matmul_peak(device: torch.device, dtype: torch.dtype) -> float:
    """GFLOP/s of a 2048 × 2048 × 2048 product: the best of ten, since a peak is asked for."""
    a, b = (torch.randn(2048, 2048, device=device, dtype=dtype) for _ in range(2))
    _timed(lambda: a @ b, device)
    return 2 * 2048**3 / min(_timed(lambda: a @ b, device) for _ in range(10)) / 1e9


def _agent(config: BenchConfig, family: Family, device: torch.device, precision: Any, *, compile: bool) -> Agent:
    sizes = size_parts("cpu-large" if family == "dreamer2025" else "small")
    model, behavior = sizes["model"], sizes["behavior"]
    model = replace(
        model,
        encoder=replace(model.encoder, cnn_depth=config.cnn_depth, units=config.units),
        rssm=replace(model.rssm, deter=config.deter, hidden=config.units, stoch=config.stoch, classes=config.classes),
        decoder=replace(model.decoder, units=config.units),
        heads=replace(model.heads, units=config.units),
    )
    behavior = replace(behavior, units=config.units, horizon=config.horizon)
    spec = StepSpec(images={"image": (config.image, config.image, 3)}, vocab=config.vocab, actions=(config.actions,))
    if device.type != "meta":
        parts = _agent(config, family, torch.device("meta"), precision, compile=False).parameter_table()
        batch = memory.batch_bytes(spec, model, behavior, config.batch_size, config.batch_length)
        memory.refuse_what_no_memory_holds(parts, device, batch, learns=True)
    return Agent(
        spec,
        model=model,
        behavior=behavior,
        optimizer=sizes["optimizer"],
        device=device,
        precision=precision,
        compile=compile,
    )


def _batch(config: BenchConfig, agent: Agent) -> dict[str, np.ndarray[Any, Any]]:
    rng = np.random.default_rng(0)
    lead = (config.batch_size, config.batch_length + agent.replay_context)
    limits = {"token": config.vocab, "action": config.actions, "stoch": config.classes}
    batch = {}
    for name, (shape, dtype) in {**agent.spec.fields(), **agent.replay_fields()}.items():
        if dtype == np.bool_:
            batch[name] = rng.random(lead) < (0.02 if name != "is_terminal" else 0)
        elif np.issubdtype(dtype, np.integer):
            batch[name] = rng.integers(0, limits.get(name, 256), (*lead, *shape)).astype(dtype)
        else:
            batch[name] = rng.uniform(-1, 1, (*lead, *shape)).astype(dtype)
    return batch


def _types(config: BenchConfig) -> dict[str, torch.dtype]:
    device = resolve_device(config.device)
    types = {"float32": torch.float32}
    if resolve_precision("auto", device) == "bfloat16":
        types["bfloat16"] = torch.bfloat16
    return types


def _timed(work: Callable[[], Any], device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    start = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start
