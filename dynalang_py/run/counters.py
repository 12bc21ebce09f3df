"""How far a run has come."""

from dataclasses import dataclass
from typing import Annotated

from dynalang_py.bounds import Weight, Within, check

Counted = Annotated[int, Within(0, 10**15)]


@dataclass
class Counters:
    """Of a run of training; part of each of its checkpoints."""

    steps: Counted = 0
    """Environment steps, over all environments."""
    acting_steps: Counted = 0
    """Those among them in which the world was not frozen for reading."""
    episodes: Counted = 0
    updates: Counted = 0
    seconds: Weight = 0.0
    """Time spent training; evaluations, checkpoints and pictures left out."""
    sessions: Counted = 0
    """How often the run was started or resumed."""
    credit: Weight = 0.0
    """Updates that the steps taken have earned and that are not done yet."""

    def __post_init__(self) -> None:
        check(self)


@dataclass
class ReadingCounters:
    """Of a run of reading; part of each of its checkpoints."""

    updates: Counted = 0
    tokens: Counted = 0
    best: Weight | None = None
    """Perplexity of the best look at held-out text so far."""
    best_at: Counted = 0
    """Updates behind it."""
    stale: Counted = 0
    """Looks since then."""
    seconds: Weight = 0.0
    """Time spent training; looks at held-out text, checkpoints and the encoding of the corpus left out."""
    sessions: Counted = 0
    """How often the run was started or resumed."""

    def __post_init__(self) -> None:
        check(self)
