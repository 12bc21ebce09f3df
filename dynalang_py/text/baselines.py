"""What counting words reaches: perplexities to hold a model's against, on the same tokens."""

import contextlib
import io
import math
from collections.abc import Iterable, Sequence

import numpy as np

from dynalang_py.errors import UserError
from dynalang_py.text.tokens import Tokens

BEGIN, END = "<s>", "</s>"


def unigram(train: Tokens, held_out: Tokens, vocab: int) -> float:
    """Nats per held-out token if each is predicted by how often it occurred, counts raised by one."""
    counts = np.bincount(train.ids, minlength=vocab) + 1.0
    return float(-np.log(counts / counts.sum())[held_out.ids].mean())


def trigram(train: Tokens, held_out: Tokens, end: int | None) -> float:
    """Nats per held-out token if each is predicted from the two before it in its document (Kneser-Ney smoothing).

    end: the id of the end mark. Held-out ids that the text for training lacks count as seen once there, all in one
    document. Raises UserError without the package kaldingram.
    """
    try:
        from kaldingram.prune import ArpaParser
        from kaldingram.train import NgramCounts
    except ImportError as error:
        raise UserError(f"it needs the text extra: pip install 'dynalang_py[text]' ({error})") from error
    counts, lines = NgramCounts(3), io.StringIO()
    unseen = np.setdiff1d(held_out.ids, train.ids)
    with contextlib.redirect_stderr(io.StringIO()):  # it draws progress bars
        for document in _sentences(train, end):
            counts.add_raw_counts_from_line(" ".join(document))
        if unseen.size:
            counts.add_raw_counts_from_line(" ".join(map(str, unseen)))
        counts.cal_discounting_constants()
        counts.cal_f()
        counts.cal_bow()
        counts.print_as_arpa(fout=lines)
        (model,) = ArpaParser().loads(lines.getvalue())
    total = 0.0
    for document in _sentences(held_out, end):
        words = (BEGIN, *document, END)
        stop = len(words) if end is not None else len(words) - 1
        total += sum(model.log_p_raw(words[max(0, i - 2) : i + 1]) for i in range(1, stop))
    return -total * math.log(10) / len(held_out)


def _sentences(tokens: Tokens, end: int | None) -> Iterable[Sequence[str]]:
    """Documents as words, without the end mark, which the model of trigrams adds by itself."""
    for i in range(tokens.documents):
        ids = tokens[i].tolist()
        yield list(map(str, ids[:-1] if end is not None else ids))
