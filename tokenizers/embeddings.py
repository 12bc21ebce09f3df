"""Frozen sentence encoders: one vector per token, read from disk where the sentence was embedded before."""

import contextlib
import hashlib
import importlib
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from dynalang_py.errors import UserError
from dynalang_py.tokenizers.shadow import outside_checkout

PAD = "<pad>"


class Embeddings:
    """The vectors that a T5 encoder gives to the tokens of a sentence, each in the light of the others.

    model: a name that the package transformers can fetch, or a folder with such a model. cache: a folder that may be
    shared by processes and runs; each sentence is a file there, named by a hash of sentence and model. The encoder
    itself is loaded when a sentence is met that has no file.
    """

    def __init__(self, model: str, cache: Path) -> None:
        self.model = model
        self._folder = Path(cache).expanduser() / hashlib.sha256(_identity(model).encode()).hexdigest()[:16]
        self._known: dict[str, np.ndarray] = {}
        self._encoder: Any = None

    def embed(self, sentence: str) -> np.ndarray:
        """(tokens, width) float32, the end-of-sentence mark last.

        Raises UserError if the sentence is new and transformers or the model isn't there, or the cache is read-only.
        """
        if sentence not in self._known:
            self._known[sentence] = self._from_disk(sentence)
        return self._known[sentence]

    @property
    def silence(self) -> np.ndarray:
        """(width,) float32: the vector of the padding token."""
        return self.embed(PAD)[0]

    def _from_disk(self, sentence: str) -> np.ndarray:
        path = self._folder / f"{hashlib.sha256(sentence.encode()).hexdigest()}.npy"
        if path.exists():
            with contextlib.suppress(OSError, ValueError):  # a damaged file is made anew
                kept: np.ndarray = np.load(path, allow_pickle=False)
                return kept
        vectors = self._compute(sentence)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            # Other processes see the whole file or none.
            with tempfile.NamedTemporaryFile(dir=self._folder, suffix=".new", delete=False) as file:
                np.save(file, vectors)
            os.replace(file.name, path)
        except OSError as error:
            raise UserError(f"embeddings can't be kept in {self._folder}: {error.strerror}") from error
        return vectors

    def _compute(self, sentence: str) -> np.ndarray:
        if self._encoder is None:
            self._encoder = _load(self.model)
        torch, tokenizer, encoder = self._encoder
        with torch.no_grad():
            vectors = encoder(**tokenizer(sentence, return_tensors="pt")).last_hidden_state[0]
        return vectors.float().numpy()


def _load(model: str) -> tuple[Any, Any, Any]:
    """torch, the tokenizer and the encoder of a model."""
    try:
        with outside_checkout():
            torch, transformers = importlib.import_module("torch"), importlib.import_module("transformers")
            tokenizer_class, encoder_class = transformers.AutoTokenizer, transformers.T5EncoderModel
    except ImportError as error:
        raise UserError(f"embeddings of {model} need transformers: pip install transformers ({error})") from error
    try:
        return torch, tokenizer_class.from_pretrained(model), encoder_class.from_pretrained(model).eval()
    except (OSError, ValueError, ImportError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(
            f"transformers can't load {model!r} ({reason}); name a T5 encoder that it can fetch, such as "
            "google-t5/t5-small, or a folder with one"
        ) from error


def _identity(model: str) -> str:
    """A model's name; a folder's also tells which files are in it, since weights may change under one name."""
    folder = Path(model).expanduser()
    if not folder.is_dir():
        return model
    files = sorted((path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in folder.iterdir())
    return repr((str(folder.resolve()), files))
