"""Sentencepiece models: those that `train` makes, T5's, and anybody's."""

import hashlib
import io
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from dynalang_py.errors import UserError

LONGEST_LINE = 1 << 24
"""Bytes of a line of text above which sentencepiece leaves it out."""
LINE = re.compile(r"\S.{,200}\S*")
"""What it is given as a line: whole words, about 200 characters. Pieces never cross a space, so cutting there takes
nothing from them; uncut, its time grows with the square of the length of a passage that occurs twice."""
FREQUENT = 10
"""How often a word occurs at least, that is made sure to be considered as a piece."""
LEAST = 256 + 3
"""Pieces that every trained model has: the bytes, silence, the unknown and the end mark."""


class SentencePieces:
    """A sentencepiece model from a file. Raises UserError if there is none or it is none.

    Where the model has bytes to fall back on, as those that are trained here, nothing is unknown, and `decode` gives
    back what was encoded, but for the character ▁, which is a space to sentencepiece.
    """

    def __init__(self, model: Path) -> None:
        from sentencepiece import SentencePieceProcessor

        path = Path(model).expanduser()
        if not path.is_file():
            raise UserError(f"there is no sentencepiece model at {path}")
        content = path.read_bytes()
        try:
            if not content:  # which sentencepiece takes for a model without pieces
                raise RuntimeError("an empty file")
            self._model = SentencePieceProcessor(model_proto=content)
        except RuntimeError as error:
            raise UserError(f"{path} is no sentencepiece model; dynalang tokenizer train makes one of text") from error
        self.identity = hashlib.sha256(content).hexdigest()
        self.pieces: tuple[str, ...] = tuple(map(self._model.id_to_piece, range(self._model.vocab_size())))
        self.pad = _id(self._model.pad_id())
        self.end = _id(self._model.eos_id())
        self.unknown = _id(self._model.unk_id())

    @property
    def size(self) -> int:
        return len(self.pieces)

    def encode(self, text: str) -> list[int]:
        """Ids of a text's pieces. The text of marks, such as </s>, is text like any other."""
        return self._model.encode(text)

    def decode(self, ids: Iterable[int]) -> str:
        """The text; marks, silence and ids that the model has no piece for are left out."""
        return self._model.decode([i for i in map(int, ids) if i < self._model.vocab_size()])

    def is_byte(self, id: int) -> bool:
        """Whether an id stands for one byte of a character that has no piece."""
        return id < self._model.vocab_size() and self._model.is_byte(id)


def train(documents: Iterable[str], size: int) -> bytes:
    """A unigram model of `size` pieces (Kudo 2018, arXiv 1804.10959), as the content of its file.

    It changes no character of a text (no normalisation), takes digits one by one, and spells characters that are rare
    in `documents` by their bytes. Id 0 is silence, 1 the unknown, which never occurs, 2 the end mark. The same
    documents give the same bytes on the same kind of machine: nothing is random, and the number of threads is fixed,
    because the order in which they add decides the last digits.

    Raises UserError if the documents are empty, or too poor or too rich in characters for `size` pieces.
    """
    from sentencepiece import SentencePieceTrainer

    if size <= LEAST:
        raise UserError(f"a vocabulary needs more than {LEAST} pieces, of which 256 are the bytes, got {size}")
    model = io.BytesIO()
    try:
        SentencePieceTrainer.train(
            sentence_iterator=_lines(documents),
            model_writer=model,
            vocab_size=size,
            model_type="unigram",
            byte_fallback=True,
            split_digits=True,
            normalization_rule_name="identity",
            remove_extra_whitespaces=False,
            max_sentence_length=LONGEST_LINE,
            pad_id=0,
            unk_id=1,
            eos_id=2,
            bos_id=-1,
            pad_piece="<pad>",
            num_threads=4,
            minloglevel=3,
        )
    except RuntimeError as error:
        raise _explained(str(error), size) from error
    return model.getvalue()


def _lines(documents: Iterable[str]) -> Iterator[str]:
    """The documents in lines of whole words, then every frequent word once.

    Sentencepiece considers as pieces only what is followed by this here and that there. A word that a space always
    follows would not be one, however frequent; standing at the end of a line once makes it one.
    """
    counts: Counter[str] = Counter()
    for document in documents:
        for line in LINE.findall(document):
            counts.update(line.split())
            yield line
    yield from (word for word, count in counts.items() if count >= FREQUENT)


def _explained(complaint: str, size: int) -> Exception:
    if match := re.search(r"size too high .*<= (\d+)", complaint):
        return UserError(
            f"the text supports a vocabulary of at most {match[1]} pieces, got {size}; more text allows more"
        )
    if match := re.search(r"smaller than required_chars\. \d+ vs (\d+)", complaint):
        return UserError(f"the text's characters and the 256 bytes need at least {match[1]} pieces, got {size}")
    if "sentences_.empty()" in complaint:
        return UserError("there is no text to train a tokenizer on")
    return RuntimeError(f"sentencepiece can't train: {complaint}")


def _id(id: int) -> int | None:
    return None if id < 0 else id
