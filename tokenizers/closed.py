"""Closed vocabularies: a word is an id, and what is not in the list is unknown or refused."""

import gzip
import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from dynalang_py.errors import UserError, nearest
from dynalang_py.tokenizers.contract import identity_of

PAD = 0
"""The id of silence in every vocabulary."""
UNKNOWN = 1
"""The id of a word outside a vocabulary that has an id for it."""


class Vocabulary:
    """A closed list of words: id 0 is silence, id 1 stands for every word outside the list, which begins at id 2.

    With unknown=False the list begins at id 1, and `encode` refuses words outside it. Spaces, upper and lower case are
    not kept.
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
        """The words and the punctuation marks, which count as words; upper and lower case are the same."""
        return re.findall(r"\w+|[^\w\s]", text.lower())

    def encode(self, text: str) -> list[int]:
        """Ids of the words. Raises UserError for one outside the list if there is no id for such."""
        return [self._id(word) for word in self.split(text)]

    def decode(self, ids: Iterable[int]) -> str:
        """The words of `ids`, separated by spaces, without the silence."""
        return " ".join(self.pieces[i] for i in ids if i != PAD)

    def _id(self, word: str) -> int:
        found = self._ids.get(word, self.unknown)
        if found is None:
            hint = nearest(word, self.pieces[1:])
            raise UserError(f"the word {word!r} is not in this closed vocabulary of {self.size - 1} words.{hint}")
        return found


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

    Commas and question marks are dropped, hyphens tie words together, and what stands between two words is one token.
    """

    def split(self, text: str) -> list[str]:
        return re.findall(r"[\w-]+|[^\w\s-](?:[^\w-]*[^\w\s-])?", re.sub("[,?]", "", text.lower()))


def read_vln_words(path: Path) -> VLNWords:
    """The word list in an episode file of VLN-CE (`.json` or `.json.gz`). Raises UserError if there is none."""
    try:
        content = path.read_bytes()
        plain = json.loads(gzip.decompress(content) if path.suffix == ".gz" else content)
    except (OSError, EOFError, ValueError) as error:
        raise UserError(f"{path} can't be read as episodes of VLN-CE: {error}") from error
    found = plain.get("instruction_vocab") if isinstance(plain, dict) else None
    words = found.get("word_list") if isinstance(found, dict) else None
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise UserError(f"{path} has no instruction_vocab.word_list, as VLN-CE's train.json.gz has")
    if words[:2] != ["<pad>", "<unk>"] or len(set(words)) != len(words):
        raise UserError(f"{path} has a word list that doesn't begin with <pad> and <unk>, or lists a word twice")
    return VLNWords(words[2:])


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
