"""What an agent would take of this machine's memory, told before any of it is taken."""

import resource
from collections.abc import Mapping
from pathlib import Path

import torch

from dynalang_py.behavior import ActorCriticConfig
from dynalang_py.contract import StepSpec
from dynalang_py.errors import UserError
from dynalang_py.world_model import WorldModelConfig

FLOAT = 4
LEARNED = 4
"""Copies of the weights while they are learned: weights, gradients and the optimiser's two averages."""
GIGA = 1e9


def refuse_what_no_memory_holds(
    parts: Mapping[str, int], device: torch.device, batch_bytes: int = 0, *, learns: bool = False
) -> None:
    """Raise UserError if the device's memory can't hold an agent.

    parts: parameters of each part, as a parameter table tells them. batch_bytes: what an update takes beside them.
    """
    weights = parts["total"] * FLOAT * (LEARNED if learns else 1)
    have = memory(device)
    if weights + batch_bytes <= have:
        return
    largest = max((name for name in parts if name != "total"), key=lambda name: parts[name], default="total")
    if weights > batch_bytes:
        lower = f"lower the widths of model or behavior (most parameters are in {largest}), or name a smaller --size"
    else:
        lower = "lower batch_size, batch_length, behavior.horizon, behavior.starts or the sizes of images"
    what = f"{weights / GIGA:,.1f} GB for {'weights, gradients and the optimiser' if learns else 'its weights'}"
    what += f" and {batch_bytes / GIGA:,.1f} GB for a batch" if batch_bytes else ""
    raise UserError(
        f"this would be a model of {parts['total']:,} parameters, which takes about {what}; this machine has"
        f" {have / GIGA:,.1f} GB; {lower}"
    )


def memory(device: torch.device) -> float:
    """Bytes that the device has: of a CPU what the machine, its container and the process's limit allow."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    limits = [float(resource.getrlimit(resource.RLIMIT_AS)[0])]
    limits = [limit for limit in limits if limit >= 0]
    for path, unit in (
        ("/proc/meminfo", 1024),
        ("/sys/fs/cgroup/memory.max", 1),
        ("/sys/fs/cgroup/memory/memory.limit_in_bytes", 1),
    ):
        try:
            first = Path(path).read_text().split("\n", 1)[0]
        except OSError:
            continue
        digits = "".join(filter(str.isdigit, first))  # "MemTotal: 123 kB", "123", "max"
        limits += [float(digits) * unit] if digits else []
    return min(limits, default=float("inf"))


def batch_bytes(
    spec: StepSpec, model: WorldModelConfig, behavior: ActorCriticConfig | None, batch: int, length: int
) -> int:
    """About what an update on a batch of B windows of T steps takes: what its backward pass needs to remember.

    From a third to all of what was measured: meant to refuse what can't be, not to promise what can.
    """
    rssm, encoder, decoder, heads = model.rssm, model.encoder, model.decoder, model.heads
    pixels = sum(height * width for height, width, _ in spec.images.values())
    values = sum(height * width * channels for height, width, channels in spec.images.values())
    stoch = rssm.stoch * rssm.classes
    if encoder.patch:
        stoch += pixels // encoder.patch**2 * rssm.patch_stoch * rssm.classes
    feature = rssm.deter + stoch
    floats = 4 * values + 4 * feature + 4 * rssm.deter + 4 * rssm.hidden + 2 * spec.vocab + 2 * spec.token_embed
    floats += 0 if encoder.patch else 2 * pixels * encoder.cnn_depth
    floats += 3 * (encoder.units * encoder.layers + decoder.units * decoder.layers + 2 * heads.units * heads.layers)
    steps = batch * length
    total = steps * floats
    if behavior is not None:
        dreams = max(1, round(steps * behavior.starts)) * (behavior.horizon + 1)
        total += dreams * (2 * feature + 4 * behavior.units * behavior.layers + 2 * 255)
    return FLOAT * total
