import math
import sys

import numpy as np
import pytest

from dynalang_py.errors import UserError
from dynalang_py.text import baselines
from dynalang_py.text.tokens import Tokens

END = 0


def text(*documents: list[int]) -> Tokens:
    lengths = [len(document) for document in documents]
    ids = np.array([i for document in documents for i in document], np.uint16)
    return Tokens(ids, np.cumsum([0, *lengths], dtype=np.int64), np.array(lengths), "key")


def test_the_unigram_is_counted_with_one_added() -> None:
    train = text([1, 1, 2, END])
    expected = -(math.log(3 / 8) + math.log(1 / 8)) / 2
    assert baselines.unigram(train, text([1, 3]), 4) == pytest.approx(expected)


def test_the_trigram_knows_what_two_tokens_foretell() -> None:
    pytest.importorskip("kaldingram")
    rng = np.random.default_rng(0)
    documents = []
    for _ in range(400):
        a, b = rng.integers(1, 9, 2).tolist()
        documents.append([a, b, 1 + (a + b) % 8, 1 + (a + 2 * b) % 8, END])
    train, held_out = text(*documents[:350]), text(*documents[350:])
    nats = baselines.trigram(train, held_out, END)
    # Two of five tokens are free among eight; the others follow from two before them, the fourth from others too.
    assert 2 / 5 * math.log(8) < nats < baselines.unigram(train, held_out, 9) * 0.8


def test_the_trigram_is_a_distribution_even_over_tokens_it_has_not_seen() -> None:
    pytest.importorskip("kaldingram")
    train = text(*[[1, 2, 3, END], [1, 3, 2, END], [2, 2, 1, END]] * 3)
    after = {token: baselines.trigram(train, text([1, token]), None) for token in (1, 2, 3)}
    first = baselines.trigram(train, text([1]), None)
    known = sum(math.exp(-(2 * nats - first)) for nats in after.values())
    assert 0.5 < known < 1  # the rest is the end of the document
    assert baselines.trigram(train, text([1, 7, END]), END) > baselines.trigram(train, text([1, 2, END]), END)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kaldingram.prune", None)
    with pytest.raises(UserError, match=r"pip install 'dynalang_py\[text\]'"):
        baselines.trigram(text([1]), text([1]), None)
