"""Animations: what the agent did when it was told something, and what it imagined against what came.

Letters: B windows, T time (the full legend is in dynalang_py/nn/__init__.py).
"""

import colorsys
import io
import math
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from matplotlib.font_manager import FontProperties, findfont
from numpy.typing import NDArray
from PIL import Image, ImageColor, ImageDraw, ImageFont

from dynalang_py.run.episodes import Movie

Frame = Image.Image

GIF_LIMIT = 1_000_000
"""Largest animation in bytes: what a README and a reader on a phone put up with."""

LONGEST = 250
"""Steps of an episode that are shown at most."""

SIDE, WIDE, WIDEST = 256, 320, 480
"""Of an episode's picture: pixels of the side of a square one, of a square as large as a wide one, and its width at
most."""
MARGIN, LINE_HEIGHT, MOST_LINES = 14, 20, 4
"""Of an episode's card: pixels around the picture and per line of text; lines of a sentence at most."""

TASK, SILENCE = "task:", "(told nothing)"
"""What stands before the task where the agent is told something else, and instead of a sentence."""

INK, GREY, LINE, PAPER = "#1f2430", "#8a909c", "#d5d8de", "#ffffff"
BLUE, GREEN, RED, MARK = "#2f6fde", "#1a9850", "#d7301f", "#ffd75e"


def episodes(movies: Sequence[Movie]) -> bytes:
    """GIF of episodes beside each other, what the agent is told under each and the word being heard marked in it.

    Where the task is another than what is told, it stands beneath. At most GIF_LIMIT bytes and LONGEST steps; a longer
    episode is said to be cut. Pictures that are wider than high lie below each other.
    """
    heard = [spoken(movie) for movie in movies]
    length = min(LONGEST, max(len(movie.frames) for movie in movies))
    fps = 5 if length <= 50 else 10
    height, width = movies[0].frames[0].shape[:2]
    wide = width > height
    across = min(WIDEST, round(WIDE * math.sqrt(width / height))) if wide else SIDE
    size = (across, round(across * height / width) if wide else SIDE)
    below = _lines(movies, across)
    frames = [
        _join([_scene(movie, spans, t, size, below) for movie, spans in zip(movies, heard, strict=True)], wide)
        for t in range(length)
    ]
    return gif([*frames, *[frames[-1]] * round(1.5 * fps)], fps)


def open_loop(
    truth: NDArray[np.uint8],
    prediction: NDArray[np.uint8],
    token_true: NDArray[Any] | None,
    token_predicted: NDArray[Any] | None,
    *,
    channels: Sequence[int],
    vocabulary: Sequence[str],
    context: int,
    fps: float = 5.0,
) -> bytes:
    """GIF of imagined futures: truth | prediction | difference, with true and predicted tokens beneath.

    truth, prediction: (B, T, H, W, C), where several images may share the channel axis; tokens: (B, T) ids. channels:
    of each image; they are shown side by side. The first `context` steps are seen, the rest is imagined.
    """
    truth, prediction = (_side_by_side(images, channels) for images in (truth, prediction))
    difference = (prediction.astype(np.int16) - truth) // 2 + 128
    images = np.stack([truth, prediction, difference.astype(np.uint8)], 2)  # (B, T, 3, H, W, 3)
    windows: list[tuple[list[str], list[str]] | None] = [None] * len(truth)
    if token_true is not None and token_predicted is not None:
        pairs = zip(token_true, token_predicted, strict=True)
        windows = [(_words(true, vocabulary), _words(predicted, vocabulary)) for true, predicted in pairs]
    frames = [
        _join([_window(images[b, t], tokens, t, context) for b, tokens in enumerate(windows)], down=True)
        for t in range(truth.shape[1])
    ]
    return gif([*frames, *[frames[-1]] * round(fps)], fps)


def spoken(movie: Movie) -> list[tuple[int, int]]:
    """At each step, where the word being heard lies in the sentence: first character and end; (0, 0) in silence.

    Words may be pieces of words. Each is looked for behind the one before, since a sentence may hold it twice.
    """
    spans = []
    sentence, cursor = "", 0
    for text, word in zip(movie.sentences, movie.words, strict=True):
        if text != sentence:
            sentence, cursor = text, 0
        piece = word.replace("▁", " ").strip().lower()
        begin = sentence.lower().find(piece, cursor) if piece else -1
        if piece and begin < 0:  # the sentence is being said again
            begin = sentence.lower().find(piece)
        if begin >= 0:
            cursor = begin + len(piece)
        spans.append((begin, cursor) if begin >= 0 else (0, 0))
    return spans


def gif(frames: Sequence[Frame], fps: float, limit: int = GIF_LIMIT) -> bytes:
    """Encode an endless animation of at most `limit` bytes: fewer colours first, then fewer pixels."""
    # One palette for all frames: with one for each, still parts would flicker and compress badly.
    width, height = frames[0].size
    some = frames[:: math.ceil(len(frames) / 24)]
    sample = _join([frame.resize((width // 2, height // 2), Image.Resampling.NEAREST) for frame in some])
    scale = 1.0
    while True:
        size = (round(width * scale), round(height * scale))
        scaled = frames if scale == 1 else [frame.resize(size, Image.Resampling.BILINEAR) for frame in frames]
        for colours in (128, 64, 32):
            palette = _palette(sample, colours)
            small = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in scaled]
            file = io.BytesIO()
            small[0].save(file, "GIF", save_all=True, append_images=small[1:], duration=round(1000 / fps), loop=0)
            if file.tell() <= limit or min(size) < 64:
                return file.getvalue()
            if file.tell() > 2 * limit:
                break  # fewer colours would not do
        scale *= min(0.9, 0.97 * math.sqrt(limit / file.tell()))


def _palette(sample: Frame, colours: int) -> Frame:
    """Of what is seen, and of the colours that mean something, which are too few pixels to be chosen for themselves."""
    fixed = [value for name in (INK, GREY, LINE, PAPER, BLUE, GREEN, RED, MARK) for value in ImageColor.getrgb(name)]
    seen = sample.quantize(colours - len(fixed) // 3, dither=Image.Dither.NONE).getpalette() or []
    palette = Image.new("P", (1, 1))
    palette.putpalette([*fixed, *seen])
    return palette


def _lines(movies: Sequence[Movie], across: int) -> tuple[int, int]:
    """Lines of text that the longest sentence needs, and the longest task where any is another than what is told."""

    def most(texts: set[str]) -> int:
        return min(MOST_LINES, max((_wrap(text, across)[-1][-1] + 1 for text in texts), default=0))

    tasks = {f"{TASK} {task}" for movie in movies for task in _other_tasks(movie)}
    told = {_told(movie, t) for movie in movies for t in range(len(movie.sentences))}
    return most(told), most(tasks)


def _other_tasks(movie: Movie) -> set[str]:
    """Those that differ from what the agent is told."""
    return {task for told, task in zip(movie.sentences, movie.tasks, strict=False) if task != told}


def _told(movie: Movie, t: int) -> str:
    return movie.sentences[t] or (SILENCE if movie.tasks and movie.tasks[t] else "")


def _scene(
    movie: Movie, spans: Sequence[tuple[int, int]], t: int, size: tuple[int, int], below: tuple[int, int]
) -> Frame:
    """One step of one episode as a card of fixed size: picture, sentence, outcome; a finished one stands still.

    below: lines of text for what is told, and for the task.
    """
    over = t >= len(movie.frames) - 1 and bool(movie.episode)
    shown = min(t, len(movie.frames) - 1)
    width, height = size
    card = Image.new("RGB", (width + 2 * MARGIN, height + 2 * MARGIN + LINE_HEIGHT * sum(below) + 34), PAPER)
    draw = ImageDraw.Draw(card)
    picture = _fit(Image.fromarray(movie.frames[shown]), size)
    x, y = MARGIN + (width - picture.width) // 2, MARGIN + (height - picture.height) // 2
    won = movie.episode.get("success", math.nan)
    outcome = LINE if not over else GREY if math.isnan(won) else GREEN if won > 0.5 else RED
    draw.rounded_rectangle((x - 5, y - 5, x + picture.width + 4, y + picture.height + 4), 6, fill=outcome)
    card.paste(picture, (x, y))
    top = height + MARGIN + 14
    _sentence(draw, _told(movie, shown), spans[shown], width, top, INK if movie.sentences[shown] else GREY)
    if below[1] and movie.tasks and movie.tasks[shown]:
        _sentence(draw, f"{TASK} {movie.tasks[shown]}", (0, 0), width, top + LINE_HEIGHT * below[0], GREY)
    draw.text((MARGIN, card.height - 26), verdict(movie, t), outcome if over else GREY, _font(14, bold=over))
    return card


def verdict(movie: Movie, t: int) -> str:
    """What stands below a step: its number, or how the episode ended, or that the film ends before it."""
    last = len(movie.frames) - 1
    if t >= last and movie.episode:
        won = movie.episode.get("success", math.nan)
        word = {0.0: "failed, ", 1.0: "done, "}.get(won, "" if math.isnan(won) else f"{won:.0%} right, ")
        return f"{word}return {movie.episode['return']:.2f}"
    return f"step {t} of {last}; the film ends here" if t == LONGEST - 1 else f"step {min(t, last)}"


def _sentence(draw: ImageDraw.ImageDraw, text: str, span: tuple[int, int], width: int, top: int, ink: str) -> None:
    """A sentence below a picture, with the characters of `span` marked; of a long one the lines around them."""
    font, placed = _font(15), _wrap(text, width)
    lines = placed[-1][-1] + 1
    marked = max((line for _, at, _, line in placed if at < span[1]), default=0)
    first = max(0, min(marked - MOST_LINES + 2, lines - MOST_LINES))
    for i, (word, at, x, line) in enumerate(placed):
        if not first <= line < first + MOST_LINES:
            continue
        y = top + (line - first) * LINE_HEIGHT
        if line + 1 == first + MOST_LINES < lines and placed[i + 1][-1] > line:
            draw.text((x + font.getlength(word), y), " …", GREY, font)
        begin, end = max(span[0] - at, 0), min(span[1] - at, len(word))
        if begin < end:
            left, right = x + font.getlength(word[:begin]), x + font.getlength(word[:end])
            draw.rounded_rectangle((left - 1, y - 1, right, y + LINE_HEIGHT - 1), 4, fill=MARK)  # not the spaces
        draw.text((x, y), word, ink, font)


def _wrap(text: str, width: int) -> list[tuple[str, int, float, int]]:
    """Each word of a text with its first character, its place across and its line, broken at the width of a picture."""
    font = _font(15)
    placed = []
    at, x, line = 0, float(MARGIN), 0
    for word in text.split(" "):
        if x > MARGIN and x + font.getlength(word) > MARGIN + width:
            x, line = float(MARGIN), line + 1
        placed.append((word, at, x, line))
        at += len(word) + 1
        x += font.getlength(word + " ")
    return placed


def _window(images: NDArray[np.uint8], tokens: tuple[list[str], list[str]] | None, t: int, context: int) -> Frame:
    """One step of one imagined window. images: (3, H, W, 3), truth, prediction and difference."""
    pictures = [_fit(Image.fromarray(image), (192, 192)) for image in images]
    width, height = pictures[0].size
    gap, top = 16, MARGIN + 20
    across = 3 * width + 2 * gap
    card = Image.new("RGB", (across + 2 * MARGIN, top + height + MARGIN + (64 if tokens else 8)), PAPER)
    draw = ImageDraw.Draw(card)
    imagined = t >= context
    titles = ("truth", f"imagined, {t - context + 1} ahead" if imagined else "seen", "difference")
    for k, (picture, title) in enumerate(zip(pictures, titles, strict=True)):
        x, bold = MARGIN + k * (width + gap), k == 1 and imagined
        draw.text((x, MARGIN - 6), title, BLUE if bold else GREY, _font(14, bold=bold))
        box = (x - 4, top - 4, x + width + 3, top + height + 3)
        draw.rounded_rectangle(box, 5, fill=BLUE if bold else LINE)
        card.paste(picture, (x, top))
    if tokens:
        below = top + height + 14
        _strip(draw, "heard", tokens[0], tokens[0], t, (MARGIN, below), across)
        _strip(draw, "predicted", tokens[1], tokens[0], t, (MARGIN, below + 28), across)
    return card


def _strip(
    draw: ImageDraw.ImageDraw,
    label: str,
    words: Sequence[str],
    true: Sequence[str],
    t: int,
    corner: tuple[int, int],
    width: int,
) -> None:
    """The last words in cells, the present one marked at the right end; those that are not the true ones in red."""
    font, cell, head = _font(13), 72, 78
    x, y = corner
    draw.text((x, y + 12), label, GREY, font, anchor="lm")
    count = (width - head) // cell
    for k, i in enumerate(range(t - count + 1, t + 1)):
        if i < 0:
            continue
        left = x + head + k * cell
        if i == t:
            draw.rounded_rectangle((left, y, left + cell - 4, y + 24), 4, fill=MARK)
        word = words[i]
        while font.getlength(word) > cell - 10:
            word = word[:-2] + "…"
        ink = RED if words[i] != true[i] else GREY if word == "·" else INK
        draw.text((left + (cell - 4) / 2, y + 12), word, ink, font, anchor="mm")


def _words(ids: NDArray[Any], vocabulary: Sequence[str]) -> list[str]:
    """Display pieces of token ids; silence is a dot."""
    return [vocabulary[int(i)].replace("▁", "") or "␣" if i else "·" for i in ids]


def _side_by_side(images: NDArray[np.uint8], channels: Sequence[int]) -> NDArray[np.uint8]:
    """Images that share the channel axis (…, H, W, C) in one row: (…, H, W · images, 3)."""
    parts = np.split(images, np.cumsum(channels)[:-1], -1)
    return np.concatenate([_rgb(part) for part in parts], -2)


def _rgb(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """An image of any number of channels (…, C) in three. More than eight are symbols, which get a colour each."""
    count = images.shape[-1]
    if count > 8:
        # By the golden ratio, so that neighbours differ; of what lies in one place, the brightest is seen.
        colours = np.array([colorsys.hsv_to_rgb(0.618 * k % 1, 0.6, 1) for k in range(count)])
        return np.stack([(images * colour).max(-1) for colour in colours.T], -1).astype(np.uint8)
    return images[..., :3] if images.shape[-1] >= 3 else images[..., :1].repeat(3, -1)


def _fit(image: Frame, box: tuple[int, int]) -> Frame:
    """Scale into a box: few pixels are repeated and stay sharp and alike, many are interpolated."""
    scale = min(box[0] / image.width, box[1] / image.height)
    if scale >= 2:
        return image.resize((image.width * int(scale), image.height * int(scale)), Image.Resampling.NEAREST)
    return image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.LANCZOS)


def _join(frames: Sequence[Frame], down: bool = False) -> Frame:
    """Frames of one size beside each other, or below."""
    width, height = frames[0].size
    whole = Image.new("RGB", (width, height * len(frames)) if down else (width * len(frames), height), PAPER)
    for i, frame in enumerate(frames):
        whole.paste(frame, (0, i * height) if down else (i * width, 0))
    return whole


@cache
def _font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """A font that every installation has, since matplotlib brings it."""
    return ImageFont.truetype(findfont(FontProperties(family="DejaVu Sans", weight="bold" if bold else "normal")), size)
