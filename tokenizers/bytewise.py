"""One id per byte: the tokenizer that needs no model and can say everything."""

from collections.abc import Iterable

from dynalang_py.tokenizers.contract import identity_of

FIRST = 2
"""Id of the byte 0; before it come silence and the end mark."""


class Bytes:
    """UTF-8, byte by byte: id 0 is silence, 1 ends a text, byte b has the id b + 2."""

    pad: int | None = 0
    end: int | None = 1
    unknown: int | None = None
    pieces: tuple[str, ...] = ("<pad>", "</s>", *(chr(b) if 32 < b < 127 else f"<0x{b:02X}>" for b in range(256)))
    identity = identity_of("Bytes")

    @property
    def size(self) -> int:
        return len(self.pieces)

    def encode(self, text: str) -> list[int]:
        return [byte + FIRST for byte in text.encode(errors="replace")]

    def decode(self, ids: Iterable[int]) -> str:
        """The text; bytes that are no UTF-8, as a model may say them, become �."""
        return bytes(i - FIRST for i in ids if i >= FIRST).decode(errors="replace")
