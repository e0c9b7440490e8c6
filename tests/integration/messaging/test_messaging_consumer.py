import asyncio

import aio_pika
import pytest
from messaging_bed import ACCOUNT, TOPOLOGY, Bed, Recorder, until

pytestmark = pytest.mark.servers
QUEUE = TOPOLOGY.queue_of(ACCOUNT)


async def test_a_finished_delivery_leaves_the_queue(bed: Bed) -> None:
    """A handler that returns has its delivery acknowledged, with all that it can see of it."""
    recorder = Recorder()
    consumer = bed.consumer(recorder)
    await bed.send(b"pay-1")
    await until(lambda: len(recorder.deliveries) == 1)
    (delivery,) = recorder.deliveries
    assert (delivery.body, delivery.message_id) == (b"pay-1", "pay-1")
    assert (delivery.delivery_count, delivery.redelivered) == (0, False)
    assert "pay-1" not in repr(delivery).replace("message_id='pay-1'", "")
    assert await consumer.stop(grace_s=1) == 0
    assert await bed.depth(QUEUE) == 0


async def test_no_more_than_the_prefetch_is_in_hand(bed: Bed) -> None:
    """The bound on memory and on shared blame holds however many commands wait."""
    recorder = Recorder()
    recorder.held.clear()
    consumer = bed.consumer(recorder, prefetch=10)
    await bed.send(*(b"pay-%d" % number for number in range(40)))
    await until(lambda: consumer.in_hand == 10)
    await bed.until_depth(QUEUE, 30)
    recorder.held.set()
    await until(lambda: len(recorder.deliveries) == 40)
    await until(lambda: consumer.in_hand == 0)
    assert recorder.most_active == 10


async def test_a_slow_delivery_does_not_use_the_prefetch_up(bed: Bed) -> None:
    """Commands behind one that hangs are still acknowledged and followed by others.

    Proved by never acknowledging behind a gap: the queue then stops at the prefetch.
    """
    recorder = Recorder()
    stuck = asyncio.Event()

    async def handle(delivery: object) -> None:
        if getattr(delivery, "body", b"") == b"pay-0":
            await stuck.wait()

    recorder.handle = handle  # type: ignore[method-assign]
    consumer = bed.consumer(recorder, prefetch=8)
    await bed.send(*(b"pay-%d" % number for number in range(60)))
    await bed.until_depth(QUEUE, 0)
    await until(lambda: consumer.in_hand == 1)
    stuck.set()
    await until(lambda: consumer.in_hand == 0)


async def test_a_failed_delivery_comes_again_and_counts(bed: Bed) -> None:
    """A handler that raises gets the command again, with the number of failures so far."""
    recorder = Recorder()
    recorder.failing.add(b"bad")
    consumer = bed.consumer(recorder)
    await bed.send(b"bad", b"good")
    await until(lambda: recorder.bodies.count(b"bad") >= 3)
    recorder.failing.clear()
    # Given back and not delivered again yet, it is in nobody's hand either: wait for its success.
    await until(
        lambda: recorder.bodies.count(b"bad") > len(recorder.failures) and consumer.in_hand == 0
    )
    counts = [one.delivery_count for one in recorder.deliveries if one.body == b"bad"]
    assert counts == list(range(len(counts)))
    assert recorder.bodies.count(b"good") == 1
    assert set(recorder.failures) == {(b"bad", "ValueError")}
    assert await consumer.stop(grace_s=1) == 0
    assert await bed.depth(QUEUE) == 0


async def test_a_paused_consumer_finishes_what_it_has_and_takes_nothing_more(bed: Bed) -> None:
    """Pausing leaves the rest in the queue; resuming takes it."""
    recorder = Recorder()
    recorder.held.clear()
    consumer = bed.consumer(recorder)
    await bed.send(b"pay-1")
    await until(lambda: consumer.in_hand == 1)
    await consumer.pause()
    assert not consumer.consuming
    recorder.held.set()
    await bed.send(b"pay-2")
    await until(lambda: consumer.in_hand == 0)
    assert await bed.depth(QUEUE) == 1
    await consumer.resume()
    await until(lambda: recorder.bodies == [b"pay-1", b"pay-2"])
    assert await consumer.stop(grace_s=1) == 0
    assert await bed.depth(QUEUE) == 0


async def test_a_consumer_paused_before_its_start_takes_nothing(bed: Bed) -> None:
    """A worker whose account is paused starts without touching its queue."""
    recorder = Recorder()
    await bed.send(b"pay-1")
    consumer = bed.consumer(recorder)
    await consumer.pause()
    assert await bed.depth(QUEUE) + len(recorder.deliveries) == 1
    await consumer.resume()
    await until(lambda: len(recorder.deliveries) == 1)


async def test_stopping_waits_for_handlers(bed: Bed) -> None:
    """A drain lets what is in hand finish and be acknowledged."""
    recorder = Recorder()
    recorder.held.clear()
    consumer = bed.consumer(recorder)
    await bed.send(b"pay-1")
    await until(lambda: consumer.in_hand == 1)
    stopping = asyncio.create_task(consumer.stop(grace_s=10))
    await until(lambda: not consumer.consuming)
    recorder.held.set()
    assert await stopping == 0
    assert await bed.depth(QUEUE) == 0


async def test_stopping_gives_back_what_takes_too_long(bed: Bed) -> None:
    """A handler that outlasts the grace is cancelled; its command comes to another worker."""
    recorder = Recorder()
    recorder.held.clear()
    consumer = bed.consumer(recorder)
    await bed.send(b"pay-1")
    await until(lambda: consumer.in_hand == 1)
    assert await consumer.stop(grace_s=0.05) == 1
    other = Recorder()
    bed.consumer(other)
    await until(lambda: other.bodies == [b"pay-1"])
    assert other.deliveries[0].redelivered


async def test_an_acknowledgement_on_a_lost_connection_is_dropped(bed: Bed, amqp_url: str) -> None:
    """A handler that ends after its channel did harms nothing: the command comes once more."""
    recorder = Recorder()
    recorder.held.clear()
    consumer = bed.consumer(recorder)
    await bed.send(b"pay-1")
    await until(lambda: consumer.in_hand == 1)
    wire = bed.connection._wire()
    await wire.close()
    recorder.held.set()
    await until(lambda: len(recorder.deliveries) == 2)
    assert recorder.deliveries[1].redelivered
    await until(lambda: consumer.consuming and consumer.in_hand == 0)
    assert await consumer.stop(grace_s=1) == 0
    assert await bed.depth(QUEUE) == 0


async def test_a_queue_that_was_removed_is_declared_again(bed: Bed) -> None:
    """RabbitMQ cancels the consumer with its queue; the consumer brings both back."""
    recorder = Recorder()
    consumer = bed.consumer(recorder)
    await until(lambda: consumer.consuming)
    connection = await aio_pika.connect(bed.url)
    async with connection:
        channel = await connection.channel()
        await channel.queue_delete(QUEUE)
    await until(lambda: not consumer.consuming)
    await until(lambda: consumer.consuming)
    await bed.send(b"pay-1")
    await until(lambda: recorder.bodies == [b"pay-1"])


async def test_stopping_ends_it_however_far_it_has_come(bed: Bed) -> None:
    """Told to stop while its channel is being opened, it does not go on for ever.

    Proved by trusting that the library passes a cancellation on: it hangs.
    """
    for turns in range(12):
        consumer = bed.consumer(Recorder())
        for _ in range(turns):
            await asyncio.sleep(0)
        assert await asyncio.wait_for(consumer.stop(grace_s=1), 5) == 0
        assert not consumer.consuming


async def test_a_consumer_that_is_stopped_is_not_resumed(bed: Bed) -> None:
    """A sweep that still runs while the process drains cannot make it take commands again.

    Proved by letting it resume after the stop.
    """
    consumer = bed.consumer(Recorder())
    await until(lambda: consumer.consuming)
    stopping = asyncio.create_task(consumer.stop(grace_s=1))
    await asyncio.sleep(0)
    await consumer.resume()
    assert await stopping == 0
    await consumer.resume()
    assert not consumer.consuming
