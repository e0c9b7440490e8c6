"""Races that PostgreSQL's statements can have and the twin, where each is one step, cannot."""

from __future__ import annotations

import asyncio

import pytest

from payouts.domain.payout import HELD_CONTRADICTED, State
from payouts.domain.values import PayoutId, WorkerId
from payouts.ports import Incident, IncidentKind
from payouts.storage.orders import _LOCKED, PostgresOrders
from payouts.storage.retries import submit_again
from tests.conformance.stores import (
    DEFAULT,
    LIMIT,
    Bed,
    later,
    move,
    open_bed,
    order,
    own_id,
)

pytestmark = pytest.mark.servers
A, SECOND = PayoutId("a"), PayoutId("a-r2")


async def failed_twice(bed: Bed) -> None:
    """Make payout a fail, and its second submission, too."""
    await bed.stand("a", State.FAILED)
    await bed.orders.retry(A, order())
    await bed.store.claim_due(WorkerId(1), [DEFAULT], now=later(7200), limit=LIMIT)
    await bed.store.move(move("a-r2", State.FAILED))


async def test_a_third_submission_made_at_that_moment_is_stopped_as_well(
    database_url: str,
) -> None:
    """A contradiction of the first waits for a retry of the second, and holds what it made.

    Proved by locking the contradicted submission only: the third one goes out.
    """
    late = Incident(
        kind=IncidentKind.CONTRADICTION,
        at=later(9000),
        payout_id=A,
        originator_conversation_id=own_id("a"),
        detail="a late Result",
    )
    async with open_bed(database_url) as bed:
        orders = bed.orders
        assert isinstance(orders, PostgresOrders)
        await failed_twice(bed)
        second = await bed.now("a-r2")
        async with orders._database.transaction() as connection:
            await connection.execute(_LOCKED, {"payout_id": SECOND})
            made = await submit_again(connection, second, order(), actor="operator jane")
            assert not isinstance(made, str)
            told = asyncio.create_task(bed.other.record_incident(late))
            await asyncio.wait({told}, timeout=0.5)
        await told
        assert (await bed.now("a-r3")).held == HELD_CONTRADICTED
