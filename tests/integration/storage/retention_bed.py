"""What the tests of the archive share: payouts that ended long ago, and the order to move them."""

from __future__ import annotations

from datetime import timedelta

import asyncpg
from storage_bed import NOW, Bed

from payouts.ports import Order
from payouts.storage.reading import PayoutsReader
from payouts.storage.retention import Retention

BEFORE = NOW + timedelta(days=30)
LATER = NOW + timedelta(days=120)
ORDER = Order(operator="jane", reason="ninety days have passed", at=LATER)
# No triggers: what takes a long time in life, or what somebody does to the books.
PAST_THE_GUARDS = "SET session_replication_role = 'replica'"


async def ended(bed: Bed, *names: str) -> None:
    """Make payouts that have succeeded, and that downstream has heard of."""
    for name in names:
        outcome = await bed.succeeded(name)
        assert outcome.event is not None
        await bed.store.mark_published(outcome.event.event_id)


async def published(bed: Bed) -> None:
    """Let downstream have heard of everything."""
    await bed.fetch("UPDATE events SET published_at = $1 WHERE published_at IS NULL", NOW)


async def archive(bed: Bed, *, limit: int = 100) -> int:
    """Archive what ended before, and return how many payouts moved."""
    retention = Retention(bed.store.database)
    asked = await retention.survey(BEFORE)
    batches = retention.archive(ORDER, before=BEFORE, asked=asked, limit=limit)
    return sum([number async for moved in batches for number, _ in moved.values()])


async def past_the_guards(bed: Bed, *statements: str) -> None:
    """Run statements as only somebody who switches the guards off can."""
    connection = await asyncpg.connect(bed.url)
    try:
        for statement in (PAST_THE_GUARDS, *statements):
            await connection.execute(statement)
    finally:
        await connection.close()


def reader(bed: Bed) -> PayoutsReader:
    return PayoutsReader(bed.store.database.engine)
