"""What training and reading have in common: steps up to a goal, and every so often a row of metrics, a look, a save."""

from abc import ABC, abstractmethod

import numpy as np

from dynalang_py import config as configs
from dynalang_py.agent import NonFiniteError
from dynalang_py.config import Config
from dynalang_py.errors import UserError, command
from dynalang_py.run import checkpoint as checkpoints
from dynalang_py.run.clock import Clock
from dynalang_py.run.console import Face, Progress, duration
from dynalang_py.run.counters import Counters, ReadingCounters
from dynalang_py.run.folder import RunFolder
from dynalang_py.run.logger import Logger
from dynalang_py.run.signals import StopRequest
from dynalang_py.text.config import PretrainConfig


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
        self.logged_at = self.at
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
        """What this kind of run adds to a row of metrics; called once for each. seconds: since the one before."""

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

    def begin(self) -> None:
        """To be called when all that can fail at the start is done: from here on the folder is a run."""
        configs.save(self.config, self.folder.config)
        resume_at = self.at if self.counters.sessions > 1 else None
        self.logger = Logger(self.folder.metrics, self.folder.events, resume_at)

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
        config = self.config
        saved_at, looked_at = self.seconds, self.at
        self.clock.restart()
        while not self.finished and not self.stop.received:
            self.step()
            if self.progress.due():
                self.progress.draw(self.line())
            if self.clock.elapsed >= config.log_every:
                self.log()
                self.progress.log(self.line())
            if config.eval_every and self.at // config.eval_every > looked_at // config.eval_every:
                looked_at = self.at
                if not self.finished:  # the last look comes when all is saved
                    self.look(last=False)
            if self.seconds - saved_at >= 60 * config.checkpoint_minutes:
                saved_at = self.seconds
                self.save()
        self.log()
        if not self.stop.received:
            self.finish()
        self.save()
        if not self.stop.received:
            self.look(last=True)

    def log(self) -> None:
        """Write a row of metrics, if anything happened since the last, and begin the next."""
        if self.at == self.logged_at:
            return
        seconds, shares = self.clock.restart()
        self.counters.seconds += seconds
        self.speed = (self.at - self.logged_at) / seconds
        row = {f"train/{name}": float(np.mean(values)) for name, values in self.metrics.items()}
        row |= {f"time/{name}": share for name, share in shares.items()}
        self.logger.scalars({**row, **self.row(seconds), "minutes": self.counters.seconds / 60}, self.at)
        self.logged_at, self.metrics = self.at, {}

    def keep(self, figures: dict[str, float]) -> None:
        """Take an update's figures into the next row."""
        for name, value in figures.items():
            self.metrics.setdefault(name, []).append(value)

    def line(self, doing: str = "") -> str:
        """Where the run stands, in one line, and what it is doing other than training."""
        speed = self.speed or (self.at - self.logged_at) / max(self.clock.elapsed, 1e-9)
        parts = self.standing(speed)
        left = [(self.goal - self.at) / speed] if speed else []
        left += [60 * self.config.minutes - self.seconds] if self.config.minutes else []
        if left:
            parts.append(f"{duration(max(0, min(left)))} left")
        return " | ".join([*parts, doing] if doing else parts)
