import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import aio_pika
import pytest
from messaging_bed import ACCOUNT, TOPOLOGY, Bed, Recorder, until

from ops.local import LocalStack
from payouts.domain.errors import BrokerUnavailableError
from payouts.domain.events import Event
from payouts.messaging import AmqpEventPublisher

SETTLED_AFTER_S = 2.0
pytestmark = [pytest.mark.servers, pytest.mark.faults]


@pytest.fixture
async def mortal_bed(mortal_stack: LocalStack) -> AsyncIterator[Bed]:
    """Give a bed on a broker that may be killed."""
    await asyncio.to_thread(mortal_stack.revive)
    url = await mortal_stack.fresh_vhost("mortal")
    async with Bed(url) as bed:
        # RabbitMQ 3.10 needs a moment to write down who leads a new quorum queue; killed before,
        # that queue has no leader ever after. Nothing tells when it is done.
        settled = asyncio.get_running_loop().time() + SETTLED_AFTER_S
        while asyncio.get_running_loop().time() < settled:  # noqa: ASYNC110 - no event tells
            await asyncio.sleep(0.1)
        yield bed
    await asyncio.to_thread(mortal_stack.revive)
    await asyncio.to_thread(mortal_stack.rabbitmq.drop_vhost, "mortal")


async def bound(bed: Bed) -> str:
    """Declare a durable queue of all events, classic, as a new quorum queue may lose its leader."""
    async with await aio_pika.connect(bed.url) as connection:
        channel = await connection.channel()
        queue = await channel.declare_queue("heard", durable=True)
        await queue.bind(TOPOLOGY.events, routing_key="#")
    return "heard"


def event_of(number: int) -> Event:
    return Event(
        event_id=f"0b9a2c9a-0000-5000-8000-{number:012d}",
        type="payout.succeeded",
        subject=f"pay-{number}",
        time=datetime(2026, 11, 23, 10, 0, 0, tzinfo=UTC),
        data={},
    )


async def test_consumer_and_publisher_outlive_the_broker(
    mortal_bed: Bed, mortal_stack: LocalStack
) -> None:
    """After a kill and a restart the same objects go on; what was confirmed is delivered."""
    recorder = Recorder()
    recorder.held.clear()
    consumer = mortal_bed.consumer(recorder)
    await mortal_bed.send(b"before")
    await until(lambda: consumer.in_hand == 1)

    await asyncio.to_thread(mortal_stack.rabbitmq.kill)
    await until(lambda: not mortal_bed.connection.connected)
    recorder.held.set()
    await until(lambda: recorder.active == 0)
    with pytest.raises(BrokerUnavailableError):
        await mortal_bed.send(b"lost")

    await asyncio.to_thread(mortal_stack.rabbitmq.start)
    await until(lambda: mortal_bed.connection.connected)
    await until(lambda: consumer.consuming)
    await mortal_bed.send(b"after")
    await until(lambda: b"after" in recorder.bodies)
    assert recorder.bodies.count(b"before") == 2
    assert await consumer.stop(grace_s=1) == 0
    assert await mortal_bed.depth(TOPOLOGY.queue_of(ACCOUNT)) == 0


@pytest.mark.parametrize("what", ["commands", "events"])
async def test_publications_in_flight_at_a_kill_are_not_taken_as_published(
    mortal_bed: Bed, mortal_stack: LocalStack, what: str
) -> None:
    """Each publication either was confirmed, and then lies in the queue, or raises."""
    confirmed: list[int] = []
    enough = asyncio.Event()
    events = AmqpEventPublisher(mortal_bed.connection, TOPOLOGY)
    queue = TOPOLOGY.queue_of(ACCOUNT) if what == "commands" else await bound(mortal_bed)

    async def publish(number: int) -> None:
        if what == "commands":
            await mortal_bed.commands.publish(ACCOUNT, b"{}", message_id=f"pay-{number}")
        else:
            await events.publish(event_of(number))
        confirmed.append(number)
        if len(confirmed) >= 200:
            enough.set()

    tasks = [asyncio.create_task(publish(number)) for number in range(5000)]
    await enough.wait()
    await asyncio.to_thread(mortal_stack.rabbitmq.kill)
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert {type(one) for one in outcomes} <= {type(None), BrokerUnavailableError}
    await asyncio.to_thread(mortal_stack.rabbitmq.start)
    await until(lambda: mortal_bed.connection.connected)
    await mortal_bed.until_depth(queue, len(confirmed), or_more=True)
    # The queue of commands has a leader again: RabbitMQ 3.10 that deletes one without loses the
    # supervisor of all dead-lettering queues, and no test after this one gets any.
    await mortal_bed.send(b"settled")
    await events.close()
