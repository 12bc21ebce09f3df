"""Ctrl-C and SIGTERM as a polite request: finish the step, save, leave."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class StopRequest:
    """While entered, the first SIGINT or SIGTERM sets `received`; a second one ends the process at once with 130.

    Entered in another thread than the main one, which alone may take signals in Python, it leaves them to that.
    """

    def __init__(self) -> None:
        self.received = False
        self._at_once = False

    def __enter__(self) -> "StopRequest":
        numbers = (signal.SIGINT, signal.SIGTERM) if threading.current_thread() is threading.main_thread() else ()
        self._old = {number: signal.signal(number, self._handle) for number in numbers}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Within, the first signal raises KeyboardInterrupt too: for what takes minutes and is of no use half done."""
        self._at_once = True
        try:
            yield
        finally:
            self._at_once = False

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.received:
            for stream in (1, 2):
                if os.isatty(stream):
                    os.write(stream, b"\x1b[?25h")  # a live line hid the cursor
            os._exit(130)
        self.received = True
        if self._at_once:
            raise KeyboardInterrupt
