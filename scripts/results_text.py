"""The experiments on text behind results/: read for an hour, keep the perplexities, draw them beside the baselines.

python scripts/results_text.py run alfred --data FOLDER       # FOLDER has alfred_train.txt and alfred_valid.txt
python scripts/results_text.py draw                           # redraw every picture from the kept scores
"""

import argparse
import csv
import json
import subprocess
from pathlib import Path

from matplotlib.figure import Figure

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "results"
VOCABULARY = {"alfred": 2000, "tinystories": 4000}
COLUMNS = ("minutes", "tokens", "perplexity", "unigram_perplexity", "trigram_perplexity")


def run(name: str, data: Path, minutes: float, seed: int, extra: list[str]) -> None:
    """Train a tokenizer and a world model on one corpus, and keep what they reached."""
    folder = ROOT / "runs" / "results" / f"text-{name}-{seed}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    train, model = data / f"{name}_train.txt", folder.with_suffix(".model")
    size = str(VOCABULARY[name])
    subprocess.run(
        ["dynalang", "tokenizer", "train", str(train), "--vocab-size", size, "--out", str(model)], check=True
    )
    options = ["text-small", "--minutes", str(minutes), "--seed", str(seed), *extra]
    files = ["--corpus", str(train), "--valid", str(data / f"{name}_valid.txt"), "--tokenizer", str(model)]
    subprocess.run(["dynalang", "pretrain", *options, *files, "--run-dir", str(folder)], check=True)
    kept = RESULTS / f"text-{name}" / f"seed-{seed}"
    kept.mkdir(parents=True, exist_ok=True)
    named = f"--corpus {train.name} --valid {name}_valid.txt --tokenizer tok.model"
    (kept / "command.txt").write_text(" ".join(["dynalang pretrain", *options, named]) + "\n")
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    final = next(row for row in reversed(rows) if "final/perplexity" in row)
    speeds = [row["speed/tokens_per_s"] for row in rows if "speed/tokens_per_s" in row]
    summary = {key: value for key, value in final.items() if key.startswith("final/") or key in ("tokens", "minutes")}
    summary["tokens_per_s"] = sum(speeds) / len(speeds)
    (kept / "final.json").write_text(json.dumps(summary, indent=1) + "\n")
    with (kept / "curve.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for row in rows:
            if "valid/perplexity" in row:
                writer.writerow([row.get(key, row.get(f"valid/{key}", "")) for key in COLUMNS])


def draw(name: str) -> None:
    """Redraw results/text-NAME/curve.png from the kept scores."""
    seeds = sorted((RESULTS / f"text-{name}").glob("seed-*"))
    if not seeds:
        return
    figure = Figure(figsize=(7, 4), dpi=110, layout="constrained")
    axes = figure.subplots()
    for seed in seeds:
        with (seed / "curve.csv").open() as file:
            rows = list(csv.DictReader(file))
        axes.plot([float(row["minutes"]) for row in rows], [float(row["perplexity"]) for row in rows], label=seed.name)
    for style, baseline in (("--", "unigram"), (":", "trigram")):
        level = float(rows[-1][f"{baseline}_perplexity"])
        axes.axhline(level, color="#8a909c", linestyle=style, label=f"{baseline}, {level:.1f}")
    axes.set(yscale="log", xlabel="minutes of training", ylabel="held-out perplexity per token", title=f"text-{name}")
    axes.grid(color="#e6e8ec", which="both")
    axes.legend(frameon=False)
    figure.savefig(RESULTS / f"text-{name}" / "curve.png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    runner = verbs.add_parser("run", help="read, and keep the scores")
    runner.add_argument("name", choices=VOCABULARY)
    runner.add_argument("--data", type=Path, required=True, help="folder with NAME_train.txt and NAME_valid.txt")
    runner.add_argument("--minutes", type=float, default=60)
    runner.add_argument("--seed", type=int, default=0)
    runner.add_argument("extra", nargs="*", help="after --: further options of dynalang pretrain")
    verbs.add_parser("draw", help="redraw pictures from the kept scores")
    options = parser.parse_args()
    if options.verb == "run":
        run(options.name, options.data, options.minutes, options.seed, options.extra)
    for name in VOCABULARY:
        draw(name)


if __name__ == "__main__":
    main()
