"""Consumers, publishers and dead letters: what RabbitMQ promises, of the twin as well."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from pamqp.commands import Basic

from payouts.domain.errors import BrokerUnavailableError, UnroutableError
from payouts.messaging import Delivery
from tests.conformance.brokers import EVENT, Bed, Handling, open_bed, until


@pytest.fixture
async def broker(amqp_address: str | None) -> AsyncIterator[Bed]:
    """Give a broker without a message."""
    async with open_bed(amqp_address) as bed:
        yield bed


async def test_what_is_handled_leaves_the_queue(broker: Bed) -> None:
    """A handler that returns has its delivery acknowledged, as it was published."""
    handling = Handling()
    handling.open.set()
    consumer = await broker.consumer("one", handling)
    await broker.send(b"a")
    await until(lambda: len(handling.deliveries) == 1 and consumer.in_hand == 0)
    (delivery,) = handling.deliveries
    assert (delivery.body, delivery.message_id, delivery.routing_key) == (b"a", "a", "default")
    assert (delivery.delivery_count, delivery.redelivered) == (0, False)
    assert await consumer.stop(grace_s=5) == 0
    assert await broker.left() == 0


async def test_what_a_dead_process_had_is_delivered_again(broker: Bed) -> None:
    """To whoever consumes next, marked as redelivered; nothing is lost, nothing acknowledged."""
    first, second = Handling(), Handling()
    second.open.set()
    await broker.consumer("one", first)
    await broker.send(b"a", b"b")
    await until(lambda: len(first.deliveries) == 2)
    await broker.die("one")
    other = await broker.consumer("two", second)
    await until(lambda: len(second.deliveries) == 2 and other.in_hand == 0)
    assert second.bodies() == first.bodies() == [b"a", b"b"]
    assert all(one.redelivered and one.delivery_count <= 1 for one in second.deliveries)
    await other.stop(grace_s=5)
    assert await broker.left() == 0


async def test_what_fails_comes_again_and_counts(broker: Bed) -> None:
    """Each return is one more; the handler's error is told."""
    handling = Handling(failing=True)
    handling.open.set()
    consumer = await broker.consumer("one", handling)
    await broker.send(b"a")
    await until(lambda: len(handling.deliveries) >= 3)
    handling.failing = False
    await until(lambda: len(handling.deliveries) > len(handling.errors) and consumer.in_hand == 0)
    counts = [one.delivery_count for one in handling.deliveries]
    assert counts == list(range(len(counts)))
    assert set(handling.errors) == {"ValueError"}
    await consumer.stop(grace_s=5)
    assert await broker.left() == 0


async def test_no_more_than_the_prefetch_is_in_hand(broker: Bed) -> None:
    """The rest stays in the queue until something is done."""
    handling = Handling()
    consumer = await broker.consumer("one", handling, prefetch=3)
    await broker.send(*(b"%d" % number for number in range(9)))
    await until(lambda: consumer.in_hand == len(handling.deliveries) == 3)
    handling.open.set()
    await until(lambda: len(handling.deliveries) == 9 and consumer.in_hand == 0)


async def test_a_paused_consumer_finishes_and_takes_nothing_more(broker: Bed) -> None:
    """Until it is resumed."""
    handling = Handling()
    consumer = await broker.consumer("one", handling)
    await broker.send(b"a")
    await until(lambda: consumer.in_hand == 1 and consumer.consuming)
    await consumer.pause()
    assert not consumer.consuming
    await broker.send(b"b")
    handling.open.set()
    await until(lambda: consumer.in_hand == 0)
    assert handling.bodies() == [b"a"]
    await consumer.resume()
    await until(lambda: handling.bodies() == [b"a", b"b"] and consumer.in_hand == 0)


async def test_stopping_gives_back_what_takes_too_long(broker: Bed) -> None:
    """It is counted, and waits for another process."""
    handling = Handling()
    consumer = await broker.consumer("one", handling)
    await broker.send(b"a", b"b")
    await until(lambda: consumer.in_hand == 2)
    assert await consumer.stop(grace_s=0.01) == 2
    other = Handling()
    other.open.set()
    await broker.consumer("two", other)
    await until(lambda: other.bodies() == [b"a", b"b"])


async def test_an_event_is_taken_once_it_is_confirmed(broker: Bed) -> None:
    """What returns without an error lies in a queue, under its own id; again is again."""
    await broker.listen()
    for _ in range(2):
        await broker.publisher().publish(EVENT)
    assert await broker.heard() == [EVENT.event_id] * 2


async def test_an_event_that_no_queue_takes_is_told(broker: Bed) -> None:
    """Nobody listens: it is not lost in silence."""
    with pytest.raises(UnroutableError):
        await broker.publisher().publish(EVENT)


async def test_what_is_not_certain_to_be_taken_is_told(broker: Bed) -> None:
    """RabbitMQ is away: publish it again."""
    await broker.listen()
    await broker.go_away()
    with pytest.raises(BrokerUnavailableError):
        await broker.publisher().publish(EVENT)


async def test_a_dead_letter_keeps_what_it_was(broker: Bed) -> None:
    """Body, message id and headers stay; the reason, its detail and the account are added."""
    properties = Basic.Properties(message_id="m-1", headers={"x-of": "upstream"})
    delivery = Delivery(
        body=b"\xff no command",
        headers=properties.headers or {},
        message_id="m-1",
        delivery_count=0,
        redelivered=False,
        tag=1,
        properties=properties,
        routing_key="default",
    )
    await broker.dead_letters().put(delivery, reason="invalid", detail="body: is not UTF-8")
    kept = await broker.dead()
    assert (kept.body, kept.message_id) == (b"\xff no command", "m-1")
    added = {name: kept.headers[name] for name in ("x-of", "x-payouts-reason", "x-payouts-detail")}
    assert added == {
        "x-of": "upstream",
        "x-payouts-reason": "invalid",
        "x-payouts-detail": "body: is not UTF-8",
    }
    assert "default" in kept.headers.values()
