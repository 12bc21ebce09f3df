"""Frozen embeddings: one vector per token, read from disk where the sentence was embedded before."""

import hashlib
import os
import tempfile
import zipfile
from collections.abc import Callable
from functools import cached_property
from pathlib import Path

import numpy as np

from dynalang_py.errors import UserError
from dynalang_py.reading import user_path
from dynalang_py.tokenizers import encoders
from dynalang_py.tokenizers.contract import whole

CACHE = Path("~/.cache/dynalang_py/embeddings")
"""Where vectors are kept unless another folder is named."""


class Embeddings:
    """The vectors that a frozen encoder gives to the tokens of a sentence, each in the light of the others.

    encoder: homegrid, minilm, or a model of the package transformers (see `encoders.find`). cache: a folder that may be
    shared by processes and runs; each sentence is a file there, named by a hash of sentence and encoder. The encoder
    itself is loaded when a sentence is met that has no file.
    """

    def __init__(self, encoder: str, cache: Path = CACHE) -> None:
        self._encoder = encoders.find(encoder)
        self._folder = user_path(cache) / hashlib.sha256(self._encoder.identity.encode()).hexdigest()[:16]
        self._known: dict[str, np.ndarray] = {}

    def embed(self, sentence: str) -> np.ndarray:
        """(tokens, width) float32, with the marks that the encoder's own tokenizer adds.

        Raises UserError if the sentence is new and the encoder can't be loaded, or the cache is read-only.
        """
        if sentence not in self._known:
            self._known[sentence] = self._kept(sentence, lambda: self._encoder.encode(sentence))
        return self._known[sentence]

    @cached_property
    def silence(self) -> np.ndarray:
        """(width,) float32: the vector of the padding token."""
        return self._kept("\0silence", self._encoder.silence)[0]

    @property
    def width(self) -> int:
        """D: numbers in a vector."""
        return self.silence.size

    def _kept(self, key: str, compute: Callable[[], np.ndarray]) -> np.ndarray:
        path = self._folder / f"{hashlib.sha256(whole(key).encode()).hexdigest()}.npy"
        kept = _vectors(path)
        if kept is not None:
            return kept
        vectors = compute()
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            # Other processes see the whole file or none.
            with tempfile.NamedTemporaryFile(dir=self._folder, suffix=".new", delete=False) as file:
                np.save(file, vectors)
            os.replace(file.name, path)
        except OSError as error:
            raise UserError(f"embeddings can't be kept in {self._folder}: {error.strerror}") from error
        return vectors


def _vectors(path: Path) -> np.ndarray | None:
    """What lies in the cache; None where nothing does, or a damaged file, or one that holds something else."""
    try:
        # Mapped, a file is held against its header before memory is taken for what that promises; nothing is unpickled.
        kept = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError, SyntaxError, zipfile.BadZipFile):  # as numpy's reader of headers raises them
        return None
    if not isinstance(kept, np.ndarray) or kept.dtype != np.float32 or kept.ndim != 2 or not kept.size:
        return None
    vectors = np.array(kept)
    return vectors if np.isfinite(vectors).all() else None
