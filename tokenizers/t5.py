"""T5's own vocabulary: text to its ids, by the sentencepiece model that its authors published."""

import importlib
from pathlib import Path

from dynalang_py.errors import UserError
from dynalang_py.tokenizers.pieces import SentencePieces

SIZE = 32_100
"""Ids of the vocabulary; the last hundred are T5's masks, which no sentence contains."""
PAD, END = 0, 1
REPOSITORIES = ("google-t5/t5-small", "t5-small", "google-t5/t5-base", "t5-base", "google-t5/t5-large", "t5-large")
"""Models at Hugging Face that carry the file; it is the same in all of them."""


class T5Tokenizer(SentencePieces):
    """model: the file `spiece.model` of any T5. Raises UserError if it isn't one."""

    def __init__(self, model: Path) -> None:
        try:
            super().__init__(model)
        except UserError as error:
            raise UserError(f"{error}; T5's is called spiece.model") from error
        if not is_t5(self):
            raise UserError(
                f"{Path(model).expanduser()} is a sentencepiece model, but not T5's, whose ids 0 and 1 are pad and end"
            )
        masks = (f"<extra_id_{SIZE - 1 - i}>" for i in range(self.size, SIZE))
        self.pieces = (*self.pieces, *masks)


def is_t5(model: SentencePieces) -> bool:
    """Whether a model numbers its pieces as T5 does."""
    return model.size == SIZE - 100 and (model.pad, model.end, model.unknown) == (PAD, END, 2)


def find() -> Path:
    """The file in the cache of Hugging Face. Raises UserError, which says how to get it, if it isn't there."""
    try:
        look_up = importlib.import_module("huggingface_hub").try_to_load_from_cache
    except ImportError:
        found: list[object] = []
    else:
        found = [look_up(repository, "spiece.model") for repository in REPOSITORIES]
    for path in found:
        if isinstance(path, str):
            return Path(path)
    raise UserError(
        "T5's sentencepiece model is not in the cache of Hugging Face; fetch it by pip install huggingface_hub; "
        f"hf download {REPOSITORIES[0]} spiece.model, or give the path of a spiece.model instead of t5"
    )
