"""Instructions as what is heard, word by word: ids of a tokenizer, or a frozen encoder's vectors."""

from typing import Any, Protocol

import numpy as np

from dynalang_py.envs.contract import Observation
from dynalang_py.envs.language import PAD, speaking
from dynalang_py.envs.vln.config import VLNConfig
from dynalang_py.errors import UserError
from dynalang_py.tokenizers.embeddings import Embeddings


class Voice(Protocol):
    vocabulary: tuple[str, ...]
    silence: Any

    def read(self, instruction: str) -> list[Any]:
        """The words of an instruction."""

    def say(self, word: Any) -> Observation:
        """A word as the keys of an observation."""


def make_voice(config: VLNConfig) -> Voice:
    """How instructions are heard. Raises UserError for a tokenizer or an encoder that there isn't."""
    return _Vectors(config) if config.tokens == "embed" else _Ids(config)


class _Ids:
    """Words are ids."""

    silence = PAD

    def __init__(self, config: VLNConfig) -> None:
        self._tokenizer = speaking("vln", config.tokenizer)
        self.vocabulary = self._tokenizer.pieces

    def read(self, instruction: str) -> list[int]:
        return self._tokenizer.encode(instruction)

    def say(self, word: int) -> Observation:
        return {"token": word}


class _Vectors:
    """Words are a frozen encoder's vectors."""

    vocabulary: tuple[str, ...] = ("<pad>",)

    def __init__(self, config: VLNConfig) -> None:
        self._embeddings = Embeddings(config.encoder, config.cache)
        self.silence = self._embeddings.silence
        if self.silence.shape != (config.embedding,):
            raise UserError(
                f"vln.embedding must be {self.silence.size}, the width of {config.encoder}'s vectors, "
                f"got {config.embedding}."
            )

    def read(self, instruction: str) -> list[np.ndarray]:
        return list(self._embeddings.embed(instruction))

    def say(self, word: np.ndarray) -> Observation:
        return {"token_embed": word.copy()}
