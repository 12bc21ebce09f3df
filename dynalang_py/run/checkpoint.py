"""Checkpoints: one safetensors file each, tensors plus JSON, never code.

A file appears under its name only when all of it is on disk, and the previous ones stay until then. A file whose
content does not match its checksum counts as damaged; loading falls back to the one before it. The checksum is over the
whole file, header and padding included.
"""

import json
import os
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, BinaryIO

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from dynalang_py import files, reading
from dynalang_py.errors import UserError

KEEP = 2
"""How many checkpoints of a run are kept."""
MOST_HEADER = 100_000_000
"""Bytes; safetensors itself reads no longer header."""

Check = Callable[[Mapping[str, Any]], None]

_NAME = re.compile(r"step-\d{12}\.safetensors")
_CRC, _BLANK = "file_crc32", b" " * 8


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
    files.check_own(folder, folder=True)
    path = folder / f"step-{step:012d}.safetensors"
    flat = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    try:
        files.sweep(folder, _NAME.pattern)
        with files.replacing(path) as partial:
            partial.touch()
            mode = partial.stat().st_mode
            save_file(flat, partial, metadata={"state": json.dumps(state), _CRC: _BLANK.decode()})
            _seal(partial)
            with suppress(PermissionError):  # some disks know no modes
                partial.chmod(mode)  # safetensors would leave it to its owner alone
        _remove(find(folder)[KEEP:])
    except (SafetensorError, OSError) as error:
        previous = find(folder)
        kept = f"the last good checkpoint is {previous[0]}" if previous else "there is no earlier checkpoint"
        why = (isinstance(error, OSError) and error.strerror) or error
        raise UserError(f"the checkpoint {path} could not be written ({why}); {kept}") from error
    return path


def find(folder: Path) -> list[Path]:
    """The checkpoints in a folder, newest first; what others called step-best or so is none."""
    if not folder.is_dir():
        return []
    return sorted((path for path in folder.iterdir() if _NAME.fullmatch(path.name)), reverse=True)


def forget_after(folder: Path, step: int) -> None:
    """Delete the checkpoints of later steps: the run that made them goes on from before."""
    _remove(path for path in find(folder) if int(path.stem.removeprefix("step-")) > step)


def set_aside(checkpoint: Checkpoint) -> None:
    """Rename the damaged checkpoints that are newer than this one, or they would pass for the newest for ever."""
    for path in checkpoint.damaged:
        free = (path.with_suffix(f".damaged{number or ''}") for number in count())
        path.rename(next(name for name in free if not os.path.lexists(name)))


def load(folder: Path, check: Check = lambda state: None) -> Checkpoint | None:
    """The newest checkpoint that is whole; None if the folder has none at all. Raises UserError if all are damaged.

    check: raises ValueError for a state that the caller could not go on with, which counts as damage.
    """
    files.check_own(folder, folder=True)
    damaged, dropped = dict[Path, str](), set[Path]()
    while found := [path for path in find(folder) if path not in damaged and path not in dropped]:
        path = found[0]
        try:
            tensors, state = _read(path)
            check(state)
        except FileNotFoundError:  # by the run that makes them, while we looked
            dropped.add(path)
            continue
        except (SafetensorError, OSError, ValueError, RuntimeError, UserError) as error:
            damaged[path] = f"{path} is damaged ({error})"
            continue
        return Checkpoint(path, tensors, state, damaged)
    if damaged:
        raise UserError("no checkpoint can be read: " + "; ".join(damaged.values()))
    return None


@contextmanager
def fitting(checkpoint: Checkpoint) -> Iterator[None]:
    """While a checkpoint's content is taken up: what can't be taken up is told as a UserError that names the file."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{checkpoint.path} can't be gone on with: {error}") from error
    except (RuntimeError, TypeError, ValueError, LookupError, AttributeError, OverflowError) as error:
        raise UserError(f"{checkpoint.path} can't be gone on with: {error!r}") from error


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


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        if not path.is_dir():  # a folder is not ours, whatever its name
            path.unlink(missing_ok=True)


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    files.check_own(path)
    whole = _is_whole(path)
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata() or {}
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (not a mapping)
    if not whole and _checksum(tensors) != metadata.get("checksum"):
        raise ValueError("its content does not match its checksum")
    state = reading.parse_json(metadata.get("state", ""), "its state")
    if not isinstance(state, dict):
        raise ValueError("it holds no state")
    return tensors, state


def _seal(path: Path) -> None:
    """Put the CRC-32 of all bytes of the file, with blanks in its own place, into the header."""
    with path.open("r+b") as file:
        place, crc = _crc(file)
        assert place is not None, "the header has no place for it"
        file.seek(place)
        file.write(b"%08x" % crc)


def _is_whole(path: Path) -> bool:
    """Whether the file says so itself; those of earlier versions know a checksum of their tensors alone.

    Raises ValueError if it says otherwise.
    """
    with path.open("rb") as file:
        place, crc = _crc(file)
        if place is None:
            return False
        file.seek(place)
        if file.read(len(_BLANK)) != b"%08x" % crc:
            raise ValueError("its content does not match its checksum")
    return True


def _crc(file: BinaryIO) -> tuple[int | None, int]:
    """Where in the file its checksum stands, and what it should be: against disks, not against adversaries."""
    size = int.from_bytes(file.read(8), "little")
    if size > MOST_HEADER:
        raise ValueError(f"its header has {size:,} bytes; {MOST_HEADER:,} are allowed")
    header = file.read(size)
    # A quote inside of a text in the header has a backslash before it, so this is the key and no content.
    found = re.search(rb'"%s":"([0-9a-f ]{8})"' % _CRC.encode(), header)
    if found is None:
        return None, 0
    begin, end = found.span(1)
    crc = zlib.crc32(header[:begin] + _BLANK + header[end:], zlib.crc32(size.to_bytes(8, "little")))
    while block := file.read(1 << 22):
        crc = zlib.crc32(block, crc)
    return 8 + begin, crc


def _checksum(tensors: Mapping[str, Tensor]) -> str:
    """CRC-32 over names and bytes, which was all that earlier versions had."""
    crc = 0
    for name in sorted(tensors):
        crc = zlib.crc32(name.encode(), crc)
        crc = zlib.crc32(tensors[name].reshape(-1).view(torch.uint8).numpy().data, crc)
    return f"{crc:08x}"
