"""Closed vocabularies: a word is an id. One rule for what is not in the list: punctuation is left out, and a word is
the unknown where the list has an id for it, else left out, too; `coverage` counts the words that are lost.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path

from dynalang_py.errors import UserError
from dynalang_py.reading import read_json
from dynalang_py.tokenizers.contract import identity_of

PAD = 0
"""The id of silence in every vocabulary."""
UNKNOWN = 1
"""The id of a word outside a vocabulary that has an id for it."""


class Vocabulary:
    """A closed list of words: id 0 is silence, id 1 stands for every word outside the list, which begins at id 2.

    With unknown=False the list begins at id 1, and words outside it are left out. Spaces, upper and lower case, and
    punctuation that isn't in the list are not kept.
    """

    pad: int | None = PAD
    end: int | None = None

    def __init__(self, words: Iterable[str], *, unknown: bool = True) -> None:
        self.unknown: int | None = UNKNOWN if unknown else None
        self.pieces: tuple[str, ...] = ("<pad>", *(["<unk>"] if unknown else []), *words)
        self._ids = {piece: i for i, piece in enumerate(self.pieces)}
        if len(self._ids) != len(self.pieces):
            raise ValueError("a vocabulary must not list a word twice")
        self.identity = identity_of(type(self).__name__, *self.pieces)

    def __len__(self) -> int:
        return len(self.pieces)

    @property
    def size(self) -> int:
        return len(self.pieces)

    def split(self, text: str) -> list[str]:
        """The words, and the punctuation marks that are in the list; upper and lower case are the same."""
        parts = re.findall(r"\w+|[^\w\s]", text.lower())
        return [part for part in parts if part in self._ids or not is_punctuation(part)]

    def encode(self, text: str) -> list[int]:
        """Ids of the words; one outside the list is `unknown`, or left out where that is None."""
        ids = (self._ids.get(word, self.unknown) for word in self.split(text))
        return [id for id in ids if id is not None]

    def decode(self, ids: Iterable[int]) -> str:
        """The words of `ids`, separated by spaces, without the silence."""
        return " ".join(self.pieces[i] for i in ids if i != PAD)

    def lacks(self, text: str) -> bool:
        """Whether a word of a text is outside the list."""
        return any(word not in self._ids and not is_punctuation(word) for word in self.split(text))


def is_punctuation(text: str) -> bool:
    """Whether a text holds nothing but punctuation, which is no word."""
    return all(unicodedata.category(c)[0] == "P" or (c.isascii() and not c.isalnum()) for c in text)


class HomeGridPieces(Vocabulary):
    """The T5 pieces in homegrid's sentences, counted from 0. T5 has no piece for "i" at a word's start, but ▁ and i."""

    def __init__(self, pieces: Sequence[str]) -> None:
        super().__init__(pieces[1:], unknown=False)

    def split(self, text: str) -> list[str]:
        return [piece for word in super().split(text) for piece in (("▁", "i") if word == "i" else (word,))]

    def decode(self, ids: Iterable[int]) -> str:
        """The sentence, with its comma where it belongs."""
        return super().decode(ids).replace("▁ ", "").replace(" ,", ",")


class VLNWords(Vocabulary):
    """The word list of VLN-CE (R2R), which its episode files carry; ids are those in their `instruction_tokens`.

    Commas and question marks are dropped, hyphens tie words together, and what stands between two words is one token,
    an unknown one where it isn't in the list: so its authors numbered the instructions.
    """

    def split(self, text: str) -> list[str]:
        return re.findall(r"[\w-]+|[^\w\s-](?:[^\w-]*[^\w\s-])?", re.sub("[,?]", "", text.lower()))


def read_vln_words(path: Path) -> VLNWords:
    """The word list in an episode file of VLN-CE (`.json` or `.json.gz`). Raises UserError if there is none."""
    try:
        plain = read_json(path)
    except UserError as error:
        raise UserError(f"{path} can't be read as episodes of VLN-CE: {error}") from error
    found = plain.get("instruction_vocab") if isinstance(plain, dict) else None
    words = found.get("word_list") if isinstance(found, dict) else None
    if not isinstance(words, list) or not all(isinstance(word, str) and _is_text(word) for word in words):
        raise UserError(f"{path} has no instruction_vocab.word_list of words, as VLN-CE's train.json.gz has")
    if words[:2] != ["<pad>", "<unk>"] or len(set(words)) != len(words):
        raise UserError(f"{path} has a word list that doesn't begin with <pad> and <unk>, or lists a word twice")
    return VLNWords(words[2:])


def _is_text(word: str) -> bool:
    """Not half of a character, which JSON can hold and no file of text."""
    return not any("\ud800" <= character <= "\udfff" for character in word)


def homegrid() -> Vocabulary:
    """What homegrid's hundred sentences are made of."""
    from dynalang_py.envs.homegrid import T5_PIECES

    return HomeGridPieces(tuple(T5_PIECES.values()))


def babyai() -> Vocabulary:
    """The words of BabyAI's and MiniGrid's missions."""
    from dynalang_py.envs.babyai import VOCABULARY

    return VOCABULARY


def langroom() -> Vocabulary:
    """The fourteen words of LangRoom. Raises UserError if langroom isn't installed."""
    from dynalang_py.envs.contract import require

    words = require("langroom", extra="langroom", task="the vocabulary of LangRoom").VOCAB
    return Vocabulary(words[1:], unknown=False)


def houses() -> Vocabulary:
    """The words of the instructions that generated houses have."""
    from dynalang_py.envs.vln.houses.words import WORDS

    return Vocabulary(WORDS)
