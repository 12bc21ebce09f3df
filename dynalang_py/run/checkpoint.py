"""Checkpoints: one safetensors file each, tensors plus JSON, never code.

A file appears under its name only when all of it is on disk, and the previous ones stay until then. A file whose
content does not match its checksum counts as damaged; loading falls back to the one before it.
"""

import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from dynalang_py import files
from dynalang_py.errors import UserError

KEEP = 2
"""How many checkpoints of a run are kept."""


@dataclass(frozen=True)
class Checkpoint:
    path: Path
    tensors: dict[str, Tensor]
    state: dict[str, Any]
    """Counters, settings, replay position and generators, as plain JSON values."""
    damaged: dict[Path, str] = field(default_factory=dict)
    """What is wrong with each newer checkpoint that could not be read."""


@dataclass(frozen=True)
class PartReport:
    """What became of each tensor when parts of a checkpoint were taken over."""

    loaded: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    """In the checkpoint but not in the chosen parts, or not in this agent."""
    mismatched: list[str] = field(default_factory=list)
    """In both with different shapes; kept as it was."""


def save(folder: Path, step: int, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> Path:
    """Write a checkpoint and drop all but the newest ones. Raises UserError if the disk can't take it."""
    path = folder / f"step-{step:012d}.safetensors"
    flat = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    for leftover in folder.glob(".*"):  # of a process that was killed while it saved
        leftover.unlink()
    try:
        with files.replacing(path) as partial:
            partial.touch()
            mode = partial.stat().st_mode
            save_file(flat, partial, metadata={"state": json.dumps(state), "checksum": _checksum(flat)})
            partial.chmod(mode)  # safetensors would leave it to its owner alone
    except (SafetensorError, OSError) as error:
        previous = find(folder)
        kept = f"the last good checkpoint is {previous[0]}" if previous else "there is no earlier checkpoint"
        raise UserError(f"the checkpoint {path} could not be written ({error}); {kept}") from error
    for old in find(folder)[KEEP:]:
        old.unlink()
    return path


def find(folder: Path) -> list[Path]:
    """The checkpoints in a folder, newest first."""
    return sorted(folder.glob("step-*.safetensors"), reverse=True)


def forget_after(folder: Path, step: int) -> None:
    """Delete the checkpoints of later steps: the run that made them goes on from before."""
    for path in find(folder):
        if int(path.stem.removeprefix("step-")) > step:
            path.unlink()


def set_aside(checkpoint: Checkpoint) -> None:
    """Rename the damaged checkpoints that are newer than this one, or they would pass for the newest for ever."""
    for path in checkpoint.damaged:
        path.rename(path.with_suffix(".damaged"))


def load(folder: Path) -> Checkpoint | None:
    """The newest checkpoint that is whole; None if the folder has none at all. Raises UserError if all are damaged."""
    damaged: dict[Path, str] = {}
    for path in find(folder):
        try:
            tensors, state = _read(path)
        except (SafetensorError, OSError, ValueError, KeyError) as error:
            damaged[path] = f"{path} is damaged ({error})"
            continue
        return Checkpoint(path, tensors, state, damaged)
    if damaged:
        raise UserError("no checkpoint can be read: " + "; ".join(damaged.values()))
    return None


def take_parts(
    agent: Mapping[str, Tensor], tensors: Mapping[str, Tensor], parts: Sequence[str]
) -> tuple[dict[str, Tensor], PartReport]:
    """The agent's tensors with those of the chosen parts replaced by the checkpoint's.

    A part is a prefix of names, such as "world_model" or "world_model/encoder". Raises UserError for a part that the
    checkpoint does not have.
    """
    for part in parts:
        if not any(_within(name, part) for name in tensors):
            heads = sorted({"/".join(name.split("/")[:2]) for name in tensors})
            raise UserError(f"the checkpoint has no part {part!r}; it has {', '.join(heads)}")
    merged, report = dict(agent), PartReport()
    for name, tensor in tensors.items():
        if name not in agent or not any(_within(name, part) for part in parts):
            report.skipped.append(name)
        elif agent[name].shape != tensor.shape:
            report.mismatched.append(name)
        else:
            merged[name] = tensor
            report.loaded.append(name)
    return merged, report


def _within(name: str, part: str) -> bool:
    return name == part or name.startswith((part + "/", part + "."))


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata() or {}
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (not a mapping)
    state = json.loads(metadata["state"])
    if _checksum(tensors) != metadata["checksum"]:
        raise ValueError("its content does not match its checksum")
    if not isinstance(state, dict):
        raise ValueError("it holds no state")
    return tensors, state


def _checksum(tensors: Mapping[str, Tensor]) -> str:
    """CRC-32 over names and bytes: against disks, not against adversaries."""
    crc = 0
    for name in sorted(tensors):
        crc = zlib.crc32(name.encode(), crc)
        crc = zlib.crc32(tensors[name].reshape(-1).view(torch.uint8).numpy().data, crc)
    return f"{crc:08x}"
