"""A map of what the patches of the image show: what is known of each place, in view or beyond, and how it all moves.

The cell of the RSSM keeps words and plans; where things are it would have to keep in one vector, in which a turn moves
everything. The map keeps a few numbers for each place. Not in the paper.
"""

from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dynalang_py.bounds import Width, Within, check
from dynalang_py.nn.layers import Family, NormSiLU, initialise, linear
from dynalang_py.nn.unrolled import Read


@dataclass(frozen=True, kw_only=True)
class MapConfig:
    width: Width = 8
    """Numbers that are kept of each place."""
    beyond: Annotated[int, Within(0, 2**16)] = 48
    """Places out of view."""
    motions: Annotated[int, Within(1, 1024)] = 6
    """Ways in which everything moves, as a step or a turn moves it."""
    questions: Annotated[int, Within(1, 1024)] = 4
    """Things that the cell asks all places alike, as whether this is what was named."""
    around: Annotated[int, Within(0, 4096)] = 0
    """Numbers that two convolutions make of each place in view and its neighbours, to be asked for too, where things
    are larger than a patch; 0: what is asked for is in one place."""

    def __post_init__(self) -> None:
        check(self)


class Map(nn.Module):
    """Contents (…, places · width), the patches in view first.

    Each motion says for every place which places its content comes from; the cell's state chooses a mixture of them.
    Whatever a place shows moves the same way, so a turn that was seen once is known for everything.
    """

    def __init__(
        self, grid: tuple[int, int], own: int, deter: int, asking: int, config: MapConfig, family: Family
    ) -> None:
        """grid: rows and columns of the patches in view; own: width of each one's latents; deter: D, width of the
        cell's state; asking: width of what questions are made of."""
        super().__init__()
        patches = grid[0] * grid[1]
        self.patches, self.width = patches, config.width
        self.places = patches + config.beyond
        self.questions = config.questions
        self.view = patches * config.width
        self.size = self.places * config.width
        # What is kept of a latent is as long as its one-hot: longer vectors drown the action that the cell reads too.
        self.enter = linear(own, config.width, family, bias=False, scale=(own / config.width) ** 0.5)
        self.tell = linear(config.width, own, family, bias=False, scale=4 * config.width**0.5)
        self.choose = linear(deter, config.motions, family)
        self.sources = nn.Parameter(0.3 * torch.randn(config.motions, self.places, self.places))
        self.around = Around(grid, config.width, config.around, family) if config.around else None
        self.ask = linear(asking, config.questions * (config.width + config.around), family, scale=2.0)

    def weights(self) -> dict[str, Tensor]:
        """What the steps of a loop over time share: each place's shares of all contents (motions, to · from)."""
        return {"motions": (10 * self.sources).softmax(-1).flatten(1).t()}

    def read(self, latents: Tensor) -> Tensor:
        """Latents of the patches (…, patches · own) → what is kept of them (…, view)."""
        return self.enter(latents.unflatten(-1, (self.patches, -1))).flatten(-2)

    def move(self, seen: Tensor, known: Tensor, cell: Tensor, reads: dict[str, Read]) -> Tensor:
        """Contents (B, size) after a step, as expected.

        seen (B, view) takes the place of what was expected in view; cell (B, D): the state that the step led to.
        """
        contents = self._contents(seen, known[:, self.view :])
        sources = reads["motions"](self.choose(cell).softmax(-1)).unflatten(-1, (self.places, self.places))
        return (sources @ contents.to(sources.dtype)).flatten(-2)

    def expect(self, known: Tensor) -> Tensor:
        """Contents (…, size) → logits (…, patches · own) of what comes into view."""
        return self.tell(known[..., : self.view].unflatten(-1, (self.patches, self.width))).flatten(-2)

    def answers(self, seen: Tensor, beyond: Tensor, cell: Tensor) -> Tensor:
        """How much more each place is what `cell` (…, asking) asks for than places are on average.

        (…, places · questions). A question goes to all places alike: what a word means is learned where it counts and
        then known everywhere.
        """
        question = self.ask(cell).unflatten(-1, (self.questions, -1))
        contents = self._contents(seen, beyond).to(question.dtype)
        if self.around is not None:
            near = self.around(contents[..., : self.patches, :])
            contents = torch.cat([contents, F.pad(near, (0, 0, 0, self.places - self.patches))], -1)
        likeness = contents @ question.mT  # (…, places, questions)
        return (likeness - likeness.mean(-2, keepdim=True)).flatten(-2)

    def _contents(self, seen: Tensor, beyond: Tensor) -> Tensor:
        return torch.cat([seen, beyond], -1).unflatten(-1, (self.places, self.width))


class Around(nn.Module):
    """What each place in view looks like with its neighbours: (…, places, width) → (…, places, channels).

    Two 3×3 convolutions, so a place is read with the two places next to it on every side.
    """

    def __init__(self, grid: tuple[int, int], width: int, channels: int, family: Family) -> None:
        super().__init__()
        self.grid = grid
        self.first = nn.Conv2d(width, channels, 3, padding=1, bias=False)
        self.second = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        for conv, inputs in ((self.first, width), (self.second, channels)):
            initialise(conv.weight, 9 * inputs, 9 * channels, family)
        self.norm = NormSiLU(channels, family)

    def forward(self, contents: Tensor) -> Tensor:
        lead = contents.shape[:-2]
        x = contents.flatten(0, -3).unflatten(1, self.grid).permute(0, 3, 1, 2)  # channels last in memory
        x = self.norm(self.first(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return F.silu(self.second(x).permute(0, 2, 3, 1)).flatten(1, 2).unflatten(0, lead)
