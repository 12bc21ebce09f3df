"""The learning curve of a run as a picture."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

BLUE, ORANGE, GREY = "#2f6fde", "#e07b1a", "#8a909c"

MINUTES_APART = 0.07
"""Least distance of two labels of minutes, as a share of the axis."""

WINDOW = 100
"""Episodes that the curve of training averages over."""


def learning_curve(rows: Sequence[Mapping[str, Any]], metric: str, baseline: float | None, title: str) -> bytes:
    """PNG of a metric ("success", "return") against environment steps, with minutes of training above.

    rows: what metrics.jsonl holds. baseline: the random policy's mean.
    """
    percent = metric == "success"
    scale = 100.0 if percent else 1.0
    figure = Figure(figsize=(7.5, 4.2), dpi=144, layout="constrained")
    axes = figure.subplots()
    if baseline is not None:
        axes.axhline(baseline * scale, color=GREY, linestyle="--", linewidth=1.5, label="random policy")
    train = [row for row in rows if row.keys() >= {f"episode/{metric}", "episode/count"}]
    if train:
        values = _column(train, f"episode/{metric}") * scale
        mean = smooth(values, _column(train, "episode/count"))
        axes.plot(_column(train, "step"), mean, color=BLUE, linewidth=2, label=f"training, mean of {WINDOW} episodes")
    tests = [row for row in rows if row.keys() >= {f"eval/{metric}{end}" for end in ("", "_low", "_high")}]
    if tests:
        steps, values = _column(tests, "step"), _column(tests, f"eval/{metric}") * scale
        reach = [
            values - _column(tests, f"eval/{metric}_low") * scale,
            _column(tests, f"eval/{metric}_high") * scale - values,
        ]
        axes.errorbar(
            steps, values, np.maximum(0, reach), fmt="o", color=ORANGE, capsize=3, label="evaluation, 95 % interval"
        )
        axes.annotate(
            f"{values[-1]:.0f} %" if percent else f"{values[-1]:.2f}",
            (1, float(values[-1])),
            xycoords=("axes fraction", "data"),
            xytext=(4, 0),  # beside the axes, where no line is
            textcoords="offset points",
            ha="left",
            va="center",
            color=ORANGE,
            weight="bold",
        )
    if note := _missing(bool(train), bool(tests)):
        axes.text(0.5, 0.1 if tests else 0.5, note, transform=axes.transAxes, ha="center", va="center", color=GREY)
    axes.set(xlabel="environment steps", ylabel="success (%)" if percent else metric)
    axes.set_xlim(0, 1.02 * max((row["step"] for row in rows), default=1))
    if percent:
        axes.set_ylim(-3, 104)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.grid(color="#e6e8ec")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    timed = [row for row in rows if "minutes" in row]
    if timed:
        _minutes_above(axes, _column(timed, "step"), _column(timed, "minutes"))
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, loc="best")
    figure.suptitle(title, fontsize="medium", weight="bold")
    png = io.BytesIO()
    figure.savefig(png, format="png")
    return png.getvalue()


def _missing(train: bool, tests: bool) -> str:
    """Why there is no line."""
    if train:
        return ""
    return "no episode of training has ended yet" + ("" if tests else ",\nand none of an evaluation")


def _minutes_above(axes: Axes, steps: NDArray[np.float64], minutes: NDArray[np.float64]) -> None:
    """A second axis that tells how long the steps took; they do not all take the same time."""
    steps, minutes = np.array([0, *steps]), np.array([0, *minutes])
    above = axes.secondary_xaxis(
        "top",
        functions=(
            lambda step: np.interp(np.asarray(step), steps, minutes),
            lambda minute: np.interp(np.asarray(minute), minutes, steps),
        ),
    )
    above.set_xticks(minute_ticks(steps, minutes, MINUTES_APART * axes.get_xlim()[1]))
    above.set_xlabel("minutes of training")
    above.spines["top"].set_visible(False)


def minute_ticks(steps: NDArray[np.float64], minutes: NDArray[np.float64], apart: float) -> list[float]:
    """Round minutes that lie at least `apart` steps from each other: where updates are many, a minute has few steps."""
    shown: list[float] = []
    for tick in MaxNLocator(7).tick_values(0, minutes[-1]):
        place = np.interp([*shown[-1:], tick], minutes, steps)
        if 0 <= tick <= minutes[-1] and (not shown or place[-1] - place[0] >= apart):
            shown.append(float(tick))
    return shown


def _column(rows: Sequence[Mapping[str, Any]], name: str) -> NDArray[np.float64]:
    return np.array([row[name] for row in rows], float)


def smooth(values: NDArray[np.float64], weights: NDArray[np.float64], window: float = WINDOW) -> NDArray[np.float64]:
    """Running mean over about the last `window` episodes; `weights` is how many episodes each value stands for."""
    smooth, total, count = np.empty(len(values)), 0.0, 0.0
    for i, (value, weight) in enumerate(zip(values, weights, strict=True)):
        keep = max(0.0, 1.0 - weight / window)
        total, count = keep * total + weight * value, keep * count + weight
        smooth[i] = total / count
    return smooth
