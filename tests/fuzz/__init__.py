"""Fuzzed inputs over all verbs and readers: no traceback, no hang, no more memory than 4 GB, and one clear sentence.

`python -m tests.fuzz --inputs 10000 --seed 7` from the project's root; the same seed and number are the same input.
"""

import sys
from pathlib import Path

# `python -m` puts the checkout first, whose tokenizers/ would hide Hugging Face's package.
sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != Path(__file__).parents[2]]
