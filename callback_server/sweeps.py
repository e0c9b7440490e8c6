"""The callback server's background work: what every process does, and what Results leave over."""

from __future__ import annotations

from dataclasses import dataclass

from payouts.services.completion import Completions
from payouts.services.health import StoreHealth
from payouts.services.sweeps import Sweep
from payouts.services.upkeep import Upkeep


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackSweeps:
    """Moves on what no message moves; safe in any number of processes."""

    upkeep: Upkeep
    completions: Completions
    health: StoreHealth

    def all(self) -> list[Sweep]:
        """Return the sweeps with their pace."""
        return [
            *self.upkeep.all(),
            Sweep(name="balances", rest_s=1.0, run=self.completions.write_balances),
            Sweep(name="pauses", rest_s=1.0, run=self.completions.pauses.look),
            Sweep(name="database", rest_s=1.0, run=self.health.look),
        ]
