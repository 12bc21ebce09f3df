"""What an environment gives at each step and takes back: the one thing that worlds and models both know."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from gymnasium import spaces

from dynalang_py.errors import UserError

FLAGS = ("is_first", "is_last", "is_terminal")


@dataclass(frozen=True, kw_only=True)
class StepSpec:
    """The shapes of one environment step, read from the environment's spaces.

    Actions are either discrete, in one or several components chosen at once, or continuous.
    """

    images: Mapping[str, tuple[int, int, int]] = field(default_factory=dict)
    """Name → (height, width, channels) of each uint8 image, in the order of their names."""
    vectors: Mapping[str, int] = field(default_factory=dict)
    """Name → width of each float vector."""
    vocab: int = 0
    """Number of token ids V; 0 where the environment gives no ids."""
    token_embed: int = 0
    """Width of the given token embedding; 0 where the environment gives none."""
    actions: tuple[int, ...] = ()
    """Number of choices of each discrete component; empty where actions are continuous."""
    continuous: int = 0
    """Number of continuous action dimensions, each in [-1, 1]."""

    def __post_init__(self) -> None:
        if self.vocab and self.token_embed:
            raise UserError("an environment gives token ids or token embeddings, never both")
        if bool(self.actions) == bool(self.continuous):
            raise UserError(f"actions are discrete or continuous, got {self.actions} and {self.continuous} dimensions")

    @property
    def action_size(self) -> int:
        """A: the width of an action as the model reads it (one-hot components side by side, or the floats)."""
        return sum(self.actions) + self.continuous

    @classmethod
    def from_spaces(cls, observation: spaces.Space[Any], action: spaces.Space[Any]) -> "StepSpec":
        """Read the spec off the spaces of an environment that keeps the step contract.

        Raises UserError for a space that the contract does not have.
        """
        if not isinstance(observation, spaces.Dict):
            raise UserError(f"observations must be a gymnasium Dict space, got {type(observation).__name__}")
        images: dict[str, tuple[int, int, int]] = {}
        vectors: dict[str, int] = {}
        vocab = token_embed = 0
        for name, space in sorted(observation.spaces.items()):
            if name.startswith("log_") or name in ("is_read_step", "expert"):
                continue
            if name == "token" and isinstance(space, spaces.Discrete):
                vocab = int(space.n)
            elif name == "token_embed" and isinstance(space, spaces.Box):
                token_embed = int(space.shape[0])
            elif isinstance(space, spaces.Box) and space.dtype == np.uint8 and len(space.shape) == 3:
                height, width, channels = space.shape
                images[name] = (height, width, channels)
            elif isinstance(space, spaces.Box) and len(space.shape) == 1:
                vectors[name] = space.shape[0]
            else:
                raise UserError(f"observation {name!r} has space {space}, which is no uint8 image, vector or token")
        return cls(images=images, vectors=vectors, vocab=vocab, token_embed=token_embed, **_action_sizes(action))

    def fields(self) -> dict[str, tuple[tuple[int, ...], np.dtype[Any]]]:
        """Name → (shape, dtype) of what replay keeps of each step."""
        kept: dict[str, tuple[tuple[int, ...], np.dtype[Any]]] = {}
        for name, shape in self.images.items():
            kept[name] = (shape, np.dtype(np.uint8))
        for name, width in self.vectors.items():
            kept[name] = ((width,), np.dtype(np.float32))
        if self.vocab:
            kept["token"] = ((), np.min_scalar_type(self.vocab - 1))
        if self.token_embed:
            kept["token_embed"] = ((self.token_embed,), np.dtype(np.float32))
        kept["action"] = self.action_field
        kept["reward"] = ((), np.dtype(np.float32))
        for name in FLAGS:
            kept[name] = ((), np.dtype(np.bool_))
        return kept

    @property
    def action_field(self) -> tuple[tuple[int, ...], np.dtype[Any]]:
        """(shape, dtype) of an action in replay: one id per discrete component, or the floats."""
        if self.continuous:
            return (self.continuous,), np.dtype(np.float32)
        return (len(self.actions),), np.min_scalar_type(max(self.actions) - 1)


def _action_sizes(action: spaces.Space[Any]) -> dict[str, Any]:
    if isinstance(action, spaces.Discrete):
        return {"actions": (int(action.n),)}
    if isinstance(action, spaces.MultiDiscrete):
        return {"actions": tuple(int(n) for n in action.nvec)}
    if isinstance(action, spaces.Box) and len(action.shape) == 1:
        return {"continuous": action.shape[0]}
    raise UserError(f"actions must be Discrete, MultiDiscrete or a flat Box, got {action}")
