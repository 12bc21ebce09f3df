"""How much of a text a tokenizer can say: what would be lost is counted, told, and refused above a share.

Words are counted, and punctuation is none. Needs no torch.
"""

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from dynalang_py.errors import UserError
from dynalang_py.tokenizers.closed import Vocabulary
from dynalang_py.tokenizers.contract import Tokenizer

MOST_UNKNOWN = 0.2
"""Share of unknown words above which a text is refused, where nothing else is set."""
SHOWN = 10
"""How many of the lost words are named."""
HELD = 1 << 20
"""How many different lost words are told apart; the rare ones are forgotten where there are more."""
WORD = re.compile(r"[^\s!-&(-,./:-@\[-^`{-~]+")
MARKS = "'-‘’‚“”„«»‹›…–—¡¿·•、。，！？：；「」『』（）【】《》"  # noqa: RUF001
"""What may lie around a word, beside the marks of ASCII that part words anyway."""


@dataclass
class Coverage:
    """Of a text, in words."""

    words: int = 0
    unknown: int = 0
    """Words of which at least a part can't be said: it is heard as the unknown, or not at all."""
    spelt: int = 0
    """Words that are spelt in bytes, at least in part: nothing of them is lost, but they take long to say."""
    lost: Counter[str] = field(default_factory=Counter)
    """The unknown words, or those that are spelt, and how often each occurs."""

    @property
    def share(self) -> float:
        """Of the words that are unknown."""
        return self.unknown / self.words if self.words else 0.0

    def add(self, other: "Coverage") -> None:
        """Take in the count of another text."""
        self.words += other.words
        self.unknown += other.unknown
        self.spelt += other.spelt
        self.lost.update(other.lost)
        if len(self.lost) > HELD:
            self.lost = Counter(dict(self.lost.most_common(HELD // 2)))

    def __str__(self) -> str:
        """ "2 of 8 words (25 %): sofa (1), lamp (1)" for a table."""
        if not self.words:
            return "no words"
        if self.unknown:
            return f"{self.unknown:,} of {self.words:,} words ({_percent(self.share)}): {self.examples()}"
        if self.spelt:
            spelt = f"{self.spelt:,} ({_percent(self.spelt / self.words)}) are spelt in bytes: {self.examples()}"
            return f"none of {self.words:,} words; {spelt}"
        return f"none of {self.words:,} words"

    def examples(self) -> str:
        """The most frequent lost words, each with its count."""
        return ", ".join(f"{_cut(word)} ({count:,})" for word, count in self._frequent())

    def check(self, most: float, tokenizer: str, what: str, instead: str) -> None:
        """Raise UserError if more than the share `most` is unknown.

        tokenizer: its name. what: whose words they are. instead: what else could be done, to end the sentence with.
        """
        if self.share <= most:
            return
        lost = f"{_percent(self.share)} of the {self.words:,} words of {what}"
        allowed = min(1.0, math.ceil(100 * self.share) / 100)
        raise UserError(
            f"the tokenizer {tokenizer} can't say {lost} (most often {self.examples()}), and {_percent(most)} are"
            f" allowed: {instead}, or allow more by --most-unknown {allowed:g}"
        )

    def state(self) -> dict[str, Any]:
        """The count as JSON, with the words that are named."""
        return {
            "words": self.words,
            "unknown": self.unknown,
            "spelt": self.spelt,
            "lost": dict(self._frequent()),
        }

    def _frequent(self) -> list[tuple[str, int]]:
        return sorted(self.lost.items(), key=lambda item: (-item[1], item[0]))[:SHOWN]

    @classmethod
    def of_state(cls, state: Mapping[str, Any]) -> "Coverage":
        """What `state` gave. Raises TypeError, ValueError or KeyError where it can't have been."""
        words, unknown, spelt, lost = (state[name] for name in ("words", "unknown", "spelt", "lost"))
        if not all(type(number) is int and number >= 0 for number in (words, unknown, spelt, *dict(lost).values())):
            raise ValueError("no counts of words")
        return cls(words, unknown, spelt, Counter(lost))


def measure(tokenizer: Tokenizer, texts: Iterable[str]) -> Coverage:
    """How much of some texts a tokenizer can say."""
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(WORD.findall(text.lower() if isinstance(tokenizer, Vocabulary) else text))
    found = Coverage()
    for part, count in counts.items():
        word = part.strip(MARKS)
        if not _has_more_than_marks(word):
            continue
        found.words += count
        match _lacks(tokenizer, word):  # type: ignore[arg-type]  # a Protocol may be hashable
            case "unknown":
                found.unknown += count
                found.lost[word] += count
            case "spelt":
                found.spelt += count
                found.lost[word] += count
    return found


def _has_more_than_marks(word: str) -> bool:
    return word.isalnum() or any(unicodedata.category(character)[0] not in "PZC" for character in word)


@lru_cache(1 << 16)
def _lacks(tokenizer: Tokenizer, word: str) -> str:
    """ "unknown" or "spelt", or an empty string for a word that is said in pieces of its own."""
    if isinstance(tokenizer, Vocabulary):
        return "unknown" if tokenizer.lacks(word) else ""
    ids = tokenizer.encode(word)
    if not ids or tokenizer.unknown in ids:
        return "unknown"
    is_byte = getattr(tokenizer, "is_byte", None)
    return "spelt" if is_byte is not None and any(map(is_byte, ids)) else ""


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def _cut(word: str) -> str:
    return word if len(word) <= 24 else f"{word[:23]}…"
