"""A worker's right to send: it lapses by itself when the database has not heard of the worker."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from payouts.domain.errors import StoreUnavailableError
from payouts.domain.signals import Signal
from payouts.domain.values import AccountName, WorkerId
from payouts.ports import Clock, PayoutStore, Telemetry

SAFE_SHARE: Final = 0.6


class Lease:
    """Fences a worker that was stopped, cut off or declared dead (design.md §2, 4).

    `holds()` is asked at the last instant before a request's first byte. It is true for at most
    `SAFE_SHARE` of the lease after the beginning of the last heartbeat that succeeded, by the
    monotonic clock, so that a worker stops sending well before others declare it dead.
    """

    def __init__(
        self,
        store: PayoutStore,
        clock: Clock,
        telemetry: Telemetry,
        *,
        name: str,
        lease_s: float,
        accounts: Sequence[AccountName] = (),
    ) -> None:
        self._store = store
        self._clock = clock
        self._telemetry = telemetry
        self._name = name
        self._lease_s = lease_s
        self._accounts = accounts
        self._owner: WorkerId | None = None
        self._beaten_at = float("-inf")

    @property
    def owner(self) -> WorkerId:
        """The worker's present number; a new one after it was declared dead."""
        if self._owner is None:
            raise RuntimeError("The lease is used before the worker has enlisted.")
        return self._owner

    @property
    def actor(self) -> str:
        """How timelines name this worker."""
        return f"worker {self.owner}"

    def holds(self) -> bool:
        """Tell whether this worker may still send."""
        return self._clock.monotonic() - self._beaten_at < self._lease_s * SAFE_SHARE

    async def enlist(self) -> None:
        """Take a number in the database."""
        began = self._clock.monotonic()
        self._owner = await self._store.enlist(self._name, accounts=self._accounts)
        self._beaten_at = began

    async def beat(self, *, cut_off: Sequence[AccountName] = ()) -> int:
        """Tell the database that this worker lives; start over under a new number if it is late.

        Args:
            cut_off: the accounts whose circuit is open, for others to see.
        """
        began = self._clock.monotonic()
        heartbeat = await self._store.beat(self.owner, cut_off=cut_off)
        if heartbeat.alive:
            self._beaten_at = began
            return 0
        self._telemetry.emit(Signal.LEASE_LOST, owner=self.owner)
        await self.enlist()
        return 1

    async def retire(self) -> None:
        """Give the number back; what is still `submitting` under it is swept at once."""
        self._beaten_at = float("-inf")
        if self._owner is None:
            return
        try:
            await self._store.retire(self._owner)
        except StoreUnavailableError:
            return  # The lease runs out by itself.
