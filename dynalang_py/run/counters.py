"""How far a run has come."""

from dataclasses import dataclass


@dataclass
class Counters:
    """Part of every checkpoint."""

    steps: int = 0
    """Environment steps, over all environments."""
    acting_steps: int = 0
    """Those among them in which the world was not frozen for reading."""
    episodes: int = 0
    updates: int = 0
    seconds: float = 0.0
    """Time spent training; evaluations, checkpoints and pictures left out."""
    sessions: int = 0
    """How often the run was started or resumed."""
    credit: float = 0.0
    """Updates that the steps taken have earned and that are not done yet."""
