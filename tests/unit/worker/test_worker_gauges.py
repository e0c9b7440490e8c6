"""The gauges of a worker show what the books hold, and nothing that is over."""

from __future__ import annotations

from typing import cast

from payouts.messaging.connection import BrokerConnection
from payouts.services.lease import Lease
from payouts.storage.figures import Figures
from payouts.storage.store import PostgresStore
from payouts.telemetry import SignalMetrics
from worker.gauges import WorkerGauges
from worker.pool import Pool


class Parts:
    """As much of pool, lease, connection and store as is measured."""

    in_flight = ("p-1",)
    connected = True

    def __init__(self) -> None:
        self.paces: dict[tuple[str, ...], float] = {}

    def holds(self) -> bool:
        """Say that the lease holds."""
        return True

    async def figures(self) -> Figures:
        """Give books in which nothing but a pace is to be seen."""
        return Figures(
            open_count={},
            open_minor={},
            oldest_doubt_s={},
            unpublished=0,
            incidents={},
            balances_minor={},
            paces=self.paces,
        )


async def test_a_learned_pace_is_shown_until_it_has_risen_again() -> None:
    """Throttling lowers it, quiet raises it, also where another worker was throttled.

    Proved by setting it when this worker is throttled, and never again.
    """
    metrics, parts = SignalMetrics(), Parts()
    gauges = WorkerGauges(
        metrics=metrics,
        store=cast("PostgresStore", parts),
        pool=cast("Pool", parts),
        consumers={},
        connection=cast("BrokerConnection", parts),
        lease=cast("Lease", parts),
    )

    shown = []
    for pace in (70.0, 84.0, None):
        parts.paces = {} if pace is None else {("default",): pace}
        await gauges.measure()
        told = metrics.exposition().decode().splitlines()
        shown.append([line for line in told if line.startswith("payouts_pace_per_second{")])

    assert shown == [
        ['payouts_pace_per_second{account="default"} 70.0'],
        ['payouts_pace_per_second{account="default"} 84.0'],
        [],
    ]
