"""Agents of a few hundred weights, and the windows that they learn from."""

from typing import Any

import numpy as np
import torch

from dynalang_py.agent import Agent, Precision
from dynalang_py.behavior import ActorCriticConfig
from dynalang_py.contract import StepSpec
from dynalang_py.nn.layers import Family
from dynalang_py.nn.optim import OptimizerConfig
from dynalang_py.world_model import RSSMConfig, WorldModelConfig
from dynalang_py.world_model.decoder import DecoderConfig
from dynalang_py.world_model.encoder import EncoderConfig
from dynalang_py.world_model.map import MapConfig
from dynalang_py.world_model.model import HeadConfig

Arrays = dict[str, np.ndarray[Any, Any]]
CPU = torch.device("cpu")
SPEC = StepSpec(images={"image": (16, 16, 3)}, vocab=300, actions=(3,))
MULTI = StepSpec(images={"image": (16, 16, 3)}, vocab=5, actions=(3, 4))
FLOATS = StepSpec(vectors={"state": 4}, continuous=2)
BATCH, LENGTH = 3, 6
FAMILIES: tuple[Family, ...] = ("dreamer2023", "dreamer2025")


def agent(
    spec: StepSpec = SPEC,
    family: Family = "dreamer2025",
    *,
    precision: Precision = "float32",
    seed: int = 0,
    lr: float = 1e-3,
    compile: bool = False,
    tiles: bool = False,
    **behavior: Any,
) -> Agent:
    """tiles: whether patches of 8×8 pixels are named by prototypes, and a map is kept of them."""
    modern = family == "dreamer2025"
    model = WorldModelConfig(
        family=family,
        encoder=EncoderConfig(cnn_depth=2, units=8, layers=1, patch=8 * tiles, prototypes=tiles),
        rssm=RSSMConfig(
            deter=8, hidden=8, stoch=4, classes=4, blocks=2, patch_stoch=1, map=MapConfig(width=3, beyond=2)
        ),
        decoder=DecoderConfig(units=8, layers=1),
        heads=HeadConfig(units=8),
        stored_latents=modern,
    )
    settings = {"units": 8, "layers": 1, "horizon": 3, "discounted_continue": modern, "replay_value": 0.3 * modern}
    optimizer = OptimizerConfig(joint=modern, lr=lr, behavior_lr=lr, warmup=0)
    return Agent(
        spec,
        model=model,
        behavior=ActorCriticConfig(**{**settings, **behavior}),
        optimizer=optimizer,
        device=CPU,
        precision=precision,
        compile=compile,
        seed=seed,
    )


def steps(agent: Agent, *lead: int, seed: int = 0) -> Arrays:
    """Steps (…) as replay gives them, the agent's own latents among them."""
    random = np.random.default_rng(seed)
    batch: Arrays = {}
    fields = {**agent.spec.fields(), **agent.replay_fields(), **agent.expert_fields()}
    for name, (shape, dtype) in fields.items():
        if np.issubdtype(dtype, np.floating):
            batch[name] = random.normal(size=(*lead, *shape)).astype(dtype)
        else:
            batch[name] = random.integers(0, 256 if len(shape) == 3 else 2, (*lead, *shape)).astype(dtype)
    for name in ("is_first", "is_last", "is_terminal"):
        batch[name][...] = False
    return batch


def window(agent: Agent, seed: int = 0) -> Arrays:
    batch = steps(agent, BATCH, agent.replay_context + LENGTH, seed=seed)
    batch["is_last"][0, 3] = batch["is_terminal"][0, 3] = batch["is_first"][0, 4] = True
    return batch


def weights(agent: Agent, prefix: str = "") -> dict[str, torch.Tensor]:
    state = agent.state_dict()
    return {
        name: value.clone() for name, value in state.items() if name.startswith(prefix or ("world_model", "behavior"))
    }
