import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dynalang_py.text import windows as windows_module
from dynalang_py.text.tokens import Tokens
from dynalang_py.text.windows import Windows, once


def text(*lengths: int) -> Tokens:
    """Documents of these lengths: token t of document d is 100 · d + t."""
    ids = np.concatenate([100 * d + np.arange(n) for d, n in enumerate(lengths)]).astype(np.uint16)
    return Tokens(ids, np.cumsum([0, *lengths], dtype=np.int64), np.array(lengths), "key")


def read(windows: Windows, count: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """So many windows side by side: (B, count · T) each."""
    found = [windows.next() for _ in range(count)]
    return np.concatenate([token for token, _ in found], 1), np.concatenate([first for _, first in found], 1)


def test_each_stream_reads_whole_documents_across_windows() -> None:
    token, first = read(Windows(text(7, 3, 12, 1, 5), 3, 4, seed=0, reset=True), 25)
    for stream, begins in zip(token, first, strict=True):
        assert begins[0]
        np.testing.assert_array_equal(begins, stream % 100 == 0)
        for (a, b), new in zip(pairwise(stream), begins[1:], strict=True):
            assert new or b == a + 1
        at = np.flatnonzero(begins)
        for begin, end in pairwise(at):
            assert end - begin == (7, 3, 12, 1, 5)[stream[begin] // 100]


def test_every_document_is_read_once_per_epoch_in_another_order_each_time() -> None:
    """Also the fault of the release: it crashed when its data were shuffled again at the end of an epoch."""
    count = 20
    windows = Windows(text(*[4] * count), 1, 4, seed=3, reset=True)
    epochs = [[int(windows.next()[0][0, 0]) // 100 for _ in range(count)] for _ in range(5)]
    assert all(sorted(epoch) == list(range(count)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 5
    assert windows.epoch == 4
    again = Windows(text(*[4] * count), 1, 4, seed=3, reset=True)
    assert [int(again.next()[0][0, 0]) // 100 for _ in range(count)] == epochs[0]
    other = Windows(text(*[4] * count), 1, 4, seed=4, reset=True)
    assert [int(other.next()[0][0, 0]) // 100 for _ in range(count)] != epochs[0]


def test_more_streams_than_documents_and_documents_longer_than_windows_are_no_obstacle() -> None:
    windows = Windows(text(3, 50), 8, 16, seed=0, reset=True)
    token, _ = read(windows, 40)
    assert windows.epoch > 10
    counts = np.bincount(token[token % 100 == 0].ravel() // 100)
    assert abs(counts[0] - counts[1]) <= 8


def test_without_resets_only_the_very_first_token_is_a_beginning() -> None:
    _, first = read(Windows(text(3, 4, 2), 2, 4, seed=0, reset=False), 30)
    assert first[:, 0].all()
    assert first.sum() == 2


@pytest.mark.parametrize("after", range(0, 40, 7))
def test_reading_goes_on_at_the_exact_token(after: int) -> None:
    tokens = text(7, 3, 12, 1, 5)
    windows = Windows(tokens, 3, 5, seed=1, reset=True)
    read(windows, after or 1)
    state = json.loads(json.dumps(windows.state()))
    resumed = Windows(tokens, 3, 5, seed=1, reset=True)
    resumed.load_state(state)
    for ours, theirs in zip(read(windows, 30), read(resumed, 30), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_book_is_read_from_several_places(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows_module, "LONGEST", 10)
    token, first = Windows(text(35), 4, 5, seed=0, reset=True).next()
    assert sorted(token[:, 0].tolist()) == [0, 10, 20, 30]
    assert first[:, 0].all()


def test_held_out_text_is_read_once_and_padding_is_told_apart() -> None:
    tokens = text(7, 3, 12, 1, 5)
    seen = []
    for token, first, is_text in once(tokens, 2, 4, reset=True):
        assert token.shape == first.shape == is_text.shape == (2, 4)
        assert not (first & ~is_text).any()
        np.testing.assert_array_equal(first[is_text], token[is_text] % 100 == 0)
        seen += token[is_text].tolist()
    assert sorted(seen) == sorted(tokens.ids.tolist())
    beginnings = sum(first.sum() for _, first, _ in once(tokens, 2, 4, reset=False))
    assert beginnings == 2


def test_windows_of_a_map_on_disk_are_copies(tmp_path: Path) -> None:
    tokens = text(8)
    path = tmp_path / "ids.raw"
    tokens.ids.tofile(path)
    mapped = Tokens(np.memmap(path, np.uint16, "r"), tokens.starts, tokens.characters, "key")
    token, _ = Windows(mapped, 1, 8, seed=0, reset=True).next()
    token[:] = 0
    assert mapped.ids.tolist() == tokens.ids.tolist()
