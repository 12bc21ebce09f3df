"""What every tokenizer can do: the one protocol that environments, text and checkpoints rely on. Needs no torch."""

import hashlib
from collections.abc import Iterable
from typing import Protocol, runtime_checkable


@runtime_checkable
class Tokenizer(Protocol):
    """Text to ids and back. Ids are whole numbers from 0 to below `size`."""

    pieces: tuple[str, ...]
    """What each id stands for, for people; in sentencepiece models ▁ is a space."""
    pad: int | None
    """The id of silence, None if there is none."""
    end: int | None
    """The id that ends a sentence or document, None if there is none; `encode` never adds it."""
    unknown: int | None
    """The id of what can't be said, None if everything can, or if `encode` leaves out what can't."""
    identity: str
    """A SHA-256 of all that decides the ids: a checkpoint keeps it, to know its tokenizer wherever the file lies."""

    @property
    def size(self) -> int:
        """How many ids there are."""
        ...

    def encode(self, text: str) -> list[int]:
        """The ids of a text, without any mark; `coverage.measure` tells how much of it is lost."""
        ...

    def decode(self, ids: Iterable[int]) -> str:
        """The text that ids stand for, without silence and end marks."""
        ...


def identity_of(kind: str, *parts: str) -> str:
    """SHA-256 of a tokenizer's kind and content, as 64 hexadecimal digits."""
    return hashlib.sha256("\0".join((kind, *parts)).encode()).hexdigest()


def whole(text: str) -> str:
    """The text; halves of characters, which JSON can hold and UTF-8 can't, are question marks."""
    return text if text.isascii() else text.encode(errors="replace").decode()
