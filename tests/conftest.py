"""What holds for all tests."""

import os
import sys
from pathlib import Path

from hypothesis import HealthCheck, settings

# The models of the tests are tiny: a second thread only waits for the first, the longer the busier the machine is.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# How long something takes says little where others compute, too.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

# `python -m pytest` puts the checkout first, whose tokenizers/ would hide Hugging Face's package from homegrid.
sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != Path(__file__).parents[1]]
