"""Windows of tokens that a model reads one after the other, and what is held out.

Letters: B streams side by side, T tokens of each in a window.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dynalang_py.errors import UserError
from dynalang_py.text.tokens import Tokens

LONGEST = 4096
"""Longer documents are read in pieces of this many tokens, each as if it were a document: a book as one document would
else be read from its beginning by every stream at once."""


class Windows:
    """B streams, each of which reads one document after the other; a window goes on where the one before it ended.

    Whichever stream has finished its document takes the next one of a list that is shuffled anew for each epoch: every
    document is read exactly once per epoch, however many streams there are, and the order follows from seed and epoch.
    """

    def __init__(self, tokens: Tokens, batch: int, length: int, *, seed: int, reset: bool) -> None:
        """reset: mark the first token of every document as a beginning; else that of every stream alone."""
        self.tokens, self.length, self.seed, self.reset = tokens, length, seed, reset
        self._starts, self._ends = _pieces(tokens.starts)
        self.epoch = 0
        self._taken = 0  # pieces of this epoch that streams have begun
        self._order = self._shuffled()
        self._place = [(-1, 0)] * batch  # the piece that a stream reads, and how much of it is read; −1: none yet

    def next(self) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
        """The next window: ids (B, T), and where a document begins (B, T)."""
        token = np.empty((len(self._place), self.length), np.int32)
        first = np.zeros(token.shape, np.bool_)
        for stream in range(len(self._place)):
            filled = 0
            while filled < self.length:
                piece, read = self._place[stream]
                if piece < 0 or self._starts[piece] + read == self._ends[piece]:
                    first[stream, filled] = self.reset or piece < 0
                    piece, read = self._take(), 0
                begin = self._starts[piece] + read
                taken = min(self.length - filled, int(self._ends[piece] - begin))
                token[stream, filled : filled + taken] = self.tokens.ids[begin : begin + taken]
                self._place[stream] = piece, read + taken
                filled += taken
        return token, first

    def state(self) -> dict[str, Any]:
        """Where the streams stand, exactly, as plain JSON values."""
        return {"epoch": self.epoch, "taken": self._taken, "place": [list(place) for place in self._place]}

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on where `state` was taken, from the same tokens with the same seed.

        Raises UserError for a place that this text, cut into as many streams, doesn't have.
        """
        place = [(piece, read) for piece, read in state["place"]]
        length = [*(self._ends - self._starts).tolist(), 0]  # of each piece, and of none
        here = all(-1 <= piece < len(length) - 1 and 0 <= read <= length[piece] for piece, read in place)
        if not here or len(place) != len(self._place) or not 0 <= state["taken"] <= len(self._order):
            raise UserError("the checkpoint stands at a place that the text here doesn't have; is it another text?")
        self.epoch, self._taken, self._place = state["epoch"], state["taken"], place
        self._order = self._shuffled()

    def _take(self) -> int:
        """The next piece of the list; behind the last begins an epoch."""
        if self._taken == len(self._order):
            self.epoch, self._taken = self.epoch + 1, 0
            self._order = self._shuffled()
        self._taken += 1
        return int(self._order[self._taken - 1])

    def _shuffled(self) -> NDArray[np.int64]:
        return np.random.default_rng([self.seed, self.epoch]).permutation(len(self._starts))


def once(
    tokens: Tokens, batch: int, length: int, *, reset: bool
) -> Iterator[tuple[NDArray[np.int32], NDArray[np.bool_], NDArray[np.bool_]]]:
    """Every document once, in windows: ids (B, T), where a document begins, and which of the tokens are text.

    Streams that have nothing left to read repeat id 0, which is no text then.
    """
    batch = min(batch, tokens.documents)
    streams = [[tokens[i] for i in range(b, tokens.documents, batch)] for b in range(batch)]
    longest = max(sum(map(len, stream)) for stream in streams)
    shape = batch, -(-longest // length) * length
    token, first, text = np.zeros(shape, np.int32), np.zeros(shape, np.bool_), np.zeros(shape, np.bool_)
    for b, stream in enumerate(streams):
        ids = np.concatenate(stream)
        token[b, : len(ids)], text[b, : len(ids)] = ids, True
        begins = np.cumsum([0, *map(len, stream[:-1])])
        first[b, begins if reset else 0] = True
    for begin in range(0, shape[1], length):
        window = slice(begin, begin + length)
        yield token[:, window], first[:, window], text[:, window]


def _pieces(starts: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First and last + 1 of all documents, long ones cut."""
    count = -(-np.diff(starts) // LONGEST)
    document = np.repeat(np.arange(len(count)), count)
    nth = np.arange(len(document)) - np.repeat(np.cumsum(count) - count, count)
    begin = starts[document] + nth * LONGEST
    return begin, np.minimum(begin + LONGEST, starts[document + 1])
