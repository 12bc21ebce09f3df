"""An echo of the words heard: which ones they were stays known, without having to be kept in memory.

A recurrent cell has to learn to keep a word before anything that hangs on the word can be learned. The echo keeps the
words of the last sentence from the first step of training on, though not their order. Not in the paper.
"""

import torch
from torch import Tensor, nn

from dynalang_py.nn.layers import Family, Norm, linear

FADE = 0.95
"""Share of an echo that is left a step later: a sentence of twenty words that is said again and again stays whole."""


class Echo(nn.Module):
    """What is left of the words so far: a vector of each, fading since it was heard, all added up."""

    def __init__(self, words: int, width: int, family: Family) -> None:
        """words: width of what the encoder makes of a word; width: numbers that are kept."""
        super().__init__()
        self.word = linear(words, width, family, bias=False)
        self.norm = Norm(width, family)

    def forward(self, words: Tensor, is_first: Tensor, before: Tensor) -> Tensor:
        """words (B, T, …), is_first (B, T), the echo before them (B, W) → the echo at each step (B, T, W)."""
        length = is_first.shape[1]
        episode = is_first.long().cumsum(1)  # (B, T): 0 for the one that began before
        steps = torch.arange(length, device=words.device)
        age = steps[:, None] - steps  # (T, T): heard · hearing
        fade = FADE ** age.clamp(min=0) * (age >= 0)
        same = episode[:, :, None] == episode[:, None]
        said = self.word(words)
        left = (fade * same).to(said.dtype) @ said
        kept = FADE ** (steps + 1) * (episode == 0)
        return left + kept[..., None].to(said.dtype) * before[:, None].to(said.dtype)

    def read(self, echo: Tensor) -> Tensor:
        """The echo (…, W) at the same loudness whenever it is read."""
        return self.norm(echo)
