"""Sentences become one token per step: closed vocabularies, and a speaker that says a sentence again and again."""

import re
from collections.abc import Iterable, Sequence

PAD = 0
"""The id of silence in every vocabulary."""
UNKNOWN = 1
"""The id of a word outside a `Vocabulary`."""


class Vocabulary:
    """A closed list of words: id 0 is silence, id 1 stands for every word outside the list, which begins at id 2."""

    def __init__(self, words: Iterable[str]) -> None:
        self.pieces: tuple[str, ...] = ("<pad>", "<unk>", *words)
        self._ids = {piece: i for i, piece in enumerate(self.pieces)}
        if len(self._ids) != len(self.pieces):
            raise ValueError("a vocabulary must not list a word twice")

    def __len__(self) -> int:
        return len(self.pieces)

    def encode(self, sentence: str) -> list[int]:
        """Ids of the words and of the punctuation marks, which count as words; upper and lower case are the same."""
        return [self._ids.get(word, UNKNOWN) for word in re.findall(r"\w+|[^\w\s]", sentence.lower())]

    def decode(self, ids: Iterable[int]) -> str:
        """The words of `ids`, separated by spaces, without the silence."""
        return " ".join(self.pieces[i] for i in ids if i != PAD)


class Speaker:
    """Says the ids of one sentence, one per step, then repeats it after `pause` silent steps, until told another.

    The pause lets a listener hear where the sentence ends. A new sentence interrupts the old one. Before the first
    sentence, and when told an empty one, it is silent.
    """

    def __init__(self, pause: int = 1) -> None:
        self.pause = pause
        self.tell(())

    def tell(self, ids: Sequence[int]) -> None:
        """Begin a new sentence with the next token."""
        self._loop = [*ids, *[PAD] * self.pause] if ids else [PAD]
        self._length = len(ids)
        self._spoken = 0

    @property
    def finished(self) -> bool:
        """Whether the sentence was said to its end at least once: here a world that waited for it may go on."""
        return self._spoken >= self._length

    def __next__(self) -> int:
        """The token of this step."""
        token = self._loop[self._spoken % len(self._loop)]
        self._spoken += 1
        return token
