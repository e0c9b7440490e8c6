"""Sets the gauges of a worker: its own work, and what the books hold open."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from payouts.domain.values import AccountName
from payouts.messaging.connection import BrokerConnection
from payouts.messaging.consumer import CommandConsumer
from payouts.services.lease import Lease
from payouts.storage.store import PostgresStore
from payouts.telemetry import Gauge, SignalMetrics
from worker.pool import Pool


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerGauges:
    """Measures now and again what no signal tells."""

    metrics: SignalMetrics
    store: PostgresStore
    pool: Pool
    consumers: Mapping[AccountName, CommandConsumer]
    connection: BrokerConnection
    lease: Lease

    async def measure(self) -> int:
        """Set every gauge once."""
        metrics = self.metrics
        metrics.gauge(Gauge.IN_FLIGHT, len(self.pool.in_flight))
        for name, consumer in self.consumers.items():
            metrics.gauge(Gauge.IN_HAND, consumer.in_hand, account=name)
        metrics.gauge(Gauge.CONNECTED, self.connection.connected, what="rabbitmq")
        metrics.gauge(Gauge.CONNECTED, self.lease.holds(), what="database")
        figures = await self.store.figures()
        metrics.replace(Gauge.OPEN, figures.open_count)
        metrics.replace(Gauge.OPEN_MINOR, figures.open_minor)
        metrics.replace(Gauge.OLDEST_DOUBT_S, figures.oldest_doubt_s)
        metrics.replace(Gauge.INCIDENTS, figures.incidents)
        metrics.replace(Gauge.BALANCE_MINOR, figures.balances_minor)
        metrics.replace(Gauge.PACE, figures.paces)
        metrics.gauge(Gauge.UNPUBLISHED, figures.unpublished)
        return 0
