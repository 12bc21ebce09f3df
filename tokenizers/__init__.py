"""Text to ids and back: `load` gives the tokenizer of a name or a file. Needs no torch."""

import os
from collections.abc import Callable
from pathlib import Path

from dynalang_py.errors import UserError, nearest
from dynalang_py.reading import user_path
from dynalang_py.tokenizers import closed, t5
from dynalang_py.tokenizers.bytewise import Bytes
from dynalang_py.tokenizers.contract import Tokenizer
from dynalang_py.tokenizers.pieces import SentencePieces

__all__ = ["ENGLISH", "NAMED", "Tokenizer", "load"]

ENGLISH = Path(__file__).parent / "assets" / "english.model"
"""General English, 4,000 pieces; scripts/make_tokenizer.py made it."""

NAMED: dict[str, Callable[[], Tokenizer]] = {
    "english": lambda: SentencePieces(ENGLISH),
    "bytes": Bytes,
    "t5": lambda: t5.T5Tokenizer(t5.find()),
    "homegrid": closed.homegrid,
    "babyai": closed.babyai,
    "langroom": closed.langroom,
    "houses": closed.houses,
}
"""What can be named; everything else is a file."""


def load(name: str | Path) -> Tokenizer:
    """The tokenizer of a name in `NAMED`, or of a file.

    A file is a sentencepiece model (T5's gets the hundred ids that T5 adds), or VLN-CE's episodes (`.json` or
    `.json.gz`), which carry a word list. A name comes before a file that is called so; `./english` is always a file.

    Raises:
        UserError: There is no such name or file, the file is neither, or the name's package isn't installed.
    """
    if str(name) in NAMED and not isinstance(name, Path):
        return NAMED[str(name)]()
    path = user_path(name)
    if not os.path.isfile(path):
        hint = nearest(str(name), NAMED)
        raise UserError(
            f"there is no tokenizer {str(name)!r}: it must be {', '.join(NAMED)}, or the file of a sentencepiece "
            f"model or of VLN-CE's episodes.{hint}"
        )
    if path.name.endswith((".json", ".json.gz")):
        return closed.read_vln_words(path)
    model = SentencePieces(path)
    return t5.T5Tokenizer(path) if t5.is_t5(model) else model
