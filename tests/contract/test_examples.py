"""The programs that the how-to pages show work as they stand, against a real RabbitMQ."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aio_pika
import pytest
from aio_pika.exceptions import PublishError

from ops.docs import asyncapi
from ops.docs.messages import EXAMPLE_COMMAND, example_event
from ops.examples import consume_events, publish_commands
from payouts.domain.commands import DEFAULT_ACCOUNT, AccountRules, validate
from payouts.domain.events import Event, rejection_of
from payouts.messaging.codec import decode_command
from payouts.messaging.connection import BrokerConnection
from payouts.messaging.event_publisher import AmqpEventPublisher
from payouts.messaging.publisher import ConfirmedPublisher
from payouts.messaging.topology import Topology

pytestmark = pytest.mark.servers

RULES = AccountRules(name=DEFAULT_ACCOUNT, shortcode="600000", organisation="ORG")
TOPOLOGY = Topology()
NOW = datetime(2026, 11, 27, tzinfo=UTC)
LAST = "last"


@pytest.fixture
async def declared(amqp_url: str) -> AsyncIterator[BrokerConnection]:
    """Gives a connection to a virtual host with the exchanges and queues of one account."""
    connection = BrokerConnection(amqp_url, name="examples")
    await connection.open(within_s=10)
    await TOPOLOGY.declare(connection, [DEFAULT_ACCOUNT])
    yield connection
    await connection.close()


@pytest.mark.usefixtures("declared")
async def test_published_commands_are_what_the_worker_takes(amqp_url: str) -> None:
    """The example's messages lie in the account's queue and pass the worker's checks."""
    commands = [{**EXAMPLE_COMMAND, "payout_id": f"salary-{number}"} for number in range(3)]

    assert await publish_commands.publish_all(amqp_url, commands) == 3

    async with await aio_pika.connect(amqp_url) as connection:
        channel = await connection.channel()
        queue = await channel.get_queue(TOPOLOGY.queue_of(DEFAULT_ACCOUNT))
        for number in range(3):
            message = await queue.get(no_ack=True)
            assert message.content_type == "application/json"
            assert message.delivery_mode is aio_pika.DeliveryMode.PERSISTENT
            command = validate(decode_command(message.body), RULES)
            assert command.payout_id == f"salary-{number}"


@pytest.mark.usefixtures("declared")
async def test_publishing_for_an_unknown_account_raises(amqp_url: str) -> None:
    """A command for which there is no queue is told to its publisher, not dropped."""
    with pytest.raises(PublishError):
        await publish_commands.publish_all(amqp_url, [{**EXAMPLE_COMMAND, "account": "nobody"}])


async def test_consumer_takes_a_repeated_event_once(
    amqp_url: str, declared: BrokerConnection, tmp_path: Path
) -> None:
    """Events that come twice change the consumer's books once.

    Proved by removing the check of the event id in the example: the books then hold five rows.
    """
    books = WatchedBooks(tmp_path / "books.sqlite")
    async with await aio_pika.connect(amqp_url) as connection:
        await consume_events.declare(await connection.channel())
    publisher = ConfirmedPublisher(declared)
    relay = AmqpEventPublisher(declared, TOPOLOGY)
    until = asyncio.Event()
    consuming = asyncio.create_task(consume_events.consume(amqp_url, books, until=until))

    for event in (example_event(), rejected("a"), example_event(), rejected("a"), rejected(LAST)):
        await relay.publish(event)
    async with asyncio.timeout(20):
        await books.complete.wait()
    until.set()
    await consuming
    await publisher.close()

    assert sorted(books.rows()) == [
        ("a", "payout.rejected", None),
        (LAST, "payout.rejected", None),
        ("salary-2026-11-0042", "payout.succeeded", "1250.50"),
    ]
    books.close()


class WatchedBooks(consume_events.Books):
    """Tells when the last event has been taken; one queue keeps their order."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.complete = asyncio.Event()

    def take(self, event: dict[str, Any]) -> bool:
        """Takes an event as the example does."""
        fresh = super().take(event)
        if event["subject"] == LAST:
            self.complete.set()
        return fresh


def rejected(payout_id: str) -> Event:
    return rejection_of(
        payout_id, ("amount: is required",), message_key="1", account="default", at=NOW
    )


@pytest.mark.usefixtures("declared")
async def test_exchanges_of_the_published_document_are_those_that_workers_declare(
    amqp_url: str,
) -> None:
    """Declaring what the AsyncAPI document says, on top of what is there, is no error."""
    document: Any = asyncapi.document()
    async with await aio_pika.connect(amqp_url) as connection:
        channel = await connection.channel()
        for one in document["channels"].values():
            exchange = one["bindings"]["amqp"]["exchange"]
            await channel.get_exchange(exchange["name"])
            await channel.declare_exchange(
                exchange["name"],
                exchange["type"],
                durable=exchange["durable"],
                auto_delete=exchange["autoDelete"],
            )
