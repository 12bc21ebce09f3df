"""The loops around the agent: train, evaluate, bench; and what they keep and show."""
