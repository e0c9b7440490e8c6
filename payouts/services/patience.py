"""Writes that must not be lost are tried until the database has taken them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from tenacity import AsyncRetrying, retry_if_exception_type, wait_random_exponential

from payouts.domain.errors import StoreUnavailableError
from payouts.domain.signals import Signal
from payouts.ports import Clock, Telemetry

T = TypeVar("T")


class Patience:
    """Repeats a write until it is durable; the store guarantees that repeats do no harm.

    Unbounded in time on purpose: what was sent must be written down. The work in hand is
    bounded, so that a database that stays away stops the intake (back-pressure); a drain that
    has run out of time cancels the wait, and the leftovers are found by the sweep.
    """

    def __init__(self, clock: Clock, telemetry: Telemetry, *, cap_s: float = 2.0) -> None:
        self._clock = clock
        self._telemetry = telemetry
        self._cap_s = cap_s

    async def until_durable(self, doing: str, write: Callable[[], Awaitable[T]]) -> T:
        """Return what `write` returns, once the database has taken it."""
        try:
            return await write()
        except StoreUnavailableError:
            began = self._clock.monotonic()
            self._telemetry.emit(Signal.STORE_AWAY, doing=doing)

        async def again() -> T:  # tenacity awaits only what is an async function itself.
            return await write()

        retrying = AsyncRetrying(
            retry=retry_if_exception_type(StoreUnavailableError),
            wait=wait_random_exponential(multiplier=0.05, max=self._cap_s),
            sleep=self._clock.sleep,
            reraise=True,
        )
        await self._clock.sleep(0.05)
        outcome: T = await retrying(again)
        seconds = self._clock.monotonic() - began
        self._telemetry.emit(Signal.STORE_BACK, doing=doing, seconds=seconds)
        return outcome
