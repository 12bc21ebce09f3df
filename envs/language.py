"""Sentences become one token per step: a speaker that says a sentence again and again."""

from collections.abc import Sequence

from dynalang_py.errors import UserError
from dynalang_py.tokenizers import Tokenizer, load
from dynalang_py.tokenizers.closed import PAD, UNKNOWN, Vocabulary

__all__ = ["PAD", "UNKNOWN", "Speaker", "Vocabulary", "speaking"]


def speaking(family: str, name: str) -> Tokenizer:
    """The tokenizer that a family's config names, if a world can speak through it.

    Raises:
        UserError: There is no such tokenizer, or it has no id 0 for silence.
    """
    try:
        tokenizer = load(name)
    except UserError as error:
        raise UserError(f"{family}.tokenizer: {error}") from error
    if tokenizer.pad != PAD:
        raise UserError(
            f"{family}.tokenizer is {name!r}, which has no id 0 for silence; models that dynalang tokenizer train "
            "makes have it, as has T5's"
        )
    return tokenizer


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
