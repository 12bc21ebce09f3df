import io

import numpy as np
import pytest
from PIL import Image, ImageColor, ImageDraw

from dynalang_py.run import film, pictures
from dynalang_py.run.episodes import Movie

VOCABULARY = ("<pad>", "<unk>", "go", "to", "the", "ball")


def _movie(length: int, size: int = 120, success: float = 1.0) -> Movie:
    rng = np.random.default_rng(0)
    return Movie(
        frames=[rng.integers(0, 255, (size, size, 3), np.uint8) for _ in range(length)],
        sentences=["go to the ball"] * length,
        words=[("go", "to", "the", "ball", "")[t % 5] for t in range(length)],
        episode={"return": 0.5, "success": success},
    )


def _frames(gif: bytes) -> list[np.ndarray]:
    image = Image.open(io.BytesIO(gif))
    assert image.format == "GIF"
    frames = []
    for i in range(getattr(image, "n_frames", 1)):
        image.seek(i)
        frames.append(np.asarray(image.convert("RGB")))
    return frames


def test_the_word_being_heard_is_found_in_the_sentence() -> None:
    sentence = "put the red ball next to the red box"
    words = [*sentence.split(), "", "put", "the"]
    movie = Movie(sentences=[sentence] * len(words), words=words)
    heard = [sentence[begin:end] for begin, end in film.spoken(movie)]
    assert heard == words
    assert film.spoken(movie)[5] != film.spoken(movie)[1]  # the second "the" is another one
    assert film.spoken(movie)[-1] == film.spoken(movie)[1]  # and then the sentence begins again


def test_pieces_of_words_and_a_new_sentence_are_found() -> None:
    movie = Movie(
        sentences=["find the bottle"] * 4 + ["get the plates"] * 2,
        words=["▁find", "▁the", "▁bot", "tle", "▁get", "▁zebra"],
    )
    assert film.spoken(movie) == [(0, 4), (5, 8), (9, 12), (12, 15), (0, 3), (0, 0)]


def test_a_film_is_as_long_as_its_longest_episode_and_marks_the_outcome() -> None:
    short, long = _movie(3, success=1.0), _movie(9, success=0.0)
    frames = _frames(film.episodes([short, long]))
    assert len(frames) == 9  # the last stands still, as one long frame
    half = frames[0].shape[1] // 2
    edge = frames[0].shape[0] // 4, 19  # on the frame around the first picture

    def near(colour: str, pixel: np.ndarray) -> bool:
        wanted = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
        return bool(np.abs(pixel.astype(int) - wanted).max() < 40)

    assert near(film.LINE, frames[1][edge])
    assert near(film.GREEN, frames[2][edge])
    assert near(film.GREEN, frames[8][edge])
    assert near(film.LINE, frames[7][edge[0], edge[1] + half])
    assert near(film.RED, frames[8][edge[0], edge[1] + half])


def test_a_film_that_is_shorter_than_its_episode_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(film, "LONGEST", 6)
    short, long = _movie(4), _movie(9, success=0.0)
    assert len(_frames(film.episodes([short, long]))) == 6
    assert [film.verdict(long, t) for t in (4, 5)] == ["step 4", "step 5 of 8; the film ends here"]
    assert film.verdict(short, 5) == "done, return 0.50"


def test_beside_what_is_told_stands_the_task_where_it_is_another() -> None:
    """A line more, which is as high as all lines; and nothing of it where both are one."""
    movie = _movie(4)
    movie.tasks = list(movie.sentences)
    same = _frames(film.episodes([movie]))
    movie.tasks = ["go to the box"] * 4
    other = _frames(film.episodes([movie]))
    assert other[0].shape[0] == same[0].shape[0] + film.LINE_HEIGHT
    movie.sentences = [""] * 4  # told nothing, which is said, too
    silent = _frames(film.episodes([movie]))
    assert silent[0].shape == other[0].shape
    line = slice(film.SIDE + 2 * film.MARGIN, film.SIDE + 2 * film.MARGIN + film.LINE_HEIGHT)
    assert (silent[0][line].mean(-1) < 200).sum() > 50


def test_the_mark_takes_in_no_space() -> None:
    card = Image.new("RGB", (300, 60), film.PAPER)
    film._sentence(ImageDraw.Draw(card), "go to the ball", (3, 5), 256, 10, film.INK)
    font, before, word = film._font(15), "go ", "to"
    left = film.MARGIN + font.getlength(before)
    marked = np.flatnonzero((np.abs(np.asarray(card).astype(int) - ImageColor.getrgb(film.MARK)).max(-1) < 8).any(0))
    assert left - 2 <= marked.min() <= left + 1
    assert left + font.getlength(word) - 2 <= marked.max() <= left + font.getlength(word) + 1


@pytest.mark.parametrize("word", [0, 20, 59])
def test_of_a_long_sentence_the_lines_that_are_heard_are_shown(word: int) -> None:
    """A manual, or a walk through many rooms: whatever word is said now can be read."""
    words = [f"word{i}" for i in range(60)]
    begin = len(" ".join(words[:word])) + (word > 0)
    card = Image.new("RGB", (300, film.MOST_LINES * film.LINE_HEIGHT), film.PAPER)
    film._sentence(ImageDraw.Draw(card), " ".join(words), (begin, begin + len(words[word])), 256, 0, film.INK)
    marked = np.abs(np.asarray(card).astype(int) - ImageColor.getrgb(film.MARK)).max(-1) < 8
    assert marked.any(0).sum() > 30
    assert marked.any(1).sum() > film.LINE_HEIGHT / 2


def test_colours_that_mean_something_survive_many_others() -> None:
    frames = _frames(film.episodes([_movie(6, success=0.0)]))
    edge = frames[-1][film.SIDE // 2, film.MARGIN + 5].astype(int)
    assert np.abs(edge - ImageColor.getrgb(film.RED)).max() < 4


@pytest.mark.parametrize("size", [8, 64, 300])
def test_pictures_of_any_size_and_shape_are_shown(size: int) -> None:
    assert len(_frames(film.episodes([_movie(2, size)]))) == 2
    wide = Movie([np.zeros((size, 2 * size, 3), np.uint8)], ["go " * 60], ["go"], {"return": 1.0, "success": np.nan})
    assert len(_frames(film.episodes([wide]))) == 1


def test_animations_stay_small_even_of_noise() -> None:
    rng = np.random.default_rng(0)
    noise = [Image.fromarray(rng.integers(0, 255, (200, 300, 3), np.uint8)) for _ in range(20)]
    gif = film.gif(noise, 5, limit=150_000)
    assert len(gif) <= 150_000
    assert len(_frames(gif)) == 20


@pytest.mark.parametrize("heard", [True, False])
def test_imagined_futures_stand_between_truth_and_difference(heard: bool) -> None:
    truth = np.full((2, 7, 16, 16, 3), 60, np.uint8)
    prediction = truth + np.arange(7, dtype=np.uint8)[:, None, None, None] * 20
    ids = np.tile([2, 3, 4, 5, 0, 2, 3], (2, 1)) if heard else None
    frames = _frames(film.open_loop(truth, prediction, ids, ids, channels=[3], vocabulary=VOCABULARY, context=3))
    assert len(frames) == 7
    middle = 110
    columns = [14 + 96 + k * 208 for k in range(3)]
    for t, frame in enumerate(frames):
        shown = [int(frame[middle, x].mean()) for x in columns]
        assert abs(shown[0] - 60) < 8
        assert abs(shown[1] - (60 + 20 * t)) < 8
        assert abs(shown[2] - (128 + 10 * t)) < 8


def test_images_that_share_the_channels_are_shown_side_by_side() -> None:
    depth, colours = np.full((1, 3, 16, 16, 1), 200, np.uint8), np.full((1, 3, 16, 16, 3), (250, 0, 0), np.uint8)
    both = np.concatenate([depth, colours], -1)  # in the order of their names
    frame = _frames(film.open_loop(both, both, None, None, channels=[1, 3], vocabulary=VOCABULARY, context=2))[0]
    seen = [tuple(int(value) for value in frame[80, x]) for x in (50, 160)]
    assert np.allclose(seen, [(200, 200, 200), (250, 0, 0)], atol=12)


def test_symbols_have_a_colour_each() -> None:
    truth = np.zeros((1, 3, 16, 16, 17), np.uint8)
    for symbol in range(16):
        truth[:, :, symbol, :, symbol] = 255
    frame = _frames(film.open_loop(truth, truth, None, None, channels=[17], vocabulary=VOCABULARY, context=2))[0]
    rows = [tuple(frame[30 + 12 * symbol + 6, 110]) for symbol in range(16)]
    assert len(set(rows)) == 16
    assert all(max(colour) > 200 for colour in rows)


def _rows(count: int) -> list[dict[str, float]]:
    return [
        {
            "step": 100 * i,
            "minutes": 0.5 * i,
            "episode/success": i / count,
            "episode/return": i / count,
            "episode/count": 10,
        }
        for i in range(1, count + 1)
    ]


def _evaluated(step: int, mean: float) -> dict[str, float]:
    return {"step": step, "minutes": 1, "eval/success": mean, "eval/success_low": mean - 0.1, "eval/success_high": mean}


@pytest.mark.parametrize("rows", [[], _rows(1), _rows(20), [*_rows(20), _evaluated(1000, 0.5), _evaluated(2000, 1.0)]])
@pytest.mark.parametrize("metric", ["success", "return"])
def test_a_learning_curve_can_be_drawn_from_whatever_there_is(rows: list[dict[str, float]], metric: str) -> None:
    png = pictures.learning_curve(rows, metric, baseline=0.3, title="a run")
    image = Image.open(io.BytesIO(png))
    assert image.format == "PNG"
    assert image.width > 800


def test_labels_of_minutes_keep_their_distance() -> None:
    """Ten minutes of filling the replay, then twenty of which each has a tenth of the steps."""
    steps, minutes = np.array([0.0, 10_000, 12_000]), np.array([0.0, 10, 30])
    ticks = pictures.minute_ticks(steps, minutes, apart=840)
    places = np.interp(ticks, minutes, steps)
    assert len(ticks) > 3
    assert np.diff(places).min() >= 840
    assert pictures.minute_ticks(np.array([0.0, 100]), np.array([0.0, 0]), apart=7)[:1] == [0.0]


def test_the_running_mean_weighs_rows_by_their_episodes() -> None:
    values, weights = np.array([0.0, 1.0, 1.0]), np.array([50.0, 50.0, 100.0])
    assert pictures.smooth(values, weights, window=100).tolist() == [0.0, pytest.approx(50 / 75), 1.0]


def test_rows_that_lack_what_the_curve_needs_are_passed_over() -> None:
    rows = [{"step": 1, "episode/success": 1}, {"step": 2, "eval/success": 1}, {"step": 3, "minutes": 1}]
    assert pictures.learning_curve(rows, "success", None, "t").startswith(b"\x89PNG")
