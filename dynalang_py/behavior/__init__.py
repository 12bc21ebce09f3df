"""What the agent wants. A behavior dreams with a world model, and hands its losses to the agent's update."""

from dynalang_py.behavior.actor_critic import ActorCritic, ActorCriticConfig

__all__ = ["ActorCritic", "ActorCriticConfig"]
