"""Makes the wall clock of a process of a test jump, by hours, while it runs.

Only what the product's own clock tells of the time of day jumps; durations do not, as the system's
monotonic clock knows no jumps either.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from payouts.runtime import SystemClock


def skew(jumps: Sequence[Sequence[float]]) -> None:
    """Let this process's clock jump; to be called once, before anything is opened.

    Args:
        jumps: pairs: so many seconds after the start, the clock is so many seconds off.
    """
    began = time.monotonic()

    def now(self: SystemClock) -> datetime:
        del self
        passed = time.monotonic() - began
        off_s = 0.0
        for after_s, ahead_s in jumps:
            if passed >= after_s:
                off_s = ahead_s
        return datetime.now(UTC) + timedelta(seconds=off_s)

    setattr(SystemClock, now.__name__, now)
