"""What the messaging tests share: names, a recorder of deliveries, waiting with a deadline."""

import asyncio
from collections.abc import Callable
from typing import Self

import aio_pika

from payouts.domain.values import AccountName
from payouts.messaging import (
    BrokerConnection,
    CommandConsumer,
    CommandPublisher,
    ConfirmedPublisher,
    Delivery,
    Source,
    Topology,
)

ACCOUNT = AccountName("default")
TOPOLOGY = Topology(prefix="payouts")
DEADLINE_S = 30.0


async def until(holds: Callable[[], bool], *, within_s: float = DEADLINE_S) -> None:
    """Return when a condition holds; the test fails if it does not in time."""
    async with asyncio.timeout(within_s):
        while not holds():  # noqa: ASYNC110 - what holds is seen from outside, by looking
            await asyncio.sleep(0.01)


class Recorder:
    """A handler that records deliveries, and holds or fails those it is told to."""

    def __init__(self) -> None:
        self.deliveries: list[Delivery] = []
        self.held = asyncio.Event()
        self.held.set()
        self.failing: set[bytes] = set()
        self.failures: list[tuple[bytes, str]] = []
        self.active = 0
        self.most_active = 0

    @property
    def bodies(self) -> list[bytes]:
        """Return the bodies in the order of their arrival."""
        return [one.body for one in self.deliveries]

    async def handle(self, delivery: Delivery) -> None:
        """Record a delivery; wait while held."""
        self.deliveries.append(delivery)
        self.active += 1
        self.most_active = max(self.most_active, self.active)
        try:
            await self.held.wait()
            if delivery.body in self.failing:
                raise ValueError("told to fail")
        finally:
            self.active -= 1

    def on_failure(self, delivery: Delivery, error: Exception) -> None:
        """Record what a handler raised."""
        self.failures.append((delivery.body, type(error).__name__))


class Bed:
    """One declared topology, with publishers and consumers that are closed with it."""

    def __init__(self, amqp_url: str) -> None:
        self.url = amqp_url
        self.connection = BrokerConnection(amqp_url, name="test", pause_cap_s=0.5)
        self.publisher = ConfirmedPublisher(self.connection, timeout_s=5.0)
        self.commands = CommandPublisher(self.publisher, TOPOLOGY)
        self._consumers: list[CommandConsumer] = []

    async def __aenter__(self) -> Self:
        await self.connection.open(within_s=DEADLINE_S)
        await TOPOLOGY.declare(self.connection, [ACCOUNT])
        return self

    async def __aexit__(self, *_: object) -> None:
        for consumer in self._consumers:
            await consumer.stop(grace_s=0)
        await self.publisher.close()
        await self.connection.close()

    def consumer(self, recorder: Recorder, *, prefetch: int = 50) -> CommandConsumer:
        """Return a started consumer."""
        consumer = CommandConsumer(
            self.connection,
            Source(topology=TOPOLOGY, account=ACCOUNT, prefetch=prefetch),
            recorder.handle,
            on_failure=recorder.on_failure,
        )
        self._consumers.append(consumer)
        consumer.start()
        return consumer

    async def send(self, *bodies: bytes) -> None:
        """Publish bodies to the account's queue, confirmed."""
        for body in bodies:
            await self.commands.publish(ACCOUNT, body, message_id=body.decode())

    async def depth(self, queue: str) -> int:
        """Return how many messages are ready in a queue."""
        channel = await self.connection.channel(confirms=False, within_s=DEADLINE_S)
        declared = await channel.queue_declare(queue, passive=True)
        await channel.close()
        return declared.message_count or 0

    async def until_depth(self, queue: str, count: int, *, or_more: bool = False) -> None:
        """Return when a queue has so many messages ready."""
        async with asyncio.timeout(DEADLINE_S):
            while (depth := await self.depth(queue)) != count and not (or_more and depth > count):  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.02)

    async def take(self, queue: str) -> aio_pika.abc.AbstractIncomingMessage:
        """Return the next message of a queue, acknowledged."""
        connection = await aio_pika.connect(self.url)
        async with connection, asyncio.timeout(DEADLINE_S):
            channel = await connection.channel()
            found = await channel.get_queue(queue)
            while True:
                message = await found.get(fail=False, no_ack=True)
                if message is not None:
                    return message
                await asyncio.sleep(0.02)
