"""Publishing with confirms: what returns without an error lies durably in a queue."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Final, NamedTuple

from aio_pika import DeliveryMode
from aio_pika.exceptions import DeliveryError, PublishError
from aiormq import Channel
from pamqp.commands import Basic

from payouts.domain.errors import BrokerUnavailableError, UnroutableError
from payouts.domain.values import AccountName
from payouts.messaging.codec import COMMAND_CONTENT_TYPE
from payouts.messaging.connection import BrokerConnection, broker_errors, close_channel
from payouts.messaging.dead import dead_properties
from payouts.messaging.delivery import Delivery
from payouts.messaging.topology import Topology

PERSISTENT: Final = int(DeliveryMode.PERSISTENT)


class _Outgoing(NamedTuple):
    exchange: str
    routing_key: str
    body: bytes
    properties: Basic.Properties


class ConfirmedPublisher:
    """Publishes on one channel, many at a time, each until RabbitMQ has confirmed it.

    A lost confirm is not a refusal: the message may lie in its queue. Whoever publishes it again
    keeps its id, so that receivers can tell.

    Args:
        connection: opened by its owner.
        timeout_s: bound of one publication, the wait for a connection included.
        in_flight: how many may wait for their confirm; further callers wait for a place.
    """

    def __init__(
        self, connection: BrokerConnection, *, timeout_s: float = 10.0, in_flight: int = 500
    ) -> None:
        self._connection = connection
        self._timeout_s = timeout_s
        self._places = asyncio.Semaphore(in_flight)
        self._opening = asyncio.Lock()
        self._channel: Channel | None = None
        self._closing: set[asyncio.Task[None]] = set()
        self._same_id: dict[str, asyncio.Future[None]] = {}

    async def publish(
        self,
        exchange: str,
        routing_key: str,
        body: bytes,
        properties: Basic.Properties,
    ) -> None:
        """Return once a queue has the message.

        Raises:
            UnroutableError: no queue takes it.
            BrokerUnavailableError: refused, lost or late; publish it again.
        """
        message = _Outgoing(exchange, routing_key, body, properties)
        async with self._places:
            message_id = properties.message_id
            if message_id is None:
                await self._publish(message)
                return
            # The library tells returned messages apart by their id: one of each at a time.
            while (earlier := self._same_id.get(message_id)) is not None:
                await asyncio.wait([earlier])
            done = self._same_id[message_id] = asyncio.get_running_loop().create_future()
            try:
                await self._publish(message)
            finally:
                del self._same_id[message_id]
                done.set_result(None)

    async def close(self) -> None:
        """Close the channel; what waits for a confirm raises."""
        if self._channel is not None:
            self._leave(self._channel)
        if self._closing:
            await asyncio.wait(self._closing)

    async def _publish(self, message: _Outgoing) -> None:
        channel = await self._open()
        try:
            with broker_errors("publish"):
                await channel.basic_publish(
                    message.body,
                    exchange=message.exchange,
                    routing_key=message.routing_key,
                    properties=message.properties,
                    mandatory=True,
                    timeout=self._timeout_s,
                    wait=False,
                )
        except BrokerUnavailableError as error:
            cause = error.__cause__
            if isinstance(cause, PublishError):
                raise UnroutableError(
                    f"{message.exchange} with routing key {message.routing_key}"
                ) from None
            if not isinstance(cause, DeliveryError):
                self._leave(channel)
            raise

    async def _open(self) -> Channel:
        channel = self._channel
        if channel is not None and not channel.is_closed:
            return channel
        async with self._opening:
            if self._channel is None or self._channel.is_closed:
                self._channel = await self._connection.channel(
                    confirms=True, within_s=self._timeout_s
                )
            return self._channel

    def _leave(self, channel: Channel) -> None:
        """Leave a channel that does not confirm; a late confirm must find nobody waiting."""
        if self._channel is channel:
            self._channel = None
            task = asyncio.create_task(close_channel(channel))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)


class CommandPublisher:
    """Publishes commands to an account's queue, as any upstream would (contract.md §1)."""

    def __init__(self, publisher: ConfirmedPublisher, topology: Topology) -> None:
        self._publisher = publisher
        self._exchange = topology.commands

    async def publish(self, account: AccountName, body: bytes, *, message_id: str) -> None:
        """Return once the account's queue has the command.

        Raises:
            UnroutableError: there is no queue for this account.
            BrokerUnavailableError: it is not certain that it was taken; publish it again.
        """
        await self._publisher.publish(
            self._exchange,
            account,
            body,
            Basic.Properties(
                content_type=COMMAND_CONTENT_TYPE,
                delivery_mode=PERSISTENT,
                message_id=message_id,
                timestamp=datetime.now(UTC),
            ),
        )


class DeadLetters:
    """Puts commands aside with the reason; the queue goes on (design.md §2, 8)."""

    def __init__(self, publisher: ConfirmedPublisher, topology: Topology) -> None:
        self._publisher = publisher
        self._topology = topology

    async def put(self, delivery: Delivery, *, reason: str, detail: str) -> None:
        """Return once the dead letter is durable: same body and properties, and headers of ours.

        The headers tell why, when, and with which routing key the command had come.

        Args:
            delivery: what arrived; acknowledge it afterwards.
            reason: `invalid`, `conflict` or `poison`; becomes `x-payouts-reason`.
            detail: what is wrong, free of personal data; becomes `x-payouts-detail`, cut to
                its bound.

        Raises:
            UnroutableError, BrokerUnavailableError: it is not put aside; keep the delivery.
        """
        name = self._topology.dead_letters
        properties = dead_properties(delivery, reason=reason, detail=detail, at=datetime.now(UTC))
        await self._publisher.publish(name, name, delivery.body, properties)
