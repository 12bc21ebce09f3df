import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from dynalang_py.run import film
from dynalang_py.run.logger import Logger, read_metrics


def _events(path: Path) -> EventAccumulator:
    events = EventAccumulator(str(path))
    events.Reload()
    return events


def test_numbers_go_to_both_places(tmp_path: Path) -> None:
    with Logger(tmp_path / "metrics.jsonl", tmp_path / "events") as logger:
        logger.scalars({"loss": 2.0, "return": 1.0}, 8)
        assert read_metrics(tmp_path / "metrics.jsonl")[0]["loss"] == 2  # there before the logger is closed
        logger.scalars({"loss": 1.5}, 16)
    rows = read_metrics(tmp_path / "metrics.jsonl")
    assert [(row["step"], row["loss"]) for row in rows] == [(8, 2.0), (16, 1.5)]
    assert rows[0]["time"] <= rows[1]["time"]
    assert [(event.step, event.value) for event in _events(tmp_path / "events").Scalars("loss")] == [(8, 2), (16, 1.5)]


def test_every_line_is_json_even_where_a_number_is_none(tmp_path: Path) -> None:
    with Logger(tmp_path / "metrics.jsonl", tmp_path / "events") as logger:
        logger.scalars({"a": float("nan"), "b": float("inf"), "c": 1.0}, 0)
    (line,) = (tmp_path / "metrics.jsonl").read_text().splitlines()
    row = json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert row.keys() == {"step", "time", "c"}


def test_pictures_and_texts_are_what_tensorboard_finds(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (20, 10), colour) for colour in ("red", "blue", "green")]
    with Logger(tmp_path / "metrics.jsonl", tmp_path / "events") as logger:
        logger.image("still", np.full((4, 6, 3), 200, np.uint8), 1)
        logger.video("moving", film.gif(frames, 5), 2)
        logger.text("words", "| true | go |", 3)
    events = _events(tmp_path / "events")
    (still,), (moving,) = events.Images("still"), events.Images("moving")
    assert (still.width, still.height) == (6, 4)
    assert (moving.width, moving.height, moving.step) == (20, 10, 2)
    shown = Image.open(io.BytesIO(moving.encoded_image_string))
    assert (shown.format, getattr(shown, "n_frames", 1)) == ("GIF", 3)
    assert b"| true | go |" in events.Tensors("words/text_summary")[0].tensor_proto.string_val[0]


def test_a_run_that_goes_on_forgets_what_came_after_its_checkpoint(tmp_path: Path) -> None:
    paths = tmp_path / "metrics.jsonl", tmp_path / "events"
    with Logger(*paths) as logger:
        for step in (8, 16, 24):
            logger.scalars({"loss": float(step)}, step)
    with paths[0].open("a") as file:
        file.write('{"step": 32, "lo')  # cut off by a crash
    with Logger(*paths, resume_at=16) as logger:
        logger.scalars({"loss": 100.0}, 24)
    assert [(row["step"], row["loss"]) for row in read_metrics(paths[0])] == [(8, 8), (16, 16), (24, 100)]
    assert [(event.step, event.value) for event in _events(paths[1]).Scalars("loss")] == [(8, 8), (16, 16), (24, 100)]
