"""What the agent believes: encoder, dynamics, decoder and heads, and the loss that trains them."""

from dynalang_py.world_model.model import Learned, WorldModel, WorldModelConfig
from dynalang_py.world_model.rssm import RSSMConfig, State

__all__ = ["Learned", "RSSMConfig", "State", "WorldModel", "WorldModelConfig"]
