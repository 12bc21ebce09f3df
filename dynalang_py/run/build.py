"""From settings to the parts of a run."""

from pathlib import Path
from typing import Any

import torch

from dynalang_py.agent import Agent
from dynalang_py.config import Config, resolve_device, resolve_precision
from dynalang_py.contract import StepSpec
from dynalang_py.kernels import fused
from dynalang_py.replay import Replay
from dynalang_py.run import memory


def build_agent(config: Config, spec: StepSpec, device: torch.device | None = None, *, learns: bool = False) -> Agent:
    """An untrained agent for environments of this spec. device: instead of the one in the settings.

    learns: whether it is to be updated, which takes more memory. Raises UserError where no memory here holds it.
    """
    device = device or resolve_device(config.device)
    if device.type != "meta":
        parts = build_agent(config, spec, torch.device("meta")).parameter_table()
        size, length = config.batch_size, config.batch_length
        batch = memory.batch_bytes(spec, config.model, config.behavior, size, length) if learns else 0
        memory.refuse_what_no_memory_holds(parts, device, batch, learns=learns)
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
    kept = agent.replay_fields()
    replay = Replay(
        path,
        {**spec.fields(), **kept, **agent.expert_fields()},
        streams=config.envs,
        capacity=config.replay.capacity,
        online=config.replay.online,
        length=config.batch_length,
        context=agent.replay_context,
        seed=config.seed,
    )
    ids: dict[str, Any] = {"token": spec.vocab} if spec.vocab else {}
    ids |= {"action": spec.actions} if spec.actions else {}
    ids |= {"stoch": agent.model.dynamics.config.classes} if "stoch" in kept else {}
    replay.check_ids(ids)
    return replay


def computes(device: torch.device, precision: str, *, compiled: bool) -> str:
    """How updates are computed here, in words."""
    words = [device.type, precision] + ["compiled"] * compiled
    if device.type == "cpu":
        words.append(
            "fused kernels" if fused.available() else "no fused kernels (they need a C++ compiler such as g++)"
        )
    return ", ".join(words)
