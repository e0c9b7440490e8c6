"""The callback server's background work: overdue Results, dead workers' leftovers, events."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from payouts.ports import Clock, PayoutStore
from payouts.services.completion import Completions
from payouts.services.health import StoreHealth
from payouts.services.relay import Relay
from payouts.services.sweeps import Sweep

BATCH: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackSweeps:
    """Moves on what no message moves; safe in any number of processes."""

    store: PayoutStore
    completions: Completions
    relay: Relay
    clock: Clock
    lease_s: float
    actor: str
    health: StoreHealth

    def all(self) -> list[Sweep]:
        """Return the sweeps with their pace."""
        return [
            Sweep(name="relay", rest_s=1.0, run=self.relay.sweep),
            Sweep(name="overdue", rest_s=1.0, run=self.find_overdue),
            Sweep(name="abandoned", rest_s=2.0, run=self.find_abandoned),
            Sweep(name="balances", rest_s=2.0, run=self.completions.write_balances),
            Sweep(name="database", rest_s=1.0, run=self.health.look),
        ]

    async def find_overdue(self) -> int:
        """Doubt accepted payouts whose Result is overdue."""
        moved = await self.store.mark_overdue(now=self.clock.now(), limit=BATCH, actor=self.actor)
        return len(moved)

    async def find_abandoned(self) -> int:
        """Doubt what dead workers had in flight."""
        moved = await self.store.mark_abandoned(
            lease_s=self.lease_s, now=self.clock.now(), limit=BATCH, actor=self.actor
        )
        return len(moved)
