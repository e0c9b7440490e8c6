import asyncio

import aio_pika
import pytest
from messaging_bed import ACCOUNT, DEADLINE_S, TOPOLOGY, Bed

from payouts.domain.errors import BrokerUnavailableError, UnroutableError
from payouts.domain.values import AccountName
from payouts.messaging import CommandStream, Outgoing

pytestmark = pytest.mark.servers


def commands(first: int, count: int, account: str = ACCOUNT) -> list[Outgoing]:
    """Gives commands with bodies of many sizes."""
    return [
        Outgoing(account, b"x" * (1 + number % 400) + b"%d" % number, f"pay-{number}")
        for number in range(first, first + count)
    ]


async def taken(bed: Bed, count: int) -> list[aio_pika.abc.AbstractIncomingMessage]:
    """Takes so many messages out of the queue, in its order."""
    connection = await aio_pika.connect(bed.url)
    async with connection, asyncio.timeout(DEADLINE_S):
        channel = await connection.channel()
        queue = await channel.get_queue(TOPOLOGY.queue_of(ACCOUNT), ensure=False)
        return [await queue.get(no_ack=True) for _ in range(count)]


async def test_what_is_settled_lies_in_the_queue_in_order(bed: Bed) -> None:
    """As any upstream would publish it: persistent, with its id, its type and its time."""
    stream = CommandStream(bed.connection, TOPOLOGY)
    wanted = commands(0, 700)
    await stream.publish(wanted[:300])
    await stream.publish(wanted[300:])
    await stream.settle(700)
    assert (stream.published, stream.confirmed) == (700, 700)
    assert await bed.depth(TOPOLOGY.queue_of(ACCOUNT)) == 700
    found = await taken(bed, 700)
    assert [one.body for one in found] == [one.body for one in wanted]
    assert [one.message_id for one in found] == [one.message_id for one in wanted]
    assert {one.content_type for one in found} == {"application/json"}
    assert {one.delivery_mode for one in found} == {aio_pika.DeliveryMode.PERSISTENT}
    assert all(one.timestamp for one in found)
    await stream.close()


async def test_a_body_of_several_frames_arrives_whole(bed: Bed) -> None:
    """Larger than any command that is taken in, so that no bound is met by chance."""
    stream = CommandStream(bed.connection, TOPOLOGY)
    body = bytes(range(256)) * 1024
    await stream.publish([Outgoing(ACCOUNT, body, "pay-1")])
    await stream.settle(1)
    assert (await bed.take(TOPOLOGY.queue_of(ACCOUNT))).body == body
    await stream.close()


async def test_accounts_may_be_mixed(bed: Bed) -> None:
    """Each queue has its own, though RabbitMQ may confirm them out of order."""
    other = AccountName("bonus")
    await TOPOLOGY.declare(bed.connection, [other])
    stream = CommandStream(bed.connection, TOPOLOGY)
    for first in range(0, 400, 20):
        await stream.publish(commands(first, 10) + commands(first + 10, 10, other))
    await stream.settle(400)
    for account in (ACCOUNT, other):
        assert await bed.depth(TOPOLOGY.queue_of(account)) == 200
    await stream.close()


async def test_a_command_without_a_queue_ends_the_stream(bed: Bed) -> None:
    """It is not counted as confirmed, nor is what comes behind it; nothing more is published."""
    stream = CommandStream(bed.connection, TOPOLOGY)
    await stream.publish(commands(0, 10))
    await stream.settle(10)
    await stream.publish([*commands(10, 1, "nobody"), *commands(11, 5)])
    with pytest.raises(UnroutableError, match="with routing key nobody"):
        await stream.settle(16)
    assert stream.confirmed == 10
    with pytest.raises(UnroutableError):
        await stream.publish(commands(16, 1))
    await stream.close()


async def test_a_lost_connection_ends_the_stream(bed: Bed) -> None:
    """What was confirmed until then stays known."""
    stream = CommandStream(bed.connection, TOPOLOGY)
    await stream.publish(commands(0, 10))
    await stream.settle(10)
    waiting = asyncio.create_task(stream.settle(11))
    await asyncio.sleep(0)
    await bed.connection.close()
    with pytest.raises(BrokerUnavailableError):
        await waiting
    with pytest.raises(BrokerUnavailableError):
        await stream.publish(commands(10, 1))
    assert stream.confirmed == 10
    await stream.close()


async def test_a_confirm_that_does_not_come_is_not_waited_for_for_ever(bed: Bed) -> None:
    """RabbitMQ may stand still; whoever publishes is told."""
    stream = CommandStream(bed.connection, TOPOLOGY, timeout_s=0.2)
    await stream.publish(commands(0, 1))
    await stream.settle(1)
    with pytest.raises(BrokerUnavailableError, match="It took too long"):
        await stream.settle(2)
    await stream.close()


async def test_a_stream_that_published_nothing_opens_nothing(bed: Bed) -> None:
    """A file whose payouts are all known needs no channel."""
    stream = CommandStream(bed.connection, TOPOLOGY)
    await stream.settle(0)
    assert (stream.published, stream.confirmed) == (0, 0)
    await stream.close()
