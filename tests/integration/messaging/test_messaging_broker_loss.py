import asyncio
from collections.abc import AsyncIterator

import pytest
from messaging_bed import ACCOUNT, TOPOLOGY, Bed, Recorder, until

from ops.local import LocalStack
from payouts.domain.errors import BrokerUnavailableError

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


async def test_publications_in_flight_at_a_kill_are_not_taken_as_published(
    mortal_bed: Bed, mortal_stack: LocalStack
) -> None:
    """Each publication either was confirmed, and then lies in the queue, or raises."""
    confirmed: list[int] = []
    enough = asyncio.Event()

    async def publish(number: int) -> None:
        await mortal_bed.commands.publish(ACCOUNT, b"{}", message_id=f"pay-{number}")
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
    await mortal_bed.until_depth(TOPOLOGY.queue_of(ACCOUNT), len(confirmed), or_more=True)
