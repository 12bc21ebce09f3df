"""Sentencepiece models: those that `train` makes, T5's, and anybody's."""

import hashlib
import io
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from dynalang_py.errors import UserError
from dynalang_py.reading import read_bytes, user_path
from dynalang_py.tokenizers.contract import whole

LONGEST_LINE = 1 << 24
"""Bytes of a line of text above which sentencepiece would leave it out; it is given none that long."""
LONGEST_WORD = 200
"""Characters without a space after which a word is cut in two for training."""
LINE = re.compile(rf"\S.{{,200}}\S{{,{LONGEST_WORD}}}")
"""What it is given as a line: whole words, about 200 characters. Pieces never cross a space, so cutting there takes
nothing from them; uncut, its time grows with the square of the length of a passage that occurs twice."""
RESERVED = {0x2585: " ", 0: " "}
"""Characters for which it would leave out a whole line, the first, or cut it off; a space stands in for them."""
FREQUENT = 10
"""How often a word occurs at least, that is made sure to be considered as a piece."""
LEAST, MOST = 256 + 3, 1 << 20
"""Pieces that every trained model has (the bytes, silence, the unknown and the end mark), and that one may have."""
USUAL = 4_000
"""Pieces where no number is asked for and the text supports so many."""
LARGEST = 1 << 26
"""Bytes of a model's file. The largest that are published have five million."""
PROBE = "To 42 sofas, Ünï ▁ \u2585 </s> \U0001f98a\n"
"""What a model must be able to say before it is trusted."""


class SentencePieces:
    """A sentencepiece model from a file. Raises UserError if there is none or it is none.

    Where the model has bytes to fall back on, as those that are trained here, nothing is unknown, and `decode` gives
    back what was encoded, but for the character ▁, which is a space to sentencepiece.
    """

    def __init__(self, model: Path) -> None:
        from sentencepiece import SentencePieceProcessor

        path = user_path(model)
        if not os.path.isfile(path):
            raise UserError(f"there is no sentencepiece model at {path}")
        content = read_bytes(path, "the sentencepiece model", LARGEST)
        try:
            if not content:  # which sentencepiece takes for a model without pieces
                raise ValueError("an empty file")
            self._model = SentencePieceProcessor(model_proto=content)
            self.pieces: tuple[str, ...] = tuple(map(self._model.id_to_piece, range(self._model.vocab_size())))
            self._model.decode(list(range(self._model.vocab_size())))
            self._model.encode(PROBE)
        except (RuntimeError, ValueError, IndexError, MemoryError) as error:  # ValueError: pieces that are no UTF-8
            raise UserError(f"{path} is no sentencepiece model; dynalang tokenizer train makes one of text") from error
        self.identity = hashlib.sha256(content).hexdigest()
        self.pad = _id(self._model.pad_id())
        self.end = _id(self._model.eos_id())
        self.unknown = _id(self._model.unk_id())

    @property
    def size(self) -> int:
        return len(self.pieces)

    def encode(self, text: str) -> list[int]:
        """Ids of a text's pieces. The text of marks, such as </s>, is text like any other."""
        return self._model.encode(whole(text))

    def decode(self, ids: Iterable[int]) -> str:
        """The text; marks, silence and ids that the model has no piece for are left out."""
        return self._model.decode([i for i in map(int, ids) if 0 <= i < self._model.vocab_size()])

    def is_byte(self, id: int) -> bool:
        """Whether an id stands for one byte of a character that has no piece."""
        return id < self._model.vocab_size() and self._model.is_byte(id)


def train(documents: Iterable[str], size: int | None = None, changed: Counter[str] | None = None) -> bytes:
    """A unigram model of `size` pieces (Kudo 2018, arXiv 1804.10959), as the content of its file.

    It changes no character of a text (no normalisation), takes digits one by one, and spells characters that are rare
    in `documents` by their bytes. Id 0 is silence, 1 the unknown, which never occurs, 2 the end mark. The same
    documents give the same bytes on the same kind of machine: nothing is random, and the number of threads is fixed,
    because the order in which they add decides the last digits.

    size: None takes `USUAL` pieces, fewer where the text supports no more, and more where its characters need them;
    then `documents` may be read twice. changed: counts here the documents that weren't taken as they are: reserved
    (with characters that sentencepiece keeps for itself, see `RESERVED`), cut (with words above `LONGEST_WORD`), empty.
    Raises UserError if the documents are empty, or too poor or too rich in characters for `size` pieces, and whatever
    reading them raises.
    """
    if size is not None and size <= LEAST:
        raise UserError(f"a vocabulary needs more than {LEAST} pieces, of which 256 are the bytes, got {size}")
    if size is not None and size > MOST:
        raise UserError(f"a vocabulary may have at most {MOST:,} pieces, got {size:,}")
    changed = Counter() if changed is None else changed
    try:
        return _train(documents, size or USUAL, changed, exact=size is not None)
    except _TooSmallError as error:
        if size is not None or error.least > MOST:
            raise
        return _train(documents, error.least, changed, exact=False)


def _train(documents: Iterable[str], size: int, changed: Counter[str], *, exact: bool) -> bytes:
    from sentencepiece import SentencePieceTrainer

    changed.clear()
    model, trouble = io.BytesIO(), list[BaseException]()
    try:
        SentencePieceTrainer.train(
            sentence_iterator=_guarded(_lines(documents, changed), trouble),
            model_writer=model,
            vocab_size=size,
            hard_vocab_limit=exact,
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
        if trouble:
            raise trouble[0] from None
        raise _explained(str(error), size) from error
    return model.getvalue()


def _guarded(lines: Iterable[str], trouble: list[BaseException]) -> Iterator[str]:
    """The lines; what goes wrong in reading them is kept in `trouble`, for sentencepiece makes text of it."""
    try:
        yield from lines
    except BaseException as error:
        trouble.append(error)
        raise


def _lines(documents: Iterable[str], changed: Counter[str]) -> Iterator[str]:
    """The documents in lines of whole words, then every frequent word once.

    Sentencepiece considers as pieces only what is followed by this here and that there. A word that a space always
    follows would not be one, however frequent; standing at the end of a line once makes it one.
    """
    counts: Counter[str] = Counter()
    for document in documents:
        text = whole(document).translate(RESERVED)
        changed["reserved"] += "\u2585" in document or "\0" in document
        was_cut, is_empty = False, True
        for match in LINE.finditer(text):
            line = match[0]
            counts.update(line.split())
            was_cut |= match.end() < len(text) and not text[match.end()].isspace()
            is_empty = False
            yield line
        changed["cut"] += was_cut
        changed["empty"] += is_empty
    yield from (word for word, count in counts.items() if count >= FREQUENT)


class _TooSmallError(UserError):
    """A vocabulary has no place for the characters of a text."""

    def __init__(self, least: int, size: int) -> None:
        self.least = least
        super().__init__(f"the text's characters and the 256 bytes need at least {least} pieces, got {size}")


def _explained(complaint: str, size: int) -> Exception:
    if match := re.search(r"size too high .*<= (\d+)", complaint):
        return UserError(
            f"the text supports a vocabulary of at most {match[1]} pieces, got {size}; more text allows more"
        )
    if match := re.search(r"smaller than required_chars\. \d+ vs (\d+)", complaint):
        return _TooSmallError(int(match[1]), size)
    if "sentences_.empty()" in complaint:
        return UserError("there is no text to train a tokenizer on")
    return UserError(f"sentencepiece can't train on this text: {complaint}")


def _id(id: int) -> int | None:
    return None if id < 0 else id
