"""How far a run has come."""

from dataclasses import dataclass


@dataclass
class Counters:
    """Of a run of training; part of each of its checkpoints."""

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


@dataclass
class ReadingCounters:
    """Of a run of reading; part of each of its checkpoints."""

    updates: int = 0
    tokens: int = 0
    best: float | None = None
    """Perplexity of the best look at held-out text so far."""
    best_at: int = 0
    """Updates behind it."""
    stale: int = 0
    """Looks since then."""
    seconds: float = 0.0
    """Time spent training; looks at held-out text, checkpoints and the encoding of the corpus left out."""
    sessions: int = 0
    """How often the run was started or resumed."""
