"""The commands of a round and the events of its payouts: published, counted, taken."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Final

import aiormq
from aiormq.abc import AbstractChannel, DeliveredMessage
from pamqp.commands import Basic

from payouts.domain.values import AccountName
from payouts.messaging import CommandStream
from payouts.messaging.connection import BrokerConnection
from payouts.messaging.topology import Topology

TOPOLOGY: Final = Topology()
ACCOUNT: Final = AccountName("default")
QUEUE: Final = TOPOLOGY.queue_of(ACCOUNT)
EVENTS: Final = "bench.events"
PREFIX: Final = "bench-"
_FIRST_RECEIVER: Final = 254710000000
_AT_ONCE: Final = 250
_ACKNOWLEDGE_EVERY: Final = 50
_CONNECT_S: Final = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One payout to be: its id, and the body of its message."""

    payout_id: str
    body: bytes


def commands(count: int) -> Iterator[Command]:
    """Yield so many valid commands, the same each time."""
    for number in range(count):
        payout_id = f"{PREFIX}{number:07}"
        fields = {
            "payout_id": payout_id,
            "amount": f"{100 + number % 900}.{number % 100:02}",
            "msisdn": str(_FIRST_RECEIVER + number),
        }
        yield Command(payout_id=payout_id, body=json.dumps(fields).encode())


async def declare(amqp_url: str) -> None:
    """Make the product's exchanges and queues, and one queue that gets every event."""
    async with _connected(amqp_url) as connection:
        await TOPOLOGY.declare(connection, [ACCOUNT])
    async with channel_to(amqp_url) as channel:
        await channel.queue_declare(EVENTS, durable=True, arguments={"x-queue-type": "quorum"})
        await channel.queue_bind(EVENTS, TOPOLOGY.events, routing_key="#")


@asynccontextmanager
async def channel_to(amqp_url: str) -> AsyncIterator[AbstractChannel]:
    """Give a channel with confirms on a connection of its own."""
    connection = await aiormq.connect(amqp_url)
    try:
        yield await connection.channel(publisher_confirms=True)
    finally:
        await connection.close()


@asynccontextmanager
async def stream_to(amqp_url: str) -> AsyncIterator[CommandStream]:
    """Give what publishes commands at a small cost, on a connection of its own."""
    async with _connected(amqp_url) as connection:
        stream = CommandStream(connection, TOPOLOGY)
        try:
            yield stream
        finally:
            await stream.close()


@asynccontextmanager
async def _connected(amqp_url: str) -> AsyncIterator[BrokerConnection]:
    connection = BrokerConnection(amqp_url, name="payouts bench")
    await connection.open(within_s=_CONNECT_S)
    try:
        yield connection
    finally:
        await connection.close()


async def publish(channel: AbstractChannel, command: Command) -> None:
    """Return once the command is safe in its queue."""
    await channel.basic_publish(
        command.body,
        exchange=TOPOLOGY.commands,
        routing_key=ACCOUNT,
        properties=Basic.Properties(
            content_type="application/json", delivery_mode=2, message_id=command.payout_id
        ),
        mandatory=True,
    )


async def publish_all(channel: AbstractChannel, count: int) -> None:
    """Return once so many commands are safe in their queue."""
    rest = commands(count)
    while batch := list(islice(rest, _AT_ONCE)):
        await asyncio.gather(*(publish(channel, command) for command in batch))


async def waiting(channel: AbstractChannel, queue: str) -> int:
    """Return how many messages wait in a queue; costs one round trip."""
    return (await channel.queue_declare(queue, passive=True)).message_count or 0


async def listen(channel: AbstractChannel, heard: Callable[[DeliveredMessage, float], None]) -> str:
    """Have `heard(message, instant)` called with every event; return the consumer's tag.

    The instant is the time of day at which the event came. Events are acknowledged many at a
    time: whoever measures must not be what costs.
    """
    count = 0

    async def take(message: DeliveredMessage) -> None:
        nonlocal count
        heard(message, time.time())
        count += 1
        if count % _ACKNOWLEDGE_EVERY == 0 and message.delivery_tag is not None:
            await channel.basic_ack(message.delivery_tag, multiple=True)

    return (await channel.basic_consume(EVENTS, take)).consumer_tag or ""
