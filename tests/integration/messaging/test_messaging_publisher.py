import asyncio
from datetime import UTC, datetime

import aio_pika
import msgspec
import pytest
from messaging_bed import ACCOUNT, TOPOLOGY, Bed, Recorder, until
from pamqp.common import FieldValue
from yarl import URL

from ops.local import LocalStack
from payouts.domain.errors import BrokerUnavailableError, UnroutableError
from payouts.domain.events import Event
from payouts.domain.values import AccountName
from payouts.messaging import (
    AmqpEventPublisher,
    BrokerConnection,
    CommandPublisher,
    ConfirmedPublisher,
    DeadLetters,
)

pytestmark = pytest.mark.servers

EVENT = Event(
    event_id="0b9a2c9a-0000-5000-8000-000000000001",
    type="payout.succeeded",
    subject="pay-1",
    time=datetime(2026, 11, 23, 10, 0, 0, 250_000, tzinfo=UTC),
    data={"payout_id": "pay-1", "run_id": None, "amount": "10.00"},
)


async def bind_events(bed: Bed, arguments: dict[str, FieldValue] | None = None) -> None:
    """Declare a downstream queue `heard` bound to all events."""
    connection = await aio_pika.connect(bed.url)
    async with connection:
        channel = await connection.channel()
        queue = await channel.declare_queue("heard", durable=True, arguments=arguments)
        await queue.bind("payouts.events", routing_key="payout.#")


async def test_an_event_has_the_body_and_properties_of_the_contract(bed: Bed) -> None:
    """A downstream consumer sees a persistent CloudEvents object under its own id."""
    await bind_events(bed)
    await AmqpEventPublisher(bed.connection, TOPOLOGY).publish(EVENT)
    message = await bed.take("heard")
    assert message.routing_key == message.type == "payout.succeeded"
    assert message.message_id == EVENT.event_id
    assert message.correlation_id == "pay-1"
    assert message.content_type == "application/cloudevents+json"
    assert message.delivery_mode == aio_pika.DeliveryMode.PERSISTENT
    assert message.timestamp == datetime(2026, 11, 23, 10, 0, 0, tzinfo=UTC)
    assert msgspec.json.decode(message.body) == {
        "specversion": "1.0",
        "id": EVENT.event_id,
        "source": "/mpesa-payouts",
        "type": "payout.succeeded",
        "subject": "pay-1",
        "time": "2026-11-23T10:00:00.250Z",
        "datacontenttype": "application/json",
        "data": {"payout_id": "pay-1", "run_id": None, "amount": "10.00"},
    }


async def test_an_event_that_no_queue_takes_raises(bed: Bed) -> None:
    """Nobody listens: the publisher hears of it, and the channel goes on."""
    events = AmqpEventPublisher(bed.connection, TOPOLOGY)
    with pytest.raises(UnroutableError):
        await events.publish(EVENT)
    await bind_events(bed)
    await events.publish(EVENT)
    assert (await bed.take("heard")).message_id == EVENT.event_id


async def test_an_unroutable_event_published_twice_at_once_raises_twice(bed: Bed) -> None:
    """All callers hear that nobody took it; it is published once somebody listens."""
    events = AmqpEventPublisher(bed.connection, TOPOLOGY)
    outcomes = await asyncio.gather(
        *(events.publish(EVENT) for _ in range(5)), return_exceptions=True
    )
    assert [type(outcome) for outcome in outcomes] == [UnroutableError] * 5
    await bind_events(bed)
    await events.publish(EVENT)


async def test_an_unroutable_command_published_twice_at_once_raises_twice(bed: Bed) -> None:
    """All callers hear that nobody took it.

    Proved by taking the wait for an earlier one of the same id out: the library then gives the
    return to one and a confirm to the others, whose commands would count as published.
    """
    unknown = AccountName("nobody")
    outcomes = await asyncio.gather(
        *(bed.commands.publish(unknown, b"{}", message_id="pay-1") for _ in range(5)),
        return_exceptions=True,
    )
    assert [type(outcome) for outcome in outcomes] == [UnroutableError] * 5


async def test_an_event_that_is_not_confirmed_in_time_is_not_taken_as_published(
    bed: Bed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its channel is left, so that a late confirm finds nobody; the next event takes another.

    Proved by staying on it: the next event waits for a confirm that goes to no one either.
    """
    await bind_events(bed)
    events = AmqpEventPublisher(bed.connection, TOPOLOGY, timeout_s=2.0)
    await events.publish(EVENT)
    channel = events._channel
    assert channel is not None

    async def lost(_: object) -> None:
        """Hear no confirm."""

    monkeypatch.setattr(channel, "_on_confirm_frame", lost)
    with pytest.raises(BrokerUnavailableError, match="too long"):
        await events.publish(EVENT)
    await events.publish(EVENT)
    await events.close()


async def test_many_publications_are_in_flight_at_once(bed: Bed) -> None:
    """A thousand commands confirmed concurrently on one channel all lie in the queue."""
    async with asyncio.TaskGroup() as group:
        for number in range(1000):
            group.create_task(bed.commands.publish(ACCOUNT, b"{}", message_id=f"pay-{number}"))
    await bed.until_depth("payouts.commands.default", 1000)


async def test_a_command_for_an_unknown_account_raises(bed: Bed) -> None:
    """A routing key that no queue is bound to is told at once."""
    with pytest.raises(UnroutableError, match="nobody"):
        await bed.commands.publish(AccountName("nobody"), b"{}", message_id="pay-1")


async def test_a_message_that_rabbitmq_refuses_is_not_taken_as_published(bed: Bed) -> None:
    """A full downstream queue nacks; the event stays ours and the channel goes on."""
    await bind_events(bed, {"x-max-length": 1, "x-overflow": "reject-publish"})
    events = AmqpEventPublisher(bed.connection, TOPOLOGY)
    outcomes = [
        (await asyncio.gather(events.publish(EVENT), return_exceptions=True))[0]
        for _ in range(20)  # The queue may take a few more than its limit.
    ]
    assert type(outcomes[-1]) is BrokerUnavailableError
    await bed.take("heard")
    await bed.send(b"goes-on")


async def test_a_missing_exchange_is_told_and_the_next_publication_works(bed: Bed) -> None:
    """RabbitMQ closes the channel for it; the publisher opens another."""
    connection = await aio_pika.connect(bed.url)
    async with connection:
        channel = await connection.channel()
        await channel.exchange_delete("payouts.events")
    events = AmqpEventPublisher(bed.connection, TOPOLOGY)
    with pytest.raises(BrokerUnavailableError, match=r"no exchange 'payouts.events'"):
        await events.publish(EVENT)
    await bed.send(b"goes-on")
    assert await bed.depth("payouts.commands.default") == 1


async def test_without_a_connection_publishing_raises_in_bounded_time() -> None:
    """A publisher that nobody can serve gives up after its own time-out."""
    connection = BrokerConnection("amqp://guest:guest@127.0.0.1:1/", name="test")
    with pytest.raises(BrokerUnavailableError):
        await connection.open(within_s=0.2)
    publisher = ConfirmedPublisher(connection, timeout_s=0.1)
    events = AmqpEventPublisher(connection, TOPOLOGY, timeout_s=0.1)
    with pytest.raises(BrokerUnavailableError):
        await CommandPublisher(publisher, TOPOLOGY).publish(ACCOUNT, b"{}", message_id="pay-1")
    with pytest.raises(BrokerUnavailableError):
        await events.publish(EVENT)
    await publisher.close()
    await events.close()
    await connection.close()


async def test_a_wrong_password_is_told_without_it(amqp_url: str) -> None:
    """The operator reads what RabbitMQ says, not what was tried."""
    url = URL(amqp_url).with_password("hunter2-not-to-be-shown")
    connection = BrokerConnection(str(url), name="test")
    with pytest.raises(BrokerUnavailableError, match="ACCESS_REFUSED") as caught:
        await connection.open(within_s=2)
    await connection.close()
    assert "hunter2" not in str(caught.value)


async def test_a_dead_letter_keeps_body_properties_and_headers(bed: Bed) -> None:
    """What was put aside can be published again as it came; the reason stands in two headers."""
    connection = await aio_pika.connect(bed.url)
    async with connection:
        channel = await connection.channel()
        exchange = await channel.get_exchange("payouts.commands")
        await exchange.publish(
            aio_pika.Message(
                b"not json",
                content_type="application/json",
                headers={"x-trace": "abc", "x-number": 7},
                correlation_id="corr-1",
                message_id="pay-9",
                user_id="payouts",
                expiration=60,
                timestamp=datetime(2026, 1, 2, tzinfo=UTC),
                type="payout",
                app_id="payroll",
            ),
            routing_key="default",
        )
    recorder = Recorder()
    bed.consumer(recorder)
    await until(lambda: bool(recorder.deliveries))
    dead = DeadLetters(bed.publisher, TOPOLOGY)
    await dead.put(recorder.deliveries[0], reason="invalid", detail="é" * 3000)
    message = await bed.take("payouts.dead-letters")
    assert message.body == b"not json"
    assert message.headers["x-payouts-reason"] == "invalid"
    assert message.headers["x-payouts-detail"] == "é" * 1024
    assert message.headers["x-trace"] == "abc"
    assert message.headers["x-number"] == 7
    assert message.headers["x-payouts-user-id"] == "payouts"
    assert message.headers["x-payouts-routing-key"] == "default"
    assert datetime.fromisoformat(str(message.headers["x-payouts-at"])) <= datetime.now(UTC)
    assert (message.message_id, message.correlation_id) == ("pay-9", "corr-1")
    assert (message.type, message.app_id) == ("payout", "payroll")
    assert message.timestamp == datetime(2026, 1, 2, tzinfo=UTC)
    assert message.expiration is None
    assert message.delivery_mode == aio_pika.DeliveryMode.PERSISTENT


async def test_headers_too_large_to_pass_on_do_not_keep_a_command_from_being_put_aside(
    bed: Bed,
) -> None:
    """A command whose headers fill a frame still becomes a dead letter, without them.

    Proved by taking the bound out: RabbitMQ then closes the connection, again and again.
    """
    connection = await aio_pika.connect(bed.url)
    async with connection:
        channel = await connection.channel()
        exchange = await channel.get_exchange("payouts.commands")
        message = aio_pika.Message(b"big", headers={"x-large": "y" * (131_072 - 200)})
        await exchange.publish(message, routing_key="default")
    recorder = Recorder()
    bed.consumer(recorder)
    await until(lambda: bool(recorder.deliveries))
    dead = DeadLetters(bed.publisher, TOPOLOGY)
    await dead.put(recorder.deliveries[0], reason="invalid", detail="y" * 2000)
    dead_letter = await bed.take("payouts.dead-letters")
    assert dead_letter.body == b"big"
    assert dead_letter.headers["x-payouts-headers-left-out"] == 1


async def test_messages_without_an_id_may_be_put_aside_side_by_side(
    bed: Bed, stack: LocalStack
) -> None:
    """An upstream that sets no message id gets its dead letters all the same, as many as came."""
    path = f"/api/exchanges/{URL(bed.url).path[1:]}/payouts.commands/publish"
    message = {
        "properties": {},
        "routing_key": "default",
        "payload": "no id",
        "payload_encoding": "string",
    }
    for _ in range(3):  # The library would set an id, so another client publishes.
        await asyncio.to_thread(stack.rabbitmq.call, "POST", path, message)
    recorder = Recorder()
    bed.consumer(recorder)
    await until(lambda: len(recorder.deliveries) == 3)
    assert {delivery.message_id for delivery in recorder.deliveries} == {None}
    dead = DeadLetters(bed.publisher, TOPOLOGY)
    puts = (dead.put(one, reason="invalid", detail="") for one in recorder.deliveries)
    await asyncio.gather(*puts)
    await bed.until_depth("payouts.dead-letters", 3)
