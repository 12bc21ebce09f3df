"""The experiments on text behind results/: what reading reaches, what it costs, and what it buys an agent.

python scripts/results_text.py read alfred --data FOLDER      # FOLDER has alfred_train.txt and alfred_valid.txt
python scripts/results_text.py speed --data FOLDER            # tokens/s beside an LSTM of the same size
python scripts/results_text.py buys gotodoor --data FOLDER    # an agent that has read beside one that has not
python scripts/results_text.py draw                           # redraw pictures and tables from the kept scores
"""

import argparse
import csv
import json
import statistics
import subprocess
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from dynalang_py.agent import Precision
from dynalang_py.run.machine import keep_freed_memory
from dynalang_py.run.pretrain import build_reader
from dynalang_py.text.config import PretrainConfig, text_small
from dynalang_py.text.tokens import tokenise
from dynalang_py.text.windows import Windows
from dynalang_py.tokenizers import load
from results import COLOURS, CONVOLUTIONS, RESULTS, ROOT, UNFORESEEN, _smooth, shown, train

VOCABULARY = {"alfred": 2000, "tinystories": 4000}
COLUMNS = ("minutes", "tokens", "perplexity", "unigram_perplexity", "trigram_perplexity")
SMALL = ["--model.rssm.deter", "256", "--model.rssm.stoch", "16"]
"""Sizes of the agents' world model, which what reads for them has too."""
PLAIN = [
    *CONVOLUTIONS,
    *UNFORESEEN,
    *["--behavior.entropy", "0.01", "--behavior.unimix", "0", "--optimizer.actor-lr", "3e-3"],
]
"""The agents in which reading was tried: no tiles, and an actor that learns as fast as its model."""
BUYS = {
    "gotodoor": (["gotodoor", *PLAIN, "--steps", "32000"], ["--episodes", "256"], "success"),
    "homegrid-task": (["homegrid-task", *PLAIN, "--steps", "30000"], ["--episodes", "100"], "return"),
}
ARMS = ("scratch", "pretrained")
PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16")
T95 = 4.303
"""97.5 % point of Student's t with two degrees of freedom: three seeds."""


def tokenizer(name: str, data: Path) -> Path:
    """A sentencepiece model of the corpus, trained unless it is there."""
    model = ROOT / "runs" / "results" / f"{name}.model"
    model.parent.mkdir(parents=True, exist_ok=True)
    if not model.exists():
        corpus, size = str(data / f"{name}_train.txt"), str(VOCABULARY[name])
        command = ["dynalang", "tokenizer", "train", corpus, "--vocab-size", size, "--out", str(model)]
        subprocess.run(command, check=True)
    return model


def read(name: str, data: Path, minutes: float, seed: int, extra: list[str]) -> Path:
    """Teach a world model to read one corpus; returns the run's folder."""
    folder = ROOT / "runs" / "results" / f"text-{name}-{seed}{'-small' if extra else ''}"
    if (folder / "checkpoints").exists():
        return folder
    options = ["text-small", "--minutes", str(minutes), "--seed", str(seed), "--eval-every", "250", *extra]
    files = ["--corpus", str(data / f"{name}_train.txt"), "--test", str(data / f"{name}_valid.txt")]
    command = ["dynalang", "pretrain", *options, *files, "--tokenizer", str(tokenizer(name, data))]
    subprocess.run([*command, "--run-dir", str(folder)], check=True)
    kept = RESULTS / f"text-{name}" / f"seed-{seed}{'-small' if extra else ''}"
    kept.mkdir(parents=True, exist_ok=True)
    (kept / "command.txt").write_text(shown(" ".join(command)).replace(f"{data}/", "") + "\n")
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    final = next(row for row in reversed(rows) if "final/perplexity" in row)
    summary = {key: value for key, value in final.items() if key.startswith("final/") or key in ("tokens", "minutes")}
    summary["tokens_per_s"] = statistics.median(row["speed/tokens_per_s"] for row in rows if "epoch" in row)
    (kept / "final.json").write_text(json.dumps(summary, indent=1) + "\n")
    with (kept / "curve.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for row in rows:
            if "valid/perplexity" in row:
                writer.writerow([row.get(key, row.get(f"valid/{key}", "")) for key in COLUMNS])
    return folder


class LSTM(nn.Module):
    """The plain language model to compare with: table, LSTM, linear layer."""

    def __init__(self, vocab: int, width: int) -> None:
        super().__init__()
        self.table = nn.Embedding(vocab, width)
        self.lstm = nn.LSTM(width, width, batch_first=True)
        self.out = nn.Linear(width, vocab)

    def forward(self, token: Tensor) -> Tensor:
        return self.out(self.lstm(self.table(token))[0])


def speed(data: Path, repeats: int = 5, updates: int = 6) -> None:
    """Median tokens/s of `text-small` and of an LSTM with as many parameters, each in both precisions, in turns."""
    keep_freed_memory()
    name = "tinystories"
    words = load(tokenizer(name, data))
    config = PretrainConfig(**{**vars(text_small()), "corpus": (str(data / f"{name}_train.txt"),), "seed": 0})
    text = tokenise(config, config.corpus, words, ROOT / "runs" / "results" / "tokens")
    windows = Windows(text, config.batch_size, config.batch_length, seed=0, reset=config.reset)
    readers = {precision: build_reader(replace(config, precision=precision), words.size) for precision in PRECISIONS}
    unread = {"image encoder", "image decoder", "reward", "continue"}  # these parts do nothing while it reads
    table = readers["float32"].parameter_table()
    size = sum(n for part, n in table.items() if part not in unread | {"total"})
    width = next(w for w in range(16, 4096, 16) if 2 * words.size * w + 8 * w * w >= size)
    plain = LSTM(words.size, width)
    optimizer = torch.optim.Adam(plain.parameters(), 1e-3, fused=True)

    def reads(precision: Precision) -> None:
        readers[precision].update(*windows.next())

    def counts(precision: Precision) -> None:
        token = torch.as_tensor(windows.next()[0]).long()
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            loss = nn.functional.cross_entropy(plain(token[:, :-1]).flatten(0, 1), token[:, 1:].flatten())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(plain.parameters(), 1.0)
        optimizer.step()

    ways = {f"text-small_{precision}": partial(reads, precision) for precision in PRECISIONS}
    ways |= {f"lstm_{precision}": partial(counts, precision) for precision in PRECISIONS}
    found: dict[str, list[float]] = {way: [] for way in ways}
    for round_ in range(repeats + 1):
        for way, update in ways.items():
            start = time.perf_counter()
            for _ in range(updates):
                update()
            if round_:  # the first warms up
                found[way].append(updates * config.batch_size * config.batch_length / (time.perf_counter() - start))
    result: dict[str, float] = {way: statistics.median(values) for way, values in found.items()}
    for ours, theirs in (("float32", "float32"), ("bfloat16", "float32"), ("bfloat16", "bfloat16")):
        ratio = result[f"lstm_{theirs}"] / result[f"text-small_{ours}"]
        result[f"lstm_{theirs}_over_text-small_{ours}"] = ratio
    result["threads"] = torch.get_num_threads()
    result |= {"parameters": size, "lstm_parameters": sum(p.numel() for p in plain.parameters())}
    (RESULTS / "text-speed.json").write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


def buys(world: str, data: Path, seeds: list[int], minutes: float, extra: list[str]) -> None:
    """Train agents for the same number of steps, from nothing and from a world model that has read ALFRED."""
    arguments, episodes, _ = BUYS[world]
    words = tokenizer("alfred", data)
    reader = read("alfred", data, minutes, 0, SMALL)
    for seed in seeds:
        for arm in ARMS:
            how = [*arguments, "--minutes", "1000", "--env.tokenizer", str(words), "--seed", str(seed), *extra]
            how += ["--pretrained", str(reader)] if arm == "pretrained" else []
            train(how, {"eval": episodes}, f"buys-{world}", f"{arm}-{seed}")


def draw_reading(name: str) -> None:
    """Redraw results/text-NAME/curve.png from the kept scores."""
    seeds = sorted((RESULTS / f"text-{name}").glob("seed-?"))
    if not seeds:
        return
    figure = Figure(figsize=(7, 4), dpi=110, layout="constrained")
    axes = figure.subplots()
    for colour, seed in zip(COLOURS, seeds, strict=False):
        with (seed / "curve.csv").open() as file:
            rows = list(csv.DictReader(file))
        final = json.loads((seed / "final.json").read_text())
        minutes = [float(row["minutes"]) for row in rows]
        axes.plot(minutes, [float(row["perplexity"]) for row in rows], color=colour, label=f"text-small, {seed.name}")
        model, counted = final["final/perplexity"], final["final/trigram_perplexity"]
        label = f"all held-out text at the end: {model:.2f}, trigram {counted:.2f}"
        axes.plot(final["minutes"], model, "o", color=colour, label=label)
    for style, baseline in (("--", "unigram"), (":", "trigram")):
        level = float(rows[-1][f"{baseline}_perplexity"])
        axes.axhline(level, color="#8a909c", linestyle=style, label=f"{baseline}, {level:.1f}")
    axes.set(yscale="log", xlabel="minutes of training", ylabel="held-out perplexity per token", title=name)
    for formatter in (axes.yaxis.set_major_formatter, axes.yaxis.set_minor_formatter):
        formatter("{x:g}")
    axes.grid(color="#e6e8ec", which="both")
    axes.legend(frameon=False)
    figure.savefig(RESULTS / f"text-{name}" / "curve.png")


def draw_buys(world: str) -> list[str]:
    """Redraw results/buys-WORLD/curve.png; returns the scores as rows of a Markdown table."""
    root, metric = RESULTS / f"buys-{world}", BUYS[world][2]
    figure = Figure(figsize=(7, 4), dpi=110, layout="constrained")
    axes = figure.subplots()
    final: dict[str, list[float]] = {arm: [] for arm in ARMS}
    curves: dict[str, list[float]] = {arm: [] for arm in ARMS}
    done = sorted(
        set.intersection(*({f.parent.name.split("-")[1] for f in root.glob(f"{a}-*/eval.json")} for a in ARMS))
    )
    if not done:
        return []
    for colour, arm in zip(COLOURS, ARMS, strict=False):
        for seed in done:
            with (root / f"{arm}-{seed}" / "curve.csv").open() as file:
                rows = list(csv.DictReader(file))
            steps, scores = ([float(row[key]) for row in rows] for key in ("step", metric))
            axes.plot(steps, _smooth(np.array(scores)), color=colour, label=arm if seed == done[0] else None)
            summary = json.loads((root / f"{arm}-{seed}" / "eval.json").read_text())["summary"]
            final[arm].append(summary[metric]["mean"])
            curves[arm].append(float(np.nanmean(scores)))
    axes.set(xlabel="environment steps", ylabel=f"{metric} in training", title=f"{world}: from nothing and having read")
    axes.grid(color="#e6e8ec")
    axes.legend(frameon=False)
    figure.savefig(root / "curve.png")
    lines = []
    for what, values in (("at the end", final), ("mean over training", curves)):
        lines += [f"| {world} | {what} | {arm} | {interval(values[arm])} |" for arm in ARMS]
        gain = [b - a for a, b in zip(*(values[arm] for arm in ARMS), strict=True)]
        lines.append(f"| {world} | {what} | gain | {interval(gain)} |")
    return lines


def interval(values: list[float]) -> str:
    """Mean over three seeds with its 95 % interval (Student's t), and the seeds themselves."""
    half = T95 * statistics.stdev(values) / len(values) ** 0.5 if len(values) == 3 else float("nan")
    each = ", ".join(f"{value:.3f}" for value in values)
    return f"{statistics.mean(values):.3f} ± {half:.3f} ({each})"


def draw() -> None:
    for name in VOCABULARY:
        draw_reading(name)
    lines = [line for world in BUYS for line in draw_buys(world)]
    header = "| world | score | arm | mean ± 95 % (seeds) |\n|---|---|---|---|\n"
    (RESULTS / "buys.md").write_text(header + "\n".join(lines) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    reading = verbs.add_parser("read", help="read, and keep the perplexities")
    reading.add_argument("name", choices=VOCABULARY)
    reading.add_argument("--minutes", type=float, default=60)
    reading.add_argument("--seed", type=int, default=0)
    timing = verbs.add_parser("speed", help="tokens/s beside an LSTM of the same size")
    buying = verbs.add_parser("buys", help="train agents that have read, and others that have not")
    buying.add_argument("world", choices=BUYS)
    buying.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    buying.add_argument("--minutes", type=float, default=10, help="of reading")
    for verb in (reading, timing, buying):
        verb.add_argument("--data", type=Path, required=True, help="folder with NAME_train.txt and NAME_valid.txt")
        verb.add_argument("extra", nargs="*", help="after --: further options")
    verbs.add_parser("draw", help="redraw pictures and tables from the kept scores")
    options = parser.parse_args()
    if options.verb == "read":
        read(options.name, options.data, options.minutes, options.seed, options.extra)
    elif options.verb == "speed":
        speed(options.data)
    elif options.verb == "buys":
        buys(options.world, options.data, options.seeds, options.minutes, options.extra)
    draw()


if __name__ == "__main__":
    main()
