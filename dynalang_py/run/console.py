"""The command line's face: tables, notices and the one live line of a run."""

import logging
import time
from collections.abc import Mapping, Sequence

from rich import box
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

REFRESH = 0.25
"""Seconds between two looks of the live line."""

SPARSE = 30.0
"""Seconds between two lines about one piece of work where there is no live line."""


class Face:
    """Speaks to whoever started the command. With `quiet` all of it goes to stderr, and stdout stays for data."""

    def __init__(self, quiet: bool = False) -> None:
        self.console = Console(stderr=quiet, highlight=False, soft_wrap=True)
        log = logging.getLogger("dynalang")
        log.handlers = [_Notices(self)]
        log.propagate = False

    def say(self, sentence: str) -> None:
        self.console.print(sentence, markup=False)

    def table(self, title: str, rows: Sequence[tuple[str, str]]) -> None:
        """Two columns: what, and how much."""
        width = max(len(name) for name, _ in rows)
        self.console.print(Text(f"\n{title}", "bold"))
        for name, value in rows:
            self.console.print(Text.assemble((f"  {name:{width}}  ", "dim"), value))
        self.console.print()

    def results(self, title: str, columns: Mapping[str, Mapping[str, Mapping[str, float]]]) -> None:
        """One row per number, one column per policy: the mean and its 95 % interval."""
        table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE, pad_edge=False)
        table.add_column("")
        for policy in columns:
            table.add_column(policy, justify="right", no_wrap=True)
        names = {name: None for summary in columns.values() for name in summary}
        cells = [intervals([summary.get(name) for name in names]) for summary in columns.values()]
        for name, *row in zip(names, *cells, strict=True):
            table.add_row(Text(name.replace("_", " ")), *row)
        width = self.console.measure(table, options=self.console.options.update(max_width=10_000)).maximum
        if len(columns) > 1 and width > self.console.width:
            for policy, summary in columns.items():  # a narrow terminal gets them below each other
                self.results(title, {policy: summary})
        else:
            table.width = width
            self.console.print(table)


class Progress:
    """The live line. Where the output is no terminal it becomes a plain line for each `log`."""

    def __init__(self, face: Face) -> None:
        able = face.console.is_terminal and not face.console.is_dumb_terminal
        self._live = Live(console=face.console, auto_refresh=False, transient=True) if able else None
        self._face = face
        self._next = 0.0

    def __enter__(self) -> "Progress":
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def due(self) -> bool:
        """Whether the live line wants to be drawn again."""
        return self._live is not None and time.monotonic() >= self._next

    def draw(self, line: str) -> None:
        if self._live:
            self._live.update(Text(line, no_wrap=True, overflow="ellipsis"), refresh=True)
            self._next = time.monotonic() + REFRESH

    def log(self, line: str) -> None:
        if not self._live:
            self._face.say(line)

    def silent(self, line: str) -> None:
        """Before work that gives no sign of life: a line anywhere."""
        self.draw(line)
        self.log(line)

    def counting(self, unit: str, total: int, before: str = "") -> "Countdown":
        """Of work that begins now. before: what the line begins with."""
        return Countdown(self, unit, total, before)


class Countdown:
    """Tells how far a piece of work has come and how long the rest will take."""

    def __init__(self, progress: Progress, unit: str, total: int, before: str) -> None:
        self._progress, self._unit, self._total, self._before = progress, unit, total, before
        self._begin = time.monotonic()
        self._next = self._begin + SPARSE

    def __call__(self, done: int, share: float | None = None) -> None:
        """share: of all the work, where the count says less than is known."""
        now, live = time.monotonic(), self._progress.due()
        if not live and now < self._next:
            return
        share = done / max(1, self._total) if share is None else share
        line = f"{self._before}{done:,} of {self._total:,} {self._unit}"
        if share > 0:
            line += f", {duration((now - self._begin) * (1 - share) / share)} left"
        if live:
            self._progress.draw(line)
        else:
            self._progress.log(line)
            self._next = now + SPARSE


class _Notices(logging.Handler):
    """Warnings of the package's loggers become lines above the live one."""

    def __init__(self, face: Face) -> None:
        super().__init__(logging.WARNING)
        self._face = face

    def emit(self, record: logging.LogRecord) -> None:
        self._face.say(f"dynalang: {record.getMessage()}")


def intervals(entries: Sequence[Mapping[str, float] | None]) -> list[str]:
    """A column of "0.97 (0.95 to 0.99)", with as many digits as the numbers deserve, one number below the other."""
    rows = [None if entry is None else _numbers(entry) for entry in entries]
    widths = [max((len(row[i]) for row in rows if row), default=0) for i in range(3)]
    aligned = (
        [number.rjust(width) for number, width in zip(row, widths, strict=True)] if row else None for row in rows
    )
    return ["{} ({} to {})".format(*row) if row else "" for row in aligned]


def _numbers(entry: Mapping[str, float]) -> list[str]:
    digits = 1 if abs(entry["mean"]) >= 10 else 3
    return [f"{entry[name]:.{digits}f}" for name in ("mean", "low", "high")]


def duration(seconds: float) -> str:
    """Seconds as 4:05 or 1:04:05."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
