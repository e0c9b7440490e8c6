"""Time as the world knows it, and as each process believes it to be."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from contextvars import Context
from datetime import UTC, datetime, timedelta
from typing import Final

from tests.simulation.loop import SimulatedLoop, present_process

BEGINNING: Final = datetime(2026, 11, 24, 6, 0, tzinfo=UTC)


async def sleep(seconds: float) -> None:
    """Let so much virtual time go by; no real time does."""
    await asyncio.sleep(seconds)


pass_time = sleep


class TrueClock:
    """The world's own time; what the database and M-PESA go by."""

    def __init__(self, loop: SimulatedLoop) -> None:
        self._loop = loop

    def now(self) -> datetime:
        """Return the true instant."""
        return BEGINNING + timedelta(seconds=self._loop.time())

    def monotonic(self) -> float:
        """Return the seconds since the world began."""
        return self._loop.time()

    async def sleep(self, seconds: float) -> None:
        """Let others run for this long."""
        await asyncio.sleep(seconds)


class ProcessClock(TrueClock):
    """A process's clock: its instants may be wrong and jump, its seconds only grow.

    Args:
        loop: whose time it is.
        wrong_s: by how much its instants are ahead of the truth; may be changed at any time.
        booted_s: what its monotonic seconds began with.
    """

    def __init__(self, loop: SimulatedLoop, *, wrong_s: float, booted_s: float) -> None:
        super().__init__(loop)
        self.wrong_s = wrong_s
        self._booted_s = booted_s

    def now(self) -> datetime:
        """Return the instant that this process believes in."""
        return BEGINNING + timedelta(seconds=self._loop.time() + self.wrong_s)

    def monotonic(self) -> float:
        """Return seconds that only grow, from a beginning of their own."""
        return self._loop.time() + self._booted_s


class Wire:
    """The way to the far side (`Far`): what was sent arrives, whatever becomes of the sender."""

    def __init__(self, loop: SimulatedLoop, clock: TrueClock, draw: random.Random) -> None:
        self.random = draw
        self._loop = loop
        self._clock = clock
        self._world = Context()

    def now(self) -> datetime:
        """Return the true instant."""
        return self._clock.now()

    def after(self, delay_s: float, act: Callable[[], None]) -> None:
        """Run `act` at the far side after a delay; a dead process sends nothing."""
        process = present_process()
        if process is None or not process.dead:
            self._loop.call_later(delay_s, act, context=self._world)
