"""`dynalang vln check`: what there is to navigate, in a table."""

import json
from dataclasses import asdict
from pathlib import Path

from dynalang_py.envs.vln.check import Report, Split, inspect, trouble
from dynalang_py.errors import UserError
from dynalang_py.run.console import Countdown, Face, Progress


def check(data: Path, scenes: Path | None, *, as_json: bool = False) -> None:
    """Print what was found below `data`. Raises UserError if nothing of it can be walked."""
    face = Face(quiet=as_json)
    with Progress(face) as live:
        counts: dict[str, Countdown] = {}

        def progress(split: str, done: int, total: int) -> None:
            if split not in counts:
                counts[split] = live.counting("scenes looked at", total, f"{split}: ")
            counts[split](done)

        report = inspect(data, scenes, progress)
    if as_json:
        print(json.dumps(_plain(report), indent=2))
    else:
        face.table(f"Episodes in {data}", [(split.name, _line(split)) for split in report.splits])
        face.table("Simulators", [(name, why or "ready") for name, why in report.simulators.items()])
    if report.obstacle:
        raise UserError(report.obstacle)


def _line(split: Split) -> str:
    if split.problem:
        return trouble(split)
    scenes = "1 scene" if split.scenes == 1 else f"{split.scenes} scenes"
    truth = "with ground truth" if split.has_truth else "without ground truth"
    notes = f"; {split.notes:,} values are wrong that nothing needs, such as in {split.note}" if split.notes else ""
    return f"{split.episodes:,} episodes in {scenes}, {truth}; {trouble(split) or 'ready'}{notes}"


def _plain(report: Report) -> dict[str, object]:
    splits = {split.name: asdict(split) | {"path": str(split.path), "usable": split.usable} for split in report.splits}
    return {"splits": splits, "simulators": {name: why or "ready" for name, why in report.simulators.items()}}
