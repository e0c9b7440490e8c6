"""What the broker's tests share: processes that consume and publish, on the twin or on RabbitMQ."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple, Protocol

import aio_pika

from payouts.domain.events import Event
from payouts.domain.values import AccountName
from payouts.messaging import (
    AmqpEventPublisher,
    BrokerConnection,
    CommandConsumer,
    CommandPublisher,
    ConfirmedPublisher,
    DeadLetters,
    Delivery,
    Source,
    Topology,
)
from payouts.ports import EventPublisher
from tests.conformance.stores import Near
from tests.simulation.seams import BrokerFaults
from tests.simulation.twins.broker import Broker, TwinConsumer, TwinDeadLetters

ACCOUNT: Final = AccountName("default")
TOPOLOGY: Final = Topology(prefix="alike")
WITHIN_S: Final = 30.0
EVENT: Final = Event(
    event_id="0b9a2c9a-0000-5000-8000-00000000000a",
    type="payout.failed",
    subject="p",
    time=datetime(2026, 12, 24, 12, 0, tzinfo=UTC),
    data={"payout_id": "p"},
)

AnyConsumer = CommandConsumer | TwinConsumer


@dataclass(slots=True)
class Handling:
    """A handler that keeps deliveries in hand while `open` is not set, or fails them."""

    deliveries: list[Delivery] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    open: asyncio.Event = field(default_factory=asyncio.Event)
    failing: bool = False

    async def handle(self, delivery: Delivery) -> None:
        """Take a delivery."""
        self.deliveries.append(delivery)
        await self.open.wait()
        if self.failing:
            raise ValueError("asked to fail")

    def failed(self, _: Delivery, error: Exception) -> None:
        """Hear what the handler raised."""
        self.errors.append(type(error).__name__)

    def bodies(self) -> list[bytes]:
        """Return what came, in no order."""
        return sorted(one.body for one in self.deliveries)


class Kept(NamedTuple):
    """A message that RabbitMQ has taken for good."""

    body: bytes
    message_id: str | None
    headers: Mapping[str, Any]


class Bed(Protocol):
    """One broker with one account's queue; `process` names who consumes."""

    async def consumer(
        self, process: str, handling: Handling, *, prefetch: int = 10
    ) -> AnyConsumer:
        """Return a consumer that has begun."""
        ...

    async def die(self, process: str) -> None:
        """Let a process die: its connection ends, and nothing that it had is acknowledged."""
        ...

    async def send(self, *bodies: bytes) -> None:
        """Publish commands."""
        ...

    async def left(self) -> int:
        """Return how many commands are in the queue, once nobody consumes."""
        ...

    async def listen(self) -> None:
        """Have a queue take events."""
        ...

    def publisher(self) -> EventPublisher:
        """Return a publisher of events."""
        ...

    def dead_letters(self) -> DeadLetters | TwinDeadLetters:
        """Return what puts commands aside."""
        ...

    async def dead(self) -> Kept:
        """Return the one dead letter."""
        ...

    async def heard(self) -> list[str]:
        """Return the ids of the events that were taken."""
        ...

    async def go_away(self) -> None:
        """Let the broker be away for whoever publishes."""
        ...


class Unwatched:
    """Hears what the twin takes for good, and keeps none of it."""

    def acknowledged(self, body: bytes, message_id: str | None) -> None:
        """Hear nothing."""

    def dead_lettered(self, body: bytes, message_id: str | None, reason: str) -> None:
        """Hear nothing."""

    def took_event(self, event: Event) -> None:
        """Hear nothing."""


class TwinBed:
    """The twin."""

    def __init__(self) -> None:
        self._faults = BrokerFaults(unroutable=True)
        self._broker = Broker(Near(), self._faults, Unwatched())
        self._consumers: dict[str, TwinConsumer] = {}

    async def consumer(
        self, process: str, handling: Handling, *, prefetch: int = 10
    ) -> AnyConsumer:
        """Return a consumer that has begun."""
        made = self._broker.consumer(process, ACCOUNT, prefetch, handling.handle, handling.failed)
        self._consumers[process] = made
        made.start()
        return made

    async def die(self, process: str) -> None:
        """Let its tasks go on never, and its channels end."""
        consumer = self._consumers[process]
        await _cut(consumer._supervisor, list(consumer._tasks))
        self._broker.lost(process)

    async def send(self, *bodies: bytes) -> None:
        """Publish commands."""
        for body in bodies:
            self._broker.publish_command(ACCOUNT, body, body.decode())

    async def left(self) -> int:
        """Return what is not acknowledged."""
        return self._broker.waiting()

    async def listen(self) -> None:
        """Let events be taken."""
        self._faults.unroutable = False

    def publisher(self) -> EventPublisher:
        """Return a publisher."""
        return self._broker.publisher("one")

    def dead_letters(self) -> TwinDeadLetters:
        """Return what puts commands aside."""
        return self._broker.dead_letters("one")

    async def dead(self) -> Kept:
        """Return the one dead letter."""
        (letter,) = self._broker.dead
        headers = letter.properties.headers or {}
        return Kept(letter.body, letter.properties.message_id, headers)

    async def heard(self) -> list[str]:
        """Return the ids of the events that were taken."""
        return [event.event_id for event in self._broker.events]

    async def go_away(self) -> None:
        """Be away."""
        self._faults.away = True

    async def close(self) -> None:
        """End what was begun."""
        for consumer in self._consumers.values():
            await consumer.stop(grace_s=0)


class RealBed:
    """RabbitMQ; each process has a connection of its own."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection = BrokerConnection(url, name="alike", pause_cap_s=0.2)
        self._publisher = ConfirmedPublisher(self._connection, timeout_s=1.0)
        self._processes: dict[str, tuple[BrokerConnection, CommandConsumer]] = {}

    async def open(self) -> None:
        """Connect and declare."""
        await self._connection.open(within_s=WITHIN_S)
        await TOPOLOGY.declare(self._connection, [ACCOUNT])

    async def consumer(
        self, process: str, handling: Handling, *, prefetch: int = 10
    ) -> AnyConsumer:
        """Return a consumer that has begun."""
        connection = BrokerConnection(self._url, name=process, pause_cap_s=0.2)
        await connection.open(within_s=WITHIN_S)
        consumer = CommandConsumer(
            connection,
            Source(topology=TOPOLOGY, account=ACCOUNT, prefetch=prefetch),
            handling.handle,
            on_failure=handling.failed,
        )
        self._processes[process] = connection, consumer
        consumer.start()
        return consumer

    async def die(self, process: str) -> None:
        """Let its tasks go on never, and its connection end."""
        connection, consumer = self._processes.pop(process)
        session = consumer._session
        assert session is not None
        await _cut(consumer._supervisor, [*session._tasks, session._acknowledger])
        await connection.close()

    async def send(self, *bodies: bytes) -> None:
        """Publish commands, confirmed."""
        commands = CommandPublisher(self._publisher, TOPOLOGY)
        for body in bodies:
            await commands.publish(ACCOUNT, body, message_id=body.decode())

    async def left(self) -> int:
        """Return what is ready."""
        channel = await self._connection.channel(confirms=False, within_s=WITHIN_S)
        declared = await channel.queue_declare(TOPOLOGY.queue_of(ACCOUNT), passive=True)
        await channel.close()
        return declared.message_count or 0

    async def listen(self) -> None:
        """Bind a queue to all events."""
        async with await aio_pika.connect(self._url) as connection:
            channel = await connection.channel()
            queue = await channel.declare_queue("heard", durable=True)
            await queue.bind(TOPOLOGY.events, routing_key="#")

    def publisher(self) -> EventPublisher:
        """Return a publisher."""
        return AmqpEventPublisher(self._connection, TOPOLOGY, timeout_s=1.0)

    def dead_letters(self) -> DeadLetters:
        """Return what puts commands aside."""
        return DeadLetters(self._publisher, TOPOLOGY)

    async def dead(self) -> Kept:
        """Return the one dead letter."""
        return (await self._taken(TOPOLOGY.dead_letters))[0]

    async def heard(self) -> list[str]:
        """Return the ids of the events that were taken."""
        return [one.message_id or "" for one in await self._taken("heard")]

    async def go_away(self) -> None:
        """Let the publishers' connection be gone."""
        await self._connection.close()

    async def close(self) -> None:
        """End what was begun."""
        for connection, consumer in self._processes.values():
            await consumer.stop(grace_s=0)
            await connection.close()
        await self._publisher.close()
        await self._connection.close()

    async def _taken(self, name: str) -> list[Kept]:
        async with await aio_pika.connect(self._url) as connection, asyncio.timeout(WITHIN_S):
            queue = await (await connection.channel()).get_queue(name)
            taken: list[Kept] = []
            while not taken or queue.declaration_result.message_count:
                message = await queue.get(fail=False, no_ack=True)
                if message is None:
                    break
                taken.append(Kept(message.body, message.message_id, message.headers))
            return taken


async def _cut(supervisor: asyncio.Task[None] | None, tasks: list[asyncio.Task[None]]) -> None:
    """Stop a process's tasks where they stand."""
    for task in (supervisor, *tasks):
        if task is not None:
            task.cancel()
    await asyncio.gather(
        *(task for task in (supervisor, *tasks) if task is not None), return_exceptions=True
    )


@asynccontextmanager
async def open_bed(url: str | None) -> AsyncIterator[Bed]:
    """Give RabbitMQ at an address, or its twin where there is none."""
    if url is None:
        twin = TwinBed()
        yield twin
        await twin.close()
        return
    real = RealBed(url)
    try:
        await real.open()
        yield real
    finally:
        await real.close()


async def until(holds: Callable[[], bool]) -> None:
    """Return when a condition holds; the test fails if it does not in time."""
    async with asyncio.timeout(WITHIN_S):
        while not holds():  # noqa: ASYNC110 - what holds is seen from outside, by looking
            await asyncio.sleep(0.005)
