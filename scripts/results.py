"""The experiments behind results/: run one, keep its scores, draw its picture again from them.

    python scripts/results.py run babyai --seeds 0 1 2     # train and evaluate; minutes to hours, see EXPERIMENTS
    python scripts/results.py draw                         # redraw every picture and table from the kept scores

Experiments in houses make these first; what is evaluated in Habitat needs habitat-sim (docs/navigate.md).
Each seed keeps results/NAME/seed-N/{command.txt, config.json, curve.csv, eval.json, …}; nothing else is needed to draw.
"""

import argparse
import csv
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from dynalang_py.envs.vln.habitat import VARIABLE

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "results"
COLUMNS = ("step", "episodes", "minutes", "return", "success", "first_faced", "length")
COLOURS = ("#2f6fde", "#e07b1a", "#2a9d5b", "#9b51c4", "#c43f5c")


@dataclass(frozen=True)
class Experiment:
    train: list[str]
    """Arguments of `dynalang train`, but for seed and run folder."""
    evals: dict[str, list[str]]
    """Name → arguments of `dynalang eval`, but for the run. Those of Habitat are left out where habitat-sim isn't."""
    metric: str
    title: str
    published: dict[str, float] = field(default_factory=dict)
    """Levels to draw beside the curve, by name."""
    houses: list[str] | None = None
    """Arguments of `dynalang houses`, where the experiment needs a data set."""
    columns: tuple[str, ...] = ("success", "first_faced", "return")
    """What the table shows of each evaluation."""


LISTENING = {
    "eval": ["--episodes", "512"],
    "eval-shuffled": ["--episodes", "512", "--env.language", "shuffled"],
    "eval-random": ["--episodes", "512", "--policy", "random"],
}
UNSEEN = ["--split", "val_unseen"]
WALKING = {
    "eval": UNSEEN,
    "eval-seen-houses": ["--split", "val_seen"],
    "eval-blind": [*UNSEEN, "--blind"],
    "eval-deaf": [*UNSEEN, "--language", "shuffled"],
    "eval-random": [*UNSEEN, "--policy", "random"],
    "eval-expert": [*UNSEEN, "--policy", "expert"],
    "eval-habitat": [*UNSEEN, "--simulator", "habitat"],
    "eval-habitat-expert": [*UNSEEN, "--simulator", "habitat", "--policy", "expert"],
}
ALONE = ["--prefill", "10000", "--expert-prefill", "0", "--expert-share", "0", "--behavior.imitation", "0"]
"""No demonstration at all."""
MANY = ["--train", "600", "--instructions", "1", "--val-seen-paths", "1", "--furniture", "builtin"]
GOTO = ["--level", "goto", *MANY]
ROOMS = ["--level", "rooms", *MANY]


def _walking(houses: list[str], minutes: str, level: str, *extra: str) -> Experiment:
    return Experiment(
        houses=houses,
        train=["vln", *extra, "--minutes", minutes],
        evals=WALKING,
        metric="success",
        title=f"vln, level {level}, {minutes} minutes on one core",
        columns=("success", "spl", "osr", "ne", "ndtw", "return"),
    )


UNFORESEEN = ["--model.foresee-scale", "0"]
CONVOLUTIONS = [
    *["--model.encoder.no-prototypes", "--model.encoder.patch", "0", "--model.rssm.stoch", "16"],
    *["--model.rssm.classes", "16", "--model.rssm.unimix", "0.01", "--prefill", "1024"],
]
"""As in runs that have read: the image is not cut."""
HOMEGRID = {
    "eval": ["--episodes", "200"],
    "eval-shuffled": ["--episodes", "200", "--env.language", "shuffled"],
    "eval-random": ["--episodes", "200", "--policy", "random"],
}


def _tidying(minutes: str, how: str, *extra: str) -> Experiment:
    return Experiment(
        train=["homegrid-task", *extra, "--minutes", minutes],
        evals=HOMEGRID,
        metric="return",
        title=f"homegrid-task, {minutes} minutes on one core{how}",
        published={"random policy": 0.39, "Dynalang at 1.1M steps": 0.73},
    )


EXPERIMENTS = {
    "babyai": Experiment(
        train=["babyai"],
        evals=LISTENING,
        metric="success",
        title="BabyAI-GoToLocalS5N2-v0, five minutes on two cores",
    ),
    "gotodoor": Experiment(
        train=["gotodoor"],
        evals=LISTENING,
        metric="success",
        title="MiniGrid-GoToDoor-5x5-v0, fifteen minutes on one core",
    ),
    "babyai-local": Experiment(
        train=["babyai-local", "--eval-every", "0"],
        evals=LISTENING,
        metric="success",
        title="BabyAI-GoToLocal-v0 from pixels, one or two hours on one core",
    ),
    "homegrid-task": _tidying("60", ""),
    "homegrid-posterior": _tidying("60", ", rewards not foreseen", *UNFORESEEN),
    "homegrid-convolutions": _tidying("20", ", neither tiles nor foreseen rewards", *UNFORESEEN, *CONVOLUTIONS),
    "vln-goto": _walking(GOTO, "60", "goto: to a thing in the same room", "--env.max-steps", "60"),
    "vln-rooms": _walking(ROOMS, "60", "rooms, with demonstrations"),
    "vln-rooms-alone": _walking(ROOMS, "60", "rooms, without demonstrations", *ALONE),
}


def run(name: str, seed: int, extra: list[str]) -> None:
    """Train one seed of an experiment, evaluate it, and keep its scores; pictures too, of seed 0."""
    experiment = EXPERIMENTS[name]
    houses = ["--env.data", str(data_set(experiment.houses))] if experiment.houses else []
    arguments = [*experiment.train, *houses, "--seed", str(seed), *extra]
    folder = train(arguments, experiment.evals, name, f"seed-{seed}")
    for picture in ("episodes.gif", "open_loop.gif"):
        if seed == 0 and (folder / "pictures" / picture).exists():
            shutil.copy(folder / "pictures" / picture, RESULTS / name / picture)


def data_set(arguments: list[str]) -> Path:
    """Houses made by `dynalang houses` with these arguments, unless they are there."""
    folder = ROOT / "runs" / "results" / f"houses-{arguments[arguments.index('--level') + 1]}"
    if not folder.exists():
        subprocess.run(["dynalang", "houses", "--out", str(folder), *arguments], check=True, cwd=ROOT)
    return folder


def train(arguments: list[str], evals: dict[str, list[str]], name: str, part: str) -> Path:
    """`dynalang train` and every `dynalang eval`, their scores kept in results/NAME/PART; returns the run's folder."""
    folder = ROOT / "runs" / "results" / f"{name}-{part}"
    command = ["dynalang", "train", *arguments]
    subprocess.run([*command, "--run-dir", str(folder)], check=True, cwd=ROOT)
    keep(folder, " ".join(command), evals, RESULTS / name / part)
    return folder


def keep(folder: Path, command: str, evals: dict[str, list[str]], kept: Path) -> None:
    """Evaluate the run in `folder` and write its scores to `kept`."""
    kept.mkdir(parents=True, exist_ok=True)
    (kept / "command.txt").write_text(shown(command) + "\n")
    (kept / "config.json").write_text(shown((folder / "config.json").read_text()) + "\n")
    for label, options in evals.items():
        if "habitat" in options and not (os.environ.get(VARIABLE) or find_spec("habitat_sim")):
            continue
        evaluate = ["dynalang", "eval", str(folder), "--json", *options]
        printed = subprocess.run(evaluate, check=True, cwd=ROOT, stdout=subprocess.PIPE, text=True).stdout
        result: dict[str, Any] = json.loads(printed)
        made = {"command": " ".join(["dynalang", "eval", "RUN", *options]), "step": result["step"]}
        (kept / f"{label}.json").write_text(json.dumps({**made, "summary": result["summary"]}, indent=1) + "\n")
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    _write_curve(kept / "curve.csv", rows)


def shown(text: str) -> str:
    """Without the place of this checkout."""
    return text.replace(f"{ROOT}/", "").strip()


def _write_curve(path: Path, rows: list[dict[str, Any]]) -> None:
    """About 200 rows of training, each the mean of the episodes that ended in it."""
    done = [row for row in rows if row.get("episode/count") and "episode/return" in row]
    group = max(1, len(done) // 200)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for start in range(0, len(done), group):
            part = done[start : start + group]
            count = [row["episode/count"] for row in part]
            means = []
            for name in COLUMNS[3:]:
                pairs = [(row.get(f"episode/{name}"), n) for row, n in zip(part, count, strict=True)]
                known = [(value, n) for value, n in pairs if value is not None and value == value]
                total = sum(n for _, n in known)
                means.append(sum(value * n for value, n in known) / total if known else float("nan"))
            last = part[-1]
            writer.writerow([last["step"], last["episodes"], f"{last['minutes']:.3f}", *(f"{m:.4f}" for m in means)])


def draw(name: str) -> None:
    """Redraw results/NAME/curve.png from the kept scores: by steps, by episodes and by minutes."""
    experiment = EXPERIMENTS[name]
    seeds = sorted((RESULTS / name).glob("seed-*"))
    if not seeds:
        return
    scale = 100 if experiment.metric == "success" else 1
    figure = Figure(figsize=(12, 4), dpi=110, layout="constrained")
    panels = figure.subplots(1, 3, sharey=True)
    for colour, seed in zip(COLOURS, seeds, strict=False):
        with (seed / "curve.csv").open() as file:
            rows = list(csv.DictReader(file))
        score = np.array([float(row[experiment.metric]) for row in rows]) * scale
        for axes, against in zip(panels, ("step", "episodes", "minutes"), strict=True):
            axes.plot([float(row[against]) for row in rows], _smooth(score), color=colour, label=seed.name)
    levels = dict(experiment.published)
    measured = seeds[0] / "eval-random.json"
    if measured.exists():
        levels["random policy"] = json.loads(measured.read_text())["summary"][experiment.metric]["mean"]
    for axes, label in zip(panels, ("environment steps", "episodes", "minutes of training"), strict=True):
        axes.set_xlabel(label)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.grid(color="#e6e8ec")
        axes.spines[["top", "right"]].set_visible(False)
        for style, (level, value) in zip(("--", ":", "-."), levels.items(), strict=False):
            axes.axhline(value * scale, color="#8a909c", linestyle=style, label=level)
    panels[0].set_ylabel(f"{experiment.metric} in training" + (" (%)" if scale == 100 else ""))
    panels[-1].legend(frameon=False)
    figure.suptitle(experiment.title, weight="bold")
    figure.savefig(RESULTS / name / "curve.png")


def _smooth(values: np.ndarray, width: int = 9) -> np.ndarray:
    known = np.nan_to_num(values)
    weight = np.convolve((values == values).astype(float), np.ones(width), "same")
    return np.convolve(known, np.ones(width), "same") / np.maximum(weight, 1)


def table(name: str) -> list[str]:
    """The final evaluations of an experiment as rows of a Markdown table."""
    rows = []
    for seed in sorted((RESULTS / name).glob("seed-*")):
        for file in sorted(seed.glob("eval*.json")):
            found = json.loads(file.read_text())
            cells = [name, seed.name.removeprefix("seed-"), file.stem, f"{found['step']:,}"]
            for metric in EXPERIMENTS[name].columns:
                entry = found["summary"].get(metric)
                cells.append(f"{entry['mean']:.3f} ({entry['low']:.3f}–{entry['high']:.3f})" if entry else "")
            rows.append("| " + " | ".join(cells) + " |")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    runner = verbs.add_parser("run", help="train, evaluate and keep the scores")
    runner.add_argument("name", choices=EXPERIMENTS)
    runner.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    runner.add_argument("extra", nargs="*", help="after --: further options of dynalang train")
    verbs.add_parser("draw", help="redraw pictures and the table from the kept scores")
    options = parser.parse_args()
    if options.verb == "run":
        for seed in options.seeds:
            run(options.name, seed, options.extra)
    tables: dict[tuple[str, ...], list[str]] = {}
    for name, experiment in EXPERIMENTS.items():
        draw(name)
        tables.setdefault(experiment.columns, []).extend(table(name))
    parts = []
    for columns, rows in tables.items():
        head = ["experiment", "seed", "evaluation", "steps", *(column.replace("_", " ") for column in columns)]
        parts.append("\n".join([f"| {' | '.join(head)} |", "|" + "---|" * len(head), *rows]))
    text = "\n\n".join(parts) + "\n"
    (RESULTS / "table.md").write_text(text)
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
