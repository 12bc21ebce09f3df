"""`dynalang vln check`: what there is to navigate, in a table."""

import json
from dataclasses import asdict
from pathlib import Path

from dynalang_py.envs.vln.check import Report, Split, inspect, trouble
from dynalang_py.errors import UserError, command
from dynalang_py.run.console import Countdown, Face, Progress
from dynalang_py.tokenizers import load
from dynalang_py.tokenizers.coverage import MOST_UNKNOWN


def check(data: Path, scenes: Path | None, tokenizer: str = "houses", *, as_json: bool = False) -> None:
    """Print what was found below `data`, and how much of its instructions a tokenizer can say.

    Raises UserError if nothing of it can be walked.
    """
    words, face = load(tokenizer), Face(quiet=as_json)
    with Progress(face) as live:
        counts: dict[str, Countdown] = {}

        def progress(split: str, done: int, total: int) -> None:
            if split not in counts:
                counts[split] = live.counting("scenes looked at", total, f"{split}: ")
            counts[split](done)

        report = inspect(data, scenes, progress, words)
    if as_json:
        print(json.dumps(_plain(report), indent=2))
    else:
        face.table(f"Episodes in {data}", [(split.name, _line(split)) for split in report.splits])
        read = [split for split in report.splits if split.episodes]
        if read:
            rows = [(f"in {split.name}", str(split.words)) for split in read]
            face.table(f"Unknown words, with --env.tokenizer {command(tokenizer)}", rows)
        if any(split.words.share > MOST_UNKNOWN for split in read):
            own = next((command(split.path) for split in read if split.has_words), None)
            face.say(
                f"train and eval refuse more than {100 * MOST_UNKNOWN:g} % of unknown words (--most-unknown);"
                + (f" --env.tokenizer {own} is the word list of these instructions," if own else "")
                + " --env.tokenizer english can say any text."
            )
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
    splits = {
        split.name: asdict(split) | {"path": str(split.path), "usable": split.usable, "words": split.words.state()}
        for split in report.splits
    }
    return {"splits": splits, "simulators": {name: why or "ready" for name, why in report.simulators.items()}}
