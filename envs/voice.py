"""Text as what is heard, word by word: ids of a tokenizer, or a frozen encoder's vectors."""

from pathlib import Path
from typing import Any, Protocol

import numpy as np

from dynalang_py.envs.contract import Observation
from dynalang_py.errors import UserError
from dynalang_py.tokenizers import Tokenizer
from dynalang_py.tokenizers.embeddings import Embeddings


class Voice(Protocol):
    vocabulary: tuple[str, ...]
    silence: Any

    def read(self, text: str) -> list[Any]:
        """The words of a text."""

    def say(self, word: Any) -> Observation:
        """A word as the keys of an observation."""


class Ids:
    """Words are a tokenizer's ids."""

    def __init__(self, tokenizer: Tokenizer, end: bool = False) -> None:
        """end: whether each text closes with the tokenizer's end mark."""
        self._tokenizer = tokenizer
        self._end = [tokenizer.end] if end else []
        self.vocabulary = tokenizer.pieces
        self.silence = tokenizer.pad

    def read(self, text: str) -> list[Any]:
        return [*self._tokenizer.encode(text), *self._end]

    def say(self, word: int) -> Observation:
        return {"token": word}


class Vectors:
    """Words are a frozen encoder's vectors."""

    vocabulary: tuple[str, ...] = ("<pad>",)

    def __init__(self, family: str, encoder: str, cache: Path, width: int) -> None:
        """family: whose setting `embedding` the width is. Raises UserError if the encoder's is another."""
        self._embeddings = Embeddings(encoder, cache)
        self.silence = self._embeddings.silence
        if self.silence.shape != (width,):
            raise UserError(
                f"{family}.embedding must be {self.silence.size}, the width of {encoder}'s vectors, got {width}."
            )

    def read(self, text: str) -> list[Any]:
        return list(self._embeddings.embed(text))

    def say(self, word: np.ndarray) -> Observation:
        return {"token_embed": word.copy()}
