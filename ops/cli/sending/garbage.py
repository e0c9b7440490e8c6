"""What Python's garbage collector need not look at."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def loaded_code_left_alone() -> Iterator[None]:
    """Keep the collector from looking through all modules again and again; they do not go away.

    It looks through everything that has lived long whenever that has grown by a quarter, which
    took a tenth of the time of checking a large file. What is made from now on is looked at as
    ever.
    """
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
