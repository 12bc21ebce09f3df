import io
import json
import resource
import shutil
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
    logger = Logger(tmp_path / "metrics.jsonl", tmp_path / "events")
    logger.scalars({"loss": 2.0, "return": 1.0}, 8)
    assert read_metrics(tmp_path / "metrics.jsonl")[0]["loss"] == 2  # already
    logger.scalars({"loss": 1.5}, 16)
    rows = read_metrics(tmp_path / "metrics.jsonl")
    assert [(row["step"], row["loss"]) for row in rows] == [(8, 2.0), (16, 1.5)]
    assert rows[0]["time"] <= rows[1]["time"]
    assert [(event.step, event.value) for event in _events(tmp_path / "events").Scalars("loss")] == [(8, 2), (16, 1.5)]


def test_every_line_is_json_even_where_a_number_is_none(tmp_path: Path) -> None:
    logger = Logger(tmp_path / "metrics.jsonl", tmp_path / "events")
    logger.scalars({"a": float("nan"), "b": float("inf"), "c": 1.0}, 0)
    (line,) = (tmp_path / "metrics.jsonl").read_text().splitlines()
    row = json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert row.keys() == {"step", "time", "c"}


def test_pictures_and_texts_are_what_tensorboard_finds(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (20, 10), colour) for colour in ("red", "blue", "green")]
    logger = Logger(tmp_path / "metrics.jsonl", tmp_path / "events")
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
    logger = Logger(*paths)
    for step in (8, 16, 24):
        logger.scalars({"loss": float(step)}, step)
    with paths[0].open("a") as file:
        file.write('{"step": 32, "lo')  # cut off by a crash
    logger = Logger(*paths, resume_at=16)
    logger.scalars({"loss": 100.0}, 24)
    assert [(row["step"], row["loss"]) for row in read_metrics(paths[0])] == [(8, 8), (16, 16), (24, 100)]
    assert [(event.step, event.value) for event in _events(paths[1]).Scalars("loss")] == [(8, 8), (16, 16), (24, 100)]


@pytest.mark.parametrize("way", ["events", "all of it"])
def test_a_run_whose_events_vanish_goes_on_with_others(tmp_path: Path, way: str) -> None:
    run = tmp_path / "run"
    logger = Logger(run / "metrics.jsonl", run / "events")
    logger.scalars({"loss": 1.0}, 1)
    shutil.rmtree(run / "events" if way == "events" else run)
    logger.scalars({"loss": 2.0}, 2)
    logger.scalars({"loss": 3.0}, 3)
    assert [(event.step, event.value) for event in _events(run / "events").Scalars("loss")] == [(2, 2), (3, 3)]
    assert [row["step"] for row in read_metrics(run / "metrics.jsonl")][-2:] == [2, 3]


def test_events_that_can_not_be_written_end_no_run_and_are_told_once(tmp_path: Path, notices: list[str]) -> None:
    (tmp_path / "events").touch()
    logger = Logger(tmp_path / "metrics.jsonl", tmp_path / "events")
    for step in (1, 2):
        logger.scalars({"loss": 1.0}, step)
    assert len(read_metrics(tmp_path / "metrics.jsonl")) == 2
    (notice,) = notices
    assert f"{tmp_path / 'events'} could not be written (File exists); TensorBoard will not" in notice


def test_a_full_disk_leaves_whole_records_and_names_the_metrics(tmp_path: Path) -> None:
    paths = tmp_path / "metrics.jsonl", tmp_path / "events"
    logger = Logger(*paths)
    logger.scalars({"loss": 1.0}, 1)
    (events,) = paths[1].iterdir()
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (events.stat().st_size + 10, old[1]))  # no file may grow beyond
    try:
        logger.text("words", "x" * 1000, 2)
        with pytest.raises(OSError, match=r"too large.*metrics\.jsonl"):
            logger.scalars({f"loss/{i}": 1.0 for i in range(99)}, 2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
    logger.scalars({"loss": 3.0}, 3)
    assert [row["step"] for row in read_metrics(paths[0])] == [1, 3]
    assert [(event.step, event.value) for event in _events(paths[1]).Scalars("loss")] == [(1, 1), (3, 3)]


STRANGE = [
    *(b"[1]", b"3", b"null", b'"text"', b"{}", b'{"a": 1}', b"[" * 100_000, b'{"step": 1, "a\xff": 2}', b"\x00\x01"),
    *(b'{"step": "1"}', b'{"step": -1}', b'{"step": 1.5}', b'{"step": true}', b'{"step": null}', b'{"step": 1e400}'),
    *(b'{"step": 1, "a": "b"}', b'{"step": 1, "a": NaN}', b'{"step": 1, "a": [1]}', b'{"step": ' + b"9" * 30 + b"}"),
    b'{"step": ' + b"9" * 5000 + b"}",
]


def test_what_is_no_row_of_metrics_is_left_out_with_a_warning(tmp_path: Path, notices: list[str]) -> None:
    path, good = tmp_path / "metrics.jsonl", b'{"step": 1, "loss": 2}'
    path.write_bytes(b"\n".join([good, *STRANGE, good, b'{"step": 32, "lo']))
    assert read_metrics(path) == [{"step": 1, "loss": 2}] * 2
    assert notices == [f"{path} has {len(STRANGE)} lines that are no metrics; what is left counts"]
    Logger(path, tmp_path / "events", resume_at=16)
    assert path.read_bytes() == (good + b"\n") * 2
