"""`dynalang slim RUN`: leave what evaluation and sharing need, and free what only going on needs."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from dynalang_py.errors import UserError, command
from dynalang_py.run import checkpoint as checkpoints
from dynalang_py.run.console import Face
from dynalang_py.run.folder import RunFolder
from dynalang_py.text.tokens import PARTS

OPTIMIZER = "optimizer/"
"""How the names of tensors begin that only learning needs."""

SLIMMED = "dynalang: this run was slimmed: what its optimiser remembered is gone; it begins afresh"


def slimmed(checkpoint: checkpoints.Checkpoint) -> bool:
    """Whether learning goes on from here without what its optimiser remembered."""
    learned = int(checkpoint.tensors["updates"]) > 0
    return learned and not any(name.startswith(OPTIMIZER) for name in checkpoint.tensors)


def slim(folder: RunFolder) -> int:
    """Free what is not needed to evaluate a run or to show it; say what that was, and return the bytes.

    The newest checkpoint stays without what optimisers remember; older ones, replay and encoded text go. Whoever is
    killed here leaves a run of which something is freed, and nothing half. Raises UserError for a folder that is no
    run, a run that is in use, and one without a whole checkpoint.
    """
    if not folder.config.exists():
        raise UserError(f"{folder.path} is not a run: it has no config.json")
    face, rows = Face(), list[tuple[str, int]]()
    with folder.locked():
        newest = checkpoints.load(folder.checkpoints)
        if newest is None:
            raise UserError(f"{folder.path} has no checkpoint yet, so nothing of it could be evaluated; it stays whole")
        for what, freed in (
            ("what optimisers remember", _without_optimizers(newest)),
            ("older checkpoints", _delete(_older(folder, newest.path))),
            ("replay", _delete(_of(folder.replay, "*.raw", "counters.check", "meta.json", "meta.json.new"))),
            ("encoded text", _delete(_encoded(folder.tokens))),
        ):
            rows.append((what, freed))
    total = sum(freed for _, freed in rows)
    shown = [(what, f"{freed / 1e6:,.1f} MB") for what, freed in rows if freed]
    left = sum(_size(file) for file in folder.path.rglob("*") if file.is_file())
    face.table(
        f"Freed {total / 1e6:,.1f} MB",
        [*shown, ("left", f"{left / 1e6:,.1f} MB"), ("evaluate", command("dynalang", "eval", folder.path))],
    )
    return total


def _without_optimizers(checkpoint: checkpoints.Checkpoint) -> int:
    kept = {name: value for name, value in checkpoint.tensors.items() if not name.startswith(OPTIMIZER)}
    if len(kept) == len(checkpoint.tensors):
        return 0
    before = _size(checkpoint.path)
    step = int(checkpoint.path.stem.removeprefix("step-"))
    checkpoints.save(checkpoint.path.parent, step, kept, checkpoint.state)
    return before - _size(checkpoint.path)


def _older(folder: RunFolder, newest: Path) -> Iterator[Path]:
    yield from (path for path in checkpoints.find(folder.checkpoints) if path != newest)
    yield from _of(folder.checkpoints, "step-*.damaged*")
    yield from checkpoints.find(folder.path / "best")


def _encoded(tokens: Path) -> Iterator[Path]:
    for folder in tokens.glob("[0-9a-f]" * 16):
        if not folder.is_symlink():  # what it leads to may be anybody's
            yield from _of(folder, "meta.json", *PARTS, "starts.npy", "characters.npy")


def _of(folder: Path, *patterns: str) -> Iterator[Path]:
    """Files of ours in a folder of ours, the ones that describe it first: without them the rest counts for nothing."""
    found = {path for pattern in patterns for path in folder.glob(pattern)}
    yield from sorted(found, key=lambda path: (not path.name.startswith("meta"), path))


def _delete(files: Iterator[Path]) -> int:
    """Delete files and the folders that they leave empty; returns the bytes on the disk."""
    freed = 0
    folders = set[Path]()
    for path in files:
        if path.is_symlink() or not path.is_file():
            continue
        freed += _size(path)
        path.unlink()
        folders.add(path.parent)
    for folder in folders:
        with suppress(OSError):  # somebody keeps something there
            folder.rmdir()
    return freed


def _size(path: Path) -> int:
    return path.stat().st_blocks * 512
