"""Reaching Hugging Face's package `tokenizers` from a checkout, whose own folder of that name comes first."""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def outside_checkout() -> Iterator[None]:
    """Import as if from elsewhere: with the checkout as working folder, its `tokenizers` would be found first."""
    path, checkout = sys.path[:], Path(__file__).resolve().parent.parent
    sys.path[:] = [entry for entry in path if Path(entry).resolve() != checkout]
    try:
        yield
    finally:
        sys.path[:] = path
