"""The queue of dead letters, worked through: bounded, nothing lost, whatever ends the look."""

import asyncio
import tracemalloc

import pytest
from messaging_bed import ACCOUNT, TOPOLOGY, Bed
from pamqp.commands import Basic

from payouts.messaging.dead_letter_queue import opened_dead_letters


async def bury(bed: Bed, count: int, *, size: int) -> None:
    """Puts so many dead letters of this size into the queue."""
    name = TOPOLOGY.dead_letters
    for start in range(0, count, 500):
        await asyncio.gather(
            *(
                bed.publisher.publish(
                    name,
                    name,
                    b"%08d" % number + b"x" * size,
                    Basic.Properties(headers={"x-payouts-routing-key": ACCOUNT}, delivery_mode=2),
                )
                for number in range(start, min(start + 500, count))
            )
        )


async def test_a_look_through_a_long_queue_takes_little_memory(bed: Bed) -> None:
    """40 MB of dead letters pass in less than 4 MB; afterwards all of them are there again.

    Proved by keeping each one in a list.
    """
    await bury(bed, 2000, size=20_000)
    seen = set()
    tracemalloc.start()
    try:
        async with opened_dead_letters(bed.connection, TOPOLOGY) as opened:
            async for letter in opened.letters(at_most=10_000):
                seen.add(letter.digest)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(seen) == 2000
    assert peak < 4_000_000
    await bed.until_depth(TOPOLOGY.dead_letters, 2000)


async def test_a_look_that_breaks_off_loses_nothing(bed: Bed) -> None:
    """What was discarded is gone, what was replayed lies in its queue, the rest is back."""
    await bury(bed, 10, size=1)

    async def work() -> None:
        async with opened_dead_letters(bed.connection, TOPOLOGY, bed.publisher) as opened:
            taken = [letter async for letter in opened.letters(at_most=5)]
            await opened.discard(taken[0])
            await opened.replay(taken[1], ACCOUNT)
            raise InterruptedError

    with pytest.raises(InterruptedError):
        await work()
    await bed.until_depth(TOPOLOGY.dead_letters, 8)
    await bed.until_depth(TOPOLOGY.queue_of(ACCOUNT), 1)


async def test_what_is_given_back_comes_again(bed: Bed) -> None:
    """A second look on the same channel sees what the first one saw."""
    await bury(bed, 5, size=1)
    async with opened_dead_letters(bed.connection, TOPOLOGY) as opened:
        first = {letter.digest async for letter in opened.letters(at_most=3)}
        await opened.give_back()
        second = {letter.digest async for letter in opened.letters(at_most=10)}
    assert len(first) == 3
    assert first < second
    assert len(second) == 5
