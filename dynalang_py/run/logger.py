"""Where a run's numbers and pictures go: TensorBoard and metrics.jsonl."""

import io
import json
import logging
import math
import os
import socket
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter
from torch.utils.tensorboard import summary as summaries

from dynalang_py import files
from dynalang_py.reading import is_finite, read_bytes

Frames = Sequence[NDArray[np.uint8]]

_log = logging.getLogger("dynalang.logger")


class Logger:
    """One place for scalars, images, videos and texts of a run.

    `metrics` gets one JSON object per call of `scalars`: `step`, `time` (seconds since 1970) and the numbers; each line
    is written before the call returns. `events` is what TensorBoard reads.
    """

    def __init__(
        self,
        metrics: Path,
        events: Path,
        resume_at: int | None = None,
        rows: Sequence[Mapping[str, Any]] | None = None,
    ) -> None:
        """resume_at: forget what was logged after this step; a run that goes on from there writes it anew.

        rows: of the metrics, those that stay; none: those up to that step.
        """
        if resume_at is not None and metrics.exists():
            if rows is None:
                rows = [row for row in read_metrics(metrics) if row["step"] <= resume_at]
            files.write(metrics, "".join(json.dumps(row) + "\n" for row in rows))
        self._metrics = metrics
        self._events = _Events(events)
        if resume_at is not None:
            self._events.add(Event(session_log=SessionLog(status=SessionLog.START)), resume_at + 1)

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Numbers by name. JSON has no NaN or infinity: those are left out there."""
        finite = {name: value for name, value in values.items() if math.isfinite(value)}
        row = json.dumps({"step": step, "time": round(time.time(), 3), **finite})
        files.append(self._metrics, f"{row}\n".encode())
        self._summarise([value for name in values for value in summaries.scalar(name, values[name]).value], step)

    def image(self, name: str, image: NDArray[np.uint8], step: int) -> None:
        """A picture (height, width, 3)."""
        png = io.BytesIO()
        Image.fromarray(image).save(png, "PNG")
        self._picture(name, png.getvalue(), image.shape, step)

    def video(self, name: str, gif: bytes, step: int) -> None:
        """An animation encoded as GIF; TensorBoard plays it among the images."""
        with Image.open(io.BytesIO(gif)) as first:
            width, height = first.size
        self._picture(name, gif, (height, width, 3), step)

    def text(self, name: str, markdown: str, step: int) -> None:
        self._summarise(summaries.text(name, markdown).value, step)

    def _picture(self, name: str, encoded: bytes, shape: tuple[int, ...], step: int) -> None:
        image = Summary.Image(height=shape[0], width=shape[1], colorspace=3, encoded_image_string=encoded)
        self._summarise([Summary.Value(tag=name, image=image)], step)

    def _summarise(self, values: Sequence[Summary.Value], step: int) -> None:
        self._events.add(Event(summary=Summary(value=values)), step)


class _Events:
    """What TensorBoard reads. It is written by nobody but the caller, and a disk that refuses it ends no run."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path: Path | None = None
        self._refused = False

    def add(self, event: Event, step: int) -> None:
        event.step, event.wall_time = step, time.time()
        try:
            if self._path is None or not self._path.exists():  # somebody may clear the folder of a run that goes on
                begin = Event(file_version="brain.Event:2", wall_time=event.wall_time)
                name = f"events.out.tfevents.{event.wall_time:.6f}.{socket.gethostname()}.{os.getpid()}"
                self._path = files.write_new(self._folder / name, _record(begin))
            files.append(self._path, _record(event))
        except OSError as error:
            if not self._refused:
                why = "%s could not be written (%s); TensorBoard will not show all of this run"
                _log.warning(why, error.filename, error.strerror)
            self._refused = True


def _record(event: Event) -> bytes:
    record = io.BytesIO()
    RecordWriter(record).write(event.SerializeToString())
    return record.getvalue()


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The rows of a metrics.jsonl: each has a step and no values but finite numbers.

    A last line that was cut off by a crash is left out, and so is, with a warning, what else is no row.
    """
    if not path.exists():
        return []
    *lines, last = read_bytes(path, "the metrics in").split(b"\n")
    rows = [row for line in lines if (row := _row(line)) is not None]
    if strange := len(lines) - len(rows):
        _log.warning("%s has %s that %s no metrics; what is left counts", path, *_lines(strange))
    if (row := _row(last)) is not None:
        rows.append(row)
    return rows


def _row(line: bytes) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(row, dict) or type(row.get("step")) is not int or not all(map(is_finite, row.values())):
        return None
    return row if 0 <= row["step"] < 1 << 60 else None


def _lines(count: int) -> tuple[str, str]:
    return ("1 line", "is") if count == 1 else (f"{count:,} lines", "are")
