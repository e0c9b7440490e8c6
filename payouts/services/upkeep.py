"""The background work that every kind of process does; safe in any number of processes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from payouts.domain.decisions import Policies
from payouts.domain.errors import StoreRefusedError
from payouts.domain.events import Event
from payouts.domain.payout import State
from payouts.domain.signals import Signal
from payouts.ports import Clock, PayoutStore, Telemetry
from payouts.services.completion import Completions
from payouts.services.relay import Relay
from payouts.services.sweeps import Sweep

BATCH: Final = 200
RETURNED_WITHIN_S: Final = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Upkeep:
    """Moves on what no message moves, whichever process comes first.

    Args:
        actor: how timelines name this process now.
        lease_s: how long a worker may be silent.
    """

    store: PayoutStore
    completions: Completions
    relay: Relay
    clock: Clock
    telemetry: Telemetry
    policies: Policies
    lease_s: float
    actor: Callable[[], str]

    def all(self) -> list[Sweep]:
        """Return the sweeps with their pace."""
        return [
            Sweep(name="abandoned", rest_s=2.0, run=self.find_abandoned),
            Sweep(name="overdue", rest_s=1.0, run=self.find_overdue),
            Sweep(name="expired", rest_s=1.0, run=self.expire_unsent, greedy=True),
            Sweep(name="returned", rest_s=5.0, run=self.apply_returned),
            Sweep(name="stuck", rest_s=60.0, run=self.find_stuck, greedy=True),
            Sweep(name="relay", rest_s=1.0, run=self.relay.sweep),
        ]

    async def find_overdue(self) -> int:
        """Doubt accepted payouts whose Result is overdue."""
        moved = await self.store.mark_overdue(now=self.clock.now(), limit=BATCH, actor=self.actor())
        return len(moved)

    async def find_abandoned(self) -> int:
        """Doubt what dead workers had in flight."""
        moved = await self.store.mark_abandoned(
            lease_s=self.lease_s, now=self.clock.now(), limit=BATCH, actor=self.actor()
        )
        return len(moved)

    async def expire_unsent(self) -> int:
        """End what was not sent in time, of paused accounts too, and publish it."""
        events = await self.store.expire_unsent(
            now=self.clock.now(), limit=BATCH, actor=self.actor()
        )
        for event in events:
            self.relay.offer(event)
            self._tell_expired(event)
        return len(events)

    async def apply_returned(self) -> int:
        """Apply Results that had come while a restored database did not know their payouts.

        One that the database refuses keeps none of the others from being applied.

        Raises:
            StoreRefusedError: some could not be applied; their incidents stay.
        """
        applied = refused = 0
        since = self.clock.now() - timedelta(seconds=RETURNED_WITHIN_S)
        for returned in await self.store.find_returned(since=since, limit=BATCH):
            try:
                await self.completions.take_returned(returned)
                applied += 1
            except StoreRefusedError:
                refused += 1
        if refused:
            raise StoreRefusedError(f"({refused} of the Results that had come before)")
        return applied

    async def find_stuck(self) -> int:
        """Keep an incident of each payout that stands still for too long, and tell of it once."""
        before = self.clock.now() - timedelta(seconds=self.policies.stuck_after_s)
        stuck = await self.store.record_stuck(before=before, limit=BATCH)
        for payout in stuck:
            self.completions.incidents.tell_stuck(payout)
        return len(stuck)

    def _tell_expired(self, event: Event) -> None:
        self.telemetry.emit(
            Signal.PAYOUT_ENDED,
            payout_id=event.subject,
            account=event.data["account"],
            state=State.FAILED.value,
            code="expired",
        )
