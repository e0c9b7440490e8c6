import aio_pika
import pytest
from messaging_bed import ACCOUNT, TOPOLOGY, Bed

from payouts.domain.errors import TopologyError
from payouts.domain.values import AccountName
from payouts.messaging import BrokerConnection, Topology

pytestmark = pytest.mark.servers


async def test_declaring_twice_and_for_more_accounts_is_no_error(bed: Bed) -> None:
    """A second process, and one that knows more accounts, find everything as it should be."""
    await TOPOLOGY.declare(bed.connection, [ACCOUNT])
    await TOPOLOGY.declare(bed.connection, [ACCOUNT, AccountName("salaries")])
    assert await bed.depth("payouts.commands.salaries") == 0


async def test_the_prefix_names_everything(bed: Bed) -> None:
    """Two systems share one virtual host under different prefixes."""
    await Topology(prefix="lab").declare(bed.connection, [ACCOUNT])
    for queue in ("lab.commands.default", "lab.dead-letters", "payouts.commands.default"):
        assert await bed.depth(queue) == 0


async def test_all_differences_are_named(amqp_url: str) -> None:
    """A queue and an exchange that others declared otherwise stop the process, by their names."""
    foreign = await aio_pika.connect(amqp_url)
    async with foreign:
        channel = await foreign.channel()
        await channel.declare_exchange("payouts.events", "fanout", durable=True)
        await channel.declare_queue(
            "payouts.commands.default", durable=True, arguments={"x-queue-type": "classic"}
        )
    connection = BrokerConnection(amqp_url, name="test")
    await connection.open(within_s=10)
    with pytest.raises(TopologyError) as caught:
        await TOPOLOGY.declare(connection, [ACCOUNT])
    await connection.close()
    text = str(caught.value)
    assert "inequivalent arg 'type' for exchange 'payouts.events'" in text
    assert "for queue 'payouts.commands.default'" in text


async def test_another_delivery_limit_is_named(amqp_url: str) -> None:
    """The difference itself stands in the message, both values included."""
    connection = BrokerConnection(amqp_url, name="test")
    await connection.open(within_s=10)
    foreign = await aio_pika.connect(amqp_url)
    async with foreign:
        channel = await foreign.channel()
        await channel.declare_queue(
            "payouts.dead-letters",
            durable=True,
            arguments={"x-queue-type": "quorum", "x-delivery-limit": 5},
        )
    with pytest.raises(TopologyError, match=r"x-delivery-limit.*1000000.*5"):
        await TOPOLOGY.declare(connection)
    await connection.close()


async def test_what_rabbitmq_itself_gives_up_becomes_a_dead_letter(bed: Bed) -> None:
    """The queue dead-letters at least once to our queue, so that even a refusal keeps the body."""
    await bed.send(b"given-up")
    connection = await aio_pika.connect(bed.url)
    async with connection:
        channel = await connection.channel()
        queue = await channel.get_queue("payouts.commands.default")
        message = await queue.get(timeout=10)
        await message.reject(requeue=False)
    dead = await bed.take("payouts.dead-letters")
    assert dead.body == b"given-up"
