"""T5's own vocabulary: sentences to its ids, by the sentencepiece model that its authors published."""

from collections.abc import Iterable
from pathlib import Path

from dynalang_py.errors import UserError

SIZE = 32_100
"""Ids of the vocabulary; the last hundred are T5's masks, which no sentence contains."""
PAD, END = 0, 1


class T5Tokenizer:
    """model: the file `spiece.model` of any T5. Raises UserError if it isn't one."""

    def __init__(self, model: Path) -> None:
        from sentencepiece import SentencePieceProcessor

        path = Path(model).expanduser()
        if not path.is_file():
            raise UserError(f"there is no sentencepiece model at {path}; T5's is called spiece.model")
        try:
            self._pieces = SentencePieceProcessor(model_file=str(path))
        except (OSError, RuntimeError) as error:
            raise UserError(f"{path} is no sentencepiece model: {error}") from error
        if self._pieces.vocab_size() > SIZE or self._pieces.pad_id() != PAD or self._pieces.eos_id() != END:
            raise UserError(f"{path} is a sentencepiece model, but not T5's, whose ids 0 and 1 are pad and end")

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """What each id stands for; ▁ begins a word."""
        known = self._pieces.vocab_size()
        return (
            *map(self._pieces.id_to_piece, range(known)),
            *(f"<extra_id_{SIZE - 1 - i}>" for i in range(known, SIZE)),
        )

    def encode(self, sentence: str) -> list[int]:
        """Ids of a sentence, the end-of-sentence mark last."""
        return [*self._pieces.encode(sentence), END]

    def decode(self, ids: Iterable[int]) -> str:
        """The sentence that ids stand for, without silence and marks."""
        return self._pieces.decode([i for i in map(int, ids) if i < self._pieces.vocab_size()])
