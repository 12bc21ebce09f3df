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
            table.add_column(policy, justify="right")
        for name in {name: None for summary in columns.values() for name in summary}:
            table.add_row(name.replace("_", " "), *(interval(summary.get(name)) for summary in columns.values()))
        self.console.print(table)


class Progress:
    """The live line. Where the output is no terminal it becomes a plain line for each `log`."""

    def __init__(self, face: Face) -> None:
        self._live = (
            Live(console=face.console, auto_refresh=False, transient=True) if face.console.is_terminal else None
        )
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


class _Notices(logging.Handler):
    """Warnings of the package's loggers become lines above the live one."""

    def __init__(self, face: Face) -> None:
        super().__init__(logging.WARNING)
        self._face = face

    def emit(self, record: logging.LogRecord) -> None:
        self._face.say(f"dynalang: {record.getMessage()}")


def interval(entry: Mapping[str, float] | None) -> str:
    """ "0.97 (0.95 to 0.99)", with as many digits as the numbers deserve."""
    if entry is None:
        return ""
    digits = 1 if abs(entry["mean"]) >= 10 else 3
    return f"{entry['mean']:.{digits}f} ({entry['low']:.{digits}f} to {entry['high']:.{digits}f})"


def duration(seconds: float) -> str:
    """Seconds as 4:05 or 1:04:05."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
