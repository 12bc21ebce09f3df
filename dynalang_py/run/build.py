"""From settings to the parts of a run."""

from pathlib import Path

import torch

from dynalang_py.agent import Agent
from dynalang_py.config import Config, resolve_device, resolve_precision
from dynalang_py.contract import StepSpec
from dynalang_py.kernels import fused
from dynalang_py.replay import Replay


def build_agent(config: Config, spec: StepSpec, device: torch.device | None = None) -> Agent:
    """An untrained agent for environments of this spec. device: instead of the one in the settings."""
    device = device or resolve_device(config.device)
    return Agent(
        spec,
        model=config.model,
        behavior=config.behavior,
        optimizer=config.optimizer,
        device=device,
        precision=resolve_precision(config.precision, device),
        compile=config.compile,
        seed=config.seed,
    )


def build_replay(config: Config, spec: StepSpec, agent: Agent, path: Path) -> Replay:
    """The replay below `path`, with room for what the agent wants to keep beside each step."""
    return Replay(
        path,
        {**spec.fields(), **agent.replay_fields(), **agent.expert_fields()},
        streams=config.envs,
        capacity=config.replay.capacity,
        online=config.replay.online,
        length=config.batch_length,
        context=agent.replay_context,
        seed=config.seed,
    )


def computes(device: torch.device, precision: str, *, compiled: bool) -> str:
    """How updates are computed here, in words."""
    words = [device.type, precision] + ["compiled"] * compiled
    if device.type == "cpu":
        words.append(
            "fused kernels" if fused.available() else "no fused kernels (they need a C++ compiler such as g++)"
        )
    return ", ".join(words)
