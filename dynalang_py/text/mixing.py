"""Text that an agent reads beside its life: one update learns from both, which the paper leaves to the future."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from dynalang_py.errors import UserError
from dynalang_py.nn.saving import checked
from dynalang_py.text.reader import KEPT, text_batch
from dynalang_py.text.tokens import Tokens
from dynalang_py.text.windows import Windows
from dynalang_py.tokenizers import Tokenizer, load
from dynalang_py.tokenizers.closed import Vocabulary

if TYPE_CHECKING:
    from dynalang_py.agent import Agent


def world_tokenizer(env: Any, vocabulary: tuple[str, ...]) -> Tokenizer:
    """What turns text into the tokens of a world.

    env: the world's settings; vocabulary: its pieces by id. Where the settings name no tokenizer, the pieces are taken
    for whole words. Raises UserError where the world hears no token ids.
    """
    if not vocabulary:
        raise UserError("this world gives embeddings instead of token ids, which text can't be turned into here")
    if name := getattr(env, "tokenizer", None):
        tokenizer = load(name)
        if tokenizer.pieces == tuple(vocabulary):
            return tokenizer
    unknown = vocabulary[1:2] == ("<unk>",)
    return Vocabulary(vocabulary[2 if unknown else 1 :], unknown=unknown)


class Beside:
    """The text of a run: hand it to `Agent.update`, which asks it for a loss."""

    def __init__(
        self, agent: "Agent", tokens: Tokens, *, streams: int, length: int, weight: float, seed: int, reset: bool
    ) -> None:
        """streams: windows per update; weight: of their mean loss beside that of experience."""
        self.windows = Windows(tokens, streams, length, seed=seed, reset=reset)
        self.key = tokens.key
        """Hash of the text and its tokenizer."""
        self.belief = agent.initial(streams)
        self.weight = weight

    def __call__(self, agent: "Agent") -> tuple[Tensor, dict[str, Tensor]]:
        """The weighed loss of the next windows, and figures."""
        batch = text_batch(*self.windows.next(), agent.spec, agent.device)
        learned = agent.model.learn(batch, self.belief, agent.noise)
        self.belief = {name: learned.posterior[name][:, -1].detach() for name in KEPT}
        figures = {f"text/{name}": value.detach().mean() for name, value in learned.losses.items()}
        return self.weight * learned.loss.mean(), figures

    def tensors(self) -> dict[str, Tensor]:
        """What of it belongs into a checkpoint beside `windows.state()`."""
        return {f"beside/{name}": value for name, value in self.belief.items()}

    def load(self, tensors: Mapping[str, Tensor], windows: dict[str, Any], device: torch.device) -> None:
        """Go on where `tensors` and the state of the windows were taken."""
        self.belief = {name: value.to(device) for name, value in checked(tensors, "beside/", self.belief).items()}
        self.windows.load_state(windows)
