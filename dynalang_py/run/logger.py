"""Where a run's numbers and pictures go: TensorBoard and metrics.jsonl."""

import io
import json
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from torch.utils.tensorboard import FileWriter
from torch.utils.tensorboard import summary as summaries

from dynalang_py import files

Frames = Sequence[NDArray[np.uint8]]


class Logger:
    """One place for scalars, images, videos and texts of a run.

    `metrics` gets one JSON object per call of `scalars`: `step`, `time` (seconds since 1970) and the numbers; each line
    is written before the call returns. `events` is what TensorBoard reads.
    """

    def __init__(self, metrics: Path, events: Path, resume_at: int | None = None) -> None:
        """resume_at: forget what was logged after this step; a run that goes on from there writes it anew."""
        if resume_at is not None and metrics.exists():
            rows = [row for row in read_metrics(metrics) if row["step"] <= resume_at]
            files.write(metrics, "".join(json.dumps(row) + "\n" for row in rows))
        self._events = FileWriter(str(events))
        if resume_at is not None:
            self._events.add_event(Event(session_log=SessionLog(status=SessionLog.START)), resume_at + 1)
        self._metrics = metrics.open("a")

    def __enter__(self) -> "Logger":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Numbers by name. JSON has no NaN or infinity: those are left out there."""
        for name, value in values.items():
            self._events.add_summary(summaries.scalar(name, value), step)
        finite = {name: value for name, value in values.items() if math.isfinite(value)}
        self._metrics.write(json.dumps({"step": step, "time": round(time.time(), 3), **finite}) + "\n")
        self._metrics.flush()

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
        self._events.add_summary(summaries.text(name, markdown), step)

    def close(self) -> None:
        self._metrics.close()
        self._events.close()

    def _picture(self, name: str, encoded: bytes, shape: tuple[int, ...], step: int) -> None:
        image = Summary.Image(height=shape[0], width=shape[1], colorspace=3, encoded_image_string=encoded)
        self._events.add_summary(Summary(value=[Summary.Value(tag=name, image=image)]), step)


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The rows of a metrics.jsonl; a last line that was cut off by a crash is left out."""
    rows = []
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            row = json.loads(line)
        except ValueError:
            continue
        rows.append(row)
    return rows
