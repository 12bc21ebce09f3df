"""What holds for all tests."""

import sys
from pathlib import Path

# `python -m pytest` puts the checkout first, whose tokenizers/ would hide Hugging Face's package from homegrid.
sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != Path(__file__).parents[1]]
