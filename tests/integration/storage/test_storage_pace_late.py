"""Requests that leave late, and a database that is away: the slots of all workers move on."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest
from pace_bed import RATE, Open
from storage_bed import ACCOUNT, Bed

from payouts.storage.engine import Database, create_engine
from payouts.storage.reservations import Reservations
from payouts.storage.slots import LATEST_S


def stand_still(seconds: float) -> None:
    """Keep the event loop from running, as a machine that is busy does."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass


async def moved_on(bed: Bed) -> float:
    """Return by how much slots were moved on, once they were."""
    moved_s: float = 0.0
    async with asyncio.timeout(10):
        while not moved_s:
            moved_s = (await bed.fetch("SELECT slots_moved_s FROM accounts"))[0][0]
    return moved_s


@asynccontextmanager
async def locked_accounts(bed: Bed) -> AsyncIterator[None]:
    """Have every reservation wait."""
    holder = await asyncpg.connect(bed.url)
    async with holder.transaction():
        await holder.execute("LOCK TABLE accounts")
        yield
    await holder.close()


async def end_who_waits(bed: Bed) -> None:
    """End the connections that wait for the lock, once there are any."""
    rows: list[asyncpg.Record] = []
    async with asyncio.timeout(10):
        while not rows:
            rows = await bed.fetch(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE wait_event_type = 'Lock' AND application_name = 'payouts'"
            )


async def test_slots_are_moved_on_by_what_each_worker_was_late(books_url: str, bed: Bed) -> None:
    """What is not reserved yet comes later by it, within bounds, and the row counts it.

    Proved by moving on without a bound.
    """
    database = Database(create_engine(books_url, pool_size=2))
    rows = Reservations(database)
    first = await rows.reserve(ACCOUNT, 1, rate=1.0, late_s=0.0)
    assert first is not None

    moved = [await rows.reserve(ACCOUNT, n, rate=1.0, late_s=0.1) for n in (0, 2)]

    ends = [one.end_s - first.end_s for one in moved if one is not None]
    assert ends == pytest.approx([0.1, 2.2], abs=0.001)
    far = await rows.reserve(ACCOUNT, 0, rate=1.0, late_s=1000.0)
    assert far is not None
    assert far.end_s - first.end_s == pytest.approx(2.2 + LATEST_S, abs=0.001)
    assert [row[0] for row in await bed.fetch("SELECT slots_moved_s FROM accounts")] == [
        pytest.approx(0.2 + LATEST_S)
    ]
    await database.close()


async def test_a_worker_that_stands_still_moves_the_slots_on(open_pace: Open, bed: Bed) -> None:
    """What then leaves late takes the time from those that come after it.

    Proved by taking nothing down when a request leaves.
    """
    pace = await open_pace(50.0)
    leaving = [asyncio.create_task(pace.leave(ACCOUNT)) for _ in range(5)]
    await leaving[0]  # All have their slots now, and sleep until then.

    stand_still(0.15)
    await asyncio.gather(*leaving)

    assert 0.02 <= await moved_on(bed) <= LATEST_S


async def test_what_is_owed_while_the_database_is_away_is_moved_on_later(
    open_pace: Open, bed: Bed
) -> None:
    """What could not be written down is written down with what comes next.

    Proved by forgetting what is owed when a reservation fails.
    """
    pace = await open_pace(50.0)
    leaving = [asyncio.create_task(pace.leave(ACCOUNT)) for _ in range(5)]
    await leaving[0]

    async with locked_accounts(bed):
        stand_still(0.15)
        await asyncio.gather(*leaving)
        await end_who_waits(bed)
    await pace.turn(ACCOUNT)

    assert 0.02 <= await moved_on(bed) <= LATEST_S


async def test_while_the_database_is_away_turns_wait(open_pace: Open, bed: Bed) -> None:
    """Nothing is sent meanwhile, and nothing is lost: turns come when it is back."""
    pace = await open_pace(RATE)
    await pace.turn(ACCOUNT)
    async with locked_accounts(bed):
        waiting = asyncio.create_task(pace.turn(ACCOUNT))
        await end_who_waits(bed)
        assert not waiting.done()

    async with asyncio.timeout(10):
        await waiting
