"""What training and reading have in common: steps up to a goal, and every so often a row of metrics, a look, a save."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np

from dynalang_py import config as configs
from dynalang_py.agent import NonFiniteError
from dynalang_py.config import Config
from dynalang_py.errors import UserError, command
from dynalang_py.run import checkpoint as checkpoints
from dynalang_py.run.checkpoint import Checkpoint
from dynalang_py.run.clock import Clock
from dynalang_py.run.console import Face, Progress, duration
from dynalang_py.run.counters import Counters, ReadingCounters
from dynalang_py.run.folder import RunFolder
from dynalang_py.run.logger import Logger, read_metrics
from dynalang_py.run.signals import StopRequest
from dynalang_py.text.config import PretrainConfig

LAP = "time/other"
"""What every row has that `log` writes, and no row of a look."""


class Loop(ABC):
    """A run while it lasts: here stands when something is done, and in whoever inherits from it what is done then."""

    verb: str
    """The command that goes on with such a run."""
    unit: str
    """What it counts."""
    stop: StopRequest
    logger: Logger

    def __init__(
        self, config: Config | PretrainConfig, folder: RunFolder, counters: Counters | ReadingCounters, face: Face
    ) -> None:
        self.config, self.folder, self.counters, self.face = config, folder, counters, face
        self.counters.sessions += 1
        self.progress = Progress(face)
        self.clock = Clock()
        self.metrics: dict[str, list[float]] = {}  # of the updates since the last row
        self.logged_at = self.timed_at = self.looked_at = self.at
        self.saved_at = 0.0  # seconds
        self.speed = 0.0  # what `at` gained per second, between the last two rows

    @property
    @abstractmethod
    def at(self) -> int:
        """How far the run has come, in the unit of its goal: the x axis of its metrics."""

    @property
    @abstractmethod
    def goal(self) -> int:
        """Where it ends."""

    @abstractmethod
    def step(self) -> None:
        """Go on a little."""

    @abstractmethod
    def row(self, seconds: float) -> dict[str, float]:
        """What this kind of run adds to a row of metrics. seconds: since the clock was restarted."""

    def begin_row(self) -> None:
        """Forget what the last row has told."""
        self.logged_at, self.metrics = self.at, {}

    @abstractmethod
    def look(self, last: bool) -> None:
        """Measure how good the model is by now. last: at the end of the run."""

    def finish(self) -> None:
        """What the end of the run, not its interruption, asks for before the last checkpoint is written."""
        return

    @abstractmethod
    def save(self) -> None:
        """Write a checkpoint."""

    @abstractmethod
    def standing(self, speed: float) -> list[str]:
        """Where the run stands, for the live line."""

    def begin(self, checkpoint: Checkpoint | None) -> None:
        """To be called when all that can fail at the start is done: from here on the folder is a run.

        What was logged after the checkpoint is forgotten: the run will log it again.
        """
        begun = self.folder.config.exists()
        configs.save(self.config, self.folder.config)
        if checkpoint and (kept := checkpoint.state.get("loop")):
            self.logged_at, self.looked_at, self.metrics = kept["logged_at"], kept["looked_at"], kept["metrics"]
        if begun and not checkpoint:
            self.face.say(f"dynalang: {self.folder.path} has no checkpoint yet; the run begins anew")
        rows = [row for row in read_metrics(self.folder.metrics) if checkpoint and self._stays(row)]
        if any(row["step"] == self.at and LAP not in row for row in rows):
            self.looked_at = self.at  # by the look at the end of a run that now goes on
        resume_at = self.at if checkpoint else -1 if begun else None
        self.logger = Logger(self.folder.metrics, self.folder.events, resume_at, rows)

    def _stays(self, row: Mapping[str, Any]) -> bool:
        """Whether a row of metrics tells of what the checkpoint knows."""
        if LAP in row:
            return bool(row["step"] <= self.logged_at)  # a later one was written because the run ended
        return bool(row["step"] < self.at or (row["step"] == self.at and not self.finished))  # or it is looked at again

    def state(self) -> dict[str, Any]:
        """What the next row and the next look depend on, as plain JSON values: `loop` in a checkpoint."""
        return {"logged_at": self.logged_at, "looked_at": self.looked_at, "metrics": self.metrics}

    def stopped(self, error: NonFiniteError) -> UserError:
        """What to tell of a run whose numbers ran away, and where to go on."""
        found = checkpoints.find(self.folder.checkpoints)
        remedy = "there is no checkpoint yet"
        if found:
            again = command("dynalang", self.verb, "--resume", self.folder.path)
            remedy = f"the last good checkpoint is {found[0]}; go on from it by: {again}"
        return UserError(f"training stopped at {self.unit} {self.at}: {error}; {remedy}")

    @property
    def seconds(self) -> float:
        """Time spent training, over all sessions."""
        return self.counters.seconds + self.clock.elapsed

    @property
    def finished(self) -> bool:
        minutes = self.config.minutes
        return self.at >= self.goal or (minutes is not None and self.seconds >= 60 * minutes)

    def loop(self) -> None:
        """Until the run is finished or asked to stop; either way it is saved."""
        self.saved_at = self.seconds
        self.clock.restart()
        self.make_up()
        self._between_steps()
        while not self.finished and not self.stop.received:
            self.step()
            self._between_steps()
        self.log(interim=True)
        if not self.stop.received:
            self.finish()
        self.save()
        if not self.stop.received:
            self.look(last=True)

    def make_up(self) -> None:
        """Do what is left of the step in which a stop came."""
        return

    def _between_steps(self) -> None:
        """Whatever is due of a row of metrics, a look and a save."""
        config, every = self.config, self.config.eval_every
        if self.progress.due():
            self.progress.draw(self.line())
        if self.clock.elapsed >= config.log_every and not self.stop.received:
            self.log()
            self.progress.log(self.line())
        # The last look comes when all is saved.
        if every and self.at // every > self.looked_at // every and not self.finished and not self.stop.received:
            self.look(last=False)
            if not self.stop.received:
                self.looked_at = self.at
        if self.seconds - self.saved_at >= 60 * config.checkpoint_minutes:
            self.saved_at = self.seconds
            self.save()

    def log(self, interim: bool = False) -> None:
        """Write a row of metrics, if anything happened since the last, and begin the next.

        interim: the run ends here; should it go on, it forgets this row and writes the one that it was gathering.
        """
        if self.at == self.logged_at:
            return
        seconds, shares = self.clock.restart()
        self.counters.seconds += seconds
        self.speed = (self.at - self.timed_at) / seconds
        self.timed_at = self.at
        row = {f"train/{name}": float(np.mean(values)) for name, values in self.metrics.items()}
        row |= {f"time/{name}": share for name, share in shares.items()}
        self.logger.scalars({**row, **self.row(seconds), "minutes": self.counters.seconds / 60}, self.at)
        if not interim:
            self.begin_row()

    def keep(self, figures: dict[str, float]) -> None:
        """Take an update's figures into the next row."""
        for name, value in figures.items():
            self.metrics.setdefault(name, []).append(value)

    def line(self, doing: str = "") -> str:
        """Where the run stands, in one line, and what it is doing other than training."""
        speed = self.speed or (self.at - self.timed_at) / max(self.clock.elapsed, 1e-9)
        parts = self.standing(speed)
        left = [(self.goal - self.at) / speed] if speed else []
        left += [60 * self.config.minutes - self.seconds] if self.config.minutes else []
        if left:
            parts.append(f"{duration(max(0, min(left)))} left")
        return " | ".join([*parts, doing] if doing else parts)
