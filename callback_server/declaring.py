"""Declares what events are published to, now or as soon as RabbitMQ is there."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress

from payouts.domain.errors import BrokerUnavailableError, TopologyError
from payouts.domain.values import AccountName
from payouts.messaging.connection import BrokerConnection
from payouts.messaging.topology import Topology


class Declaring:
    """Lets Results be served without RabbitMQ, which only events need: those wait in the outbox.

    Args:
        connection: opened here, closed by its owner.
        accounts: whose queues to declare.
        stop: set when RabbitMQ has something declared differently; `problem` then says what.
    """

    def __init__(
        self,
        connection: BrokerConnection,
        topology: Topology,
        accounts: Sequence[AccountName],
        stop: asyncio.Event,
    ) -> None:
        self._connection = connection
        self._topology = topology
        self._accounts = accounts
        self._stop = stop
        self._declared = False
        self.problem: TopologyError | None = None

    @property
    def ready(self) -> bool:
        """Whether events can be published now."""
        return self._declared and self._connection.connected

    async def begin(self, *, within_s: float) -> None:
        """Connect and declare, unless RabbitMQ does not answer in time.

        Raises:
            TopologyError: something is declared differently.
        """
        with suppress(BrokerUnavailableError):
            await self._connection.open(within_s=within_s)
            await self._declare()

    async def look(self) -> int:
        """Declare what `begin` could not, once RabbitMQ is there."""
        if self._declared or not self._connection.connected:
            return 0
        try:
            await self._declare()
        except TopologyError as error:
            self.problem = error
            self._stop.set()
        return 1

    async def _declare(self) -> None:
        await self._topology.declare(self._connection, self._accounts)
        self._declared = True
