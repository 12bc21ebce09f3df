"""The pictures of a run, kept up to date on disk and in TensorBoard."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dynalang_py import files
from dynalang_py.agent import Agent
from dynalang_py.replay import Replay
from dynalang_py.run import film, pictures
from dynalang_py.run.episodes import Movie
from dynalang_py.run.folder import RunFolder
from dynalang_py.run.logger import Logger, read_metrics

WINDOWS = 2
"""Windows that an open-loop animation shows."""
CONTEXT = 5
"""Steps that the agent sees before it imagines what follows."""
IMAGINED = 25
"""Steps that it imagines at most."""


class Gallery:
    def __init__(self, folder: RunFolder, logger: Logger, vocabulary: Sequence[str]) -> None:
        self._folder, self._logger, self._vocabulary = folder, logger, vocabulary

    def episodes(self, movies: Sequence[Movie], step: int) -> None:
        """What the agent did when it was told something."""
        self._hang("episodes", film.episodes(movies), step)

    def open_loop(self, agent: Agent, replay: Replay, step: int) -> str:
        """What the agent imagines against what came. Returns why there is nothing to show, or an empty string."""
        if not agent.spec.images:
            return "the agent sees no images"
        if replay.length <= CONTEXT:
            return f"windows of {replay.length} steps end within the {CONTEXT} that it sees first (--batch-length)"
        if not replay.ready(WINDOWS):
            return f"the replay holds no {WINDOWS} windows of {replay.length} steps yet"
        dream = agent.open_loop(_whole_episodes(replay), context=CONTEXT)
        tokens = dream.token_true, dream.token_predicted
        animation = film.open_loop(
            dream.truth,
            dream.prediction,
            *tokens,
            channels=[channels for _, _, channels in agent.spec.images.values()],
            vocabulary=self._vocabulary,
            context=CONTEXT,
        )
        self._hang("open_loop", animation, step)
        if tokens[0] is not None and tokens[1] is not None:
            self._logger.text("open_loop/words", _said(tokens[0], tokens[1], self._vocabulary), step)
        return ""

    def learning_curve(self, metric: str, baseline: float | None, title: str) -> None:
        """The course of a metric so far."""
        curve = pictures.learning_curve(read_metrics(self._folder.metrics), metric, baseline, title)
        files.write(self._folder.pictures / "learning_curve.png", curve)

    def _hang(self, name: str, animation: bytes, step: int) -> None:
        files.write(self._folder.pictures / f"{name}.gif", animation)
        self._logger.video(name, animation, step)


def _whole_episodes(replay: Replay) -> dict[str, NDArray[Any]]:
    """Of many windows those in which the next episode begins latest, cut there: nobody can imagine what comes."""
    batch, _ = replay.sample(16 * WINDOWS)
    begin = replay.context + CONTEXT
    first = batch["is_first"][:, begin:]
    until = np.where(first.any(1), first.argmax(1), first.shape[1]).clip(1, IMAGINED)
    chosen = until.argsort(kind="stable")[-WINDOWS:]
    return {name: value[chosen, : begin + until[chosen].min()] for name, value in batch.items()}


def _said(true_ids: NDArray[Any], predicted_ids: NDArray[Any], vocabulary: Sequence[str]) -> str:
    """True and predicted words of each window as a Markdown table."""
    lines = ["| | words |", "|---|---|"]
    for true, predicted in zip(true_ids, predicted_ids, strict=True):
        for label, ids in (("true", true), ("predicted", predicted)):
            lines.append(f"| {label} | " + " ".join(vocabulary[int(i)] if i else "·" for i in ids) + " |")
    return "\n".join(lines)
