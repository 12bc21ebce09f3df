"""Agents that learn a model of the world from what they see and what they are told, and act by imagining."""

__version__ = "0.1.0"
