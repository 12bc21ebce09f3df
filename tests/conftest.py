"""What holds for all tests."""

import os
import sys
from pathlib import Path

# The models of the tests are tiny: a second thread only waits for the first, the longer the busier the machine is.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# `python -m pytest` puts the checkout first, whose tokenizers/ would hide Hugging Face's package from homegrid.
sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != Path(__file__).parents[1]]
