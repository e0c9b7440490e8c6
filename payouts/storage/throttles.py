"""What an account without a limit sends, and how much of it is throttled. Pure."""

from __future__ import annotations

import asyncio
from math import floor
from typing import Final

# One receiver's passing refusal is no reason to slow everybody down; a tenth of all is.
_ENOUGH: Final = 0.1


class Meter:
    """Counts what happened in this second and in the one before."""

    def __init__(self) -> None:
        self._second = 0
        self._now = self._before = 0

    def note(self, now: float) -> None:
        """Count one."""
        self._turn_to(now)
        self._now += 1

    def rate(self, now: float) -> int:
        """Return how many there were in the busier of the two seconds."""
        self._turn_to(now)
        return max(self._now, self._before)

    def recent(self, now: float) -> int:
        """Return how many there were in both."""
        self._turn_to(now)
        return self._now + self._before

    def _turn_to(self, now: float) -> None:
        second = floor(now)
        if second != self._second:
            self._before = self._now if second == self._second + 1 else 0
            self._second, self._now = second, 0


class Observed:
    """The requests of this process to one account, and those of them that were throttled."""

    def __init__(self) -> None:
        self.used = asyncio.Event()
        self._requests = Meter()
        self._throttled = Meter()

    def sent(self, now: float) -> None:
        """Take a request down."""
        self._requests.note(now)
        self.used.set()

    def throttled(self, now: float) -> bool:
        """Take a throttled answer down; tell whether they are so many that the rate is at fault."""
        self._throttled.note(now)
        return self._throttled.recent(now) >= _ENOUGH * self._requests.recent(now)

    def rate(self, now: float) -> float:
        """Return how many requests this process sends in a second."""
        return self._requests.rate(now)
