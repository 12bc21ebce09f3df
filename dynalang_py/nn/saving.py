"""What checkpoints of agents and readers have in common: optimisers' state by parameter name, and what must fit."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from dynalang_py.errors import UserError
from dynalang_py.nn.optim import LaProp

Optimizers = Mapping[str, torch.optim.Optimizer]


def checked(state: Mapping[str, Tensor], prefix: str, own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors below a prefix; UserError names the first that is missing, unknown or of another shape."""
    found = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
    for name, value in own.items():
        if name not in found:
            raise UserError(f"the checkpoint has no {prefix + name!r}, which is needed here")
        if found[name].shape != value.shape:
            raise UserError(
                f"{prefix + name!r} has shape {tuple(found[name].shape)} in the checkpoint, {tuple(value.shape)} here"
            )
    for name in found.keys() - own.keys():
        raise UserError(f"the checkpoint has {prefix + name!r}, which is not known here")
    return found


def optimizer_state(optimizers: Optimizers, params: Mapping[str, nn.Parameter]) -> dict[str, Tensor]:
    """All that optimisers remember, as `optimizer/OPTIMISER/PARAMETER/KEY` → tensor."""
    names: dict[Tensor, str] = {param: name for name, param in params.items()}
    return {
        f"optimizer/{part}/{names[param]}/{key}": torch.as_tensor(value).detach()
        for part, optimizer in optimizers.items()
        for param, values in optimizer.state.items()
        for key, value in values.items()
    }


def load_optimizer_state(
    optimizers: Optimizers, params: Mapping[str, nn.Parameter], state: Mapping[str, Tensor], device: torch.device
) -> None:
    """Put back what `optimizer_state` gave. Raises UserError for an optimiser or a parameter that isn't here."""
    strange = {name.split("/")[1] for name in state if name.startswith("optimizer/")} - optimizers.keys()
    if strange:
        raise UserError(f"the checkpoint has the optimizer {min(strange)!r}; here there are {', '.join(optimizers)}")
    for part, optimizer in optimizers.items():
        optimizer.state.clear()
        prefix = f"optimizer/{part}/"
        for name in (name for name in state if name.startswith(prefix)):
            owner, _, key = name.removeprefix(prefix).rpartition("/")
            if owner not in params:
                raise UserError(f"the checkpoint has {name!r}, which is not known here")
            value = state[name]
            kept = value.to(device, copy=True) if value.ndim else _scalar(optimizer, value)
            optimizer.state[params[owner]][key] = kept


def _scalar(optimizer: torch.optim.Optimizer, value: Tensor) -> Any:
    return int(value) if isinstance(optimizer, LaProp) else value.clone()
