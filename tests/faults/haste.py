"""Makes a process of a test wait less where no setting says how long, and open few connections.

So a dead process's leftovers are found soon, and a birth costs little: a run of ten thousand
deaths fits into minutes. What is done, and in which order, stays.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from typing import Any, Final

import callback_server.sweeps
import payouts.services.relay
import payouts.storage.batch_sessions
import payouts.storage.engine
import worker.sweeps
from payouts.services.sweeps import Sweep
from payouts.storage.engine import create_engine

LONGEST_REST_S: Final = 0.8
POOL_SIZE: Final = 3
BATCHES: Final = 2
_SHORTER: Final = (
    (payouts.services.relay, "OVERLOOKED_AFTER_S", 1.0),
    (payouts.services.relay, "HIDDEN_S", 3.0),
    (worker.sweeps, "ORPHANED_AFTER_S", 2.0),
)
_SWEEPING: Final = (worker.sweeps.WorkerSweeps, callback_server.sweeps.CallbackSweeps)


def hurry() -> None:
    """Shorten the waits of this process; to be called once, before anything is opened."""
    for module, name, seconds in _SHORTER:
        if not isinstance(getattr(module, name), float):
            raise TypeError(f"{module.__name__}.{name} is no number of seconds")
        setattr(module, name, seconds)
    # Each connection is a process of PostgreSQL's, and most of a birth's cost.
    vars(payouts.storage.engine)["POOL_OVERFLOW"] = 0
    vars(payouts.storage.batch_sessions)["BATCHES"] = BATCHES
    (create_engine.__kwdefaults__ or {})["pool_size"] = POOL_SIZE
    for kind in _SWEEPING:
        setattr(kind, kind.all.__name__, _restless(kind.all))


def _restless(sweeps: Callable[[Any], list[Sweep]]) -> Callable[[Any], list[Sweep]]:
    @wraps(sweeps)
    def all_of(self: object) -> list[Sweep]:
        return [replace(sweep, rest_s=min(LONGEST_REST_S, sweep.rest_s)) for sweep in sweeps(self)]

    return all_of
