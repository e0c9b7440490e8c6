"""What ended long ago leaves the live books whole, in batches, and in nobody's way."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import asyncpg
import pytest
from retention_bed import BEFORE, LATER, ORDER, archive, ended, past_the_guards, published, reader
from storage_bed import NOW, RUN, Bed, completion, move, names, own_id, payout

from payouts.domain.errors import StoreRefusedError
from payouts.domain.payout import State
from payouts.domain.values import PayoutId
from payouts.ports import Incident, IncidentKind, Intent, Recorded
from payouts.storage.orders import PostgresOrders
from payouts.storage.oversight import Oversight
from payouts.storage.retention import Retention

A = PayoutId("a")


async def test_what_ended_long_ago_leaves_with_its_story_and_its_event(bed: Bed) -> None:
    """One row is left of a payout, in the archive, counted under the order that moved it."""
    await ended(bed, "a", "b")
    before = await bed.standing("a")

    assert await archive(bed) == 2

    for table in ("payouts", "timeline", "events"):
        assert await bed.count(table) == 0, table
    rows = await bed.fetch("SELECT * FROM archive_sums")
    assert [tuple(row) for row in rows] == [(1, "succeeded", "KES", 2, 250_100)]
    gone = await bed.standing("a")
    lost = {"last_sent_at": None, "archived_at": LATER}
    assert gone == replace(before, **lost)  # type: ignore[arg-type]
    (line,) = await bed.fetch("SELECT operator, action, subject, details FROM audit")
    assert line[:3] == ("jane", "archive", "payouts")
    assert '"payouts in KES": "2"' in line[3]


async def test_it_goes_batch_by_batch_and_may_be_stopped(bed: Bed) -> None:
    """Each batch is durable when it is told; ordered again, it goes on where it stopped."""
    await ended(bed, *names("p", 7))
    retention = Retention(bed.store.database)
    batches = retention.archive(ORDER, before=BEFORE, asked={}, limit=3)

    assert await anext(batches) == {"KES": (3, 3 * 125_050)}
    assert await bed.count("archive") == 3
    await batches.aclose()

    assert await archive(bed, limit=3) == 4
    assert await bed.count("payouts") == 0


async def test_what_is_open_young_untold_or_contradicted_stays(bed: Bed) -> None:
    """Only what has settled in every respect leaves; the survey says so beforehand."""
    await ended(bed, "a")
    await bed.accepted("open")
    await bed.succeeded("untold")
    await ended(bed, "contradicted")
    await bed.store.record_incident(
        Incident(kind=IncidentKind.CONTRADICTION, at=NOW, payout_id=PayoutId("contradicted"))
    )
    await bed.accepted("young")
    await bed.store.complete(completion("young", at=BEFORE))
    await bed.fetch("UPDATE events SET published_at = now() WHERE payout_id = 'young'")

    assert await Retention(bed.store.database).survey(BEFORE) == {"KES": (1, 125_050)}
    assert await archive(bed) == 1

    rows = await bed.fetch("SELECT payout_id FROM payouts ORDER BY 1")
    assert [row[0] for row in rows] == ["contradicted", "open", "untold", "young"]


async def test_what_ended_within_a_day_is_refused(bed: Bed) -> None:
    """A mistyped age does not empty the live books; nothing is written, not even the audit."""
    batches = Retention(bed.store.database).archive(
        ORDER, before=LATER - timedelta(hours=23), asked={}
    )
    with pytest.raises(StoreRefusedError):
        await anext(batches)
    assert await bed.count("audit") == 0


async def submissions(bed: Bed) -> tuple[PayoutId, PayoutId]:
    """Make a payout that failed, was submitted again, and failed again."""
    orders = PostgresOrders(bed.store._context)
    await bed.bring_to(State.FAILED)
    carried = await orders.retry(A, replace(ORDER, at=NOW))
    assert carried.payout is not None
    second = carried.payout.payout_id
    await orders.cancel(second, replace(ORDER, at=NOW))
    await published(bed)
    return A, second


async def test_all_submissions_of_a_payout_leave_together(bed: Bed) -> None:
    """A retry never stays without what it follows, and both are still shown together."""
    first, second = await submissions(bed)

    assert await archive(bed, limit=1) == 2

    found = await Oversight(bed.store.database.engine).submissions(second)
    assert [one.payout_id for one in found] == [first, second]


async def test_submissions_stay_together_while_one_of_them_is_open(bed: Bed) -> None:
    """A late Result of the first must still find and stop the last.

    Proved by leaving the later submissions out of `_MOVE`: the trigger refuses the batch.
    """
    _, second = await submissions(bed)
    orders = PostgresOrders(bed.store._context)
    carried = await orders.retry(second, replace(ORDER, at=NOW))
    assert carried.done

    assert await Retention(bed.store.database).survey(BEFORE) == {"KES": (1, 125_050)}
    assert await archive(bed) == 0
    assert await bed.count("payouts") == 3


async def test_what_somebody_has_in_hand_is_passed_over_without_waiting(bed: Bed) -> None:
    """An order about one payout holds up neither the batch nor the order."""
    await ended(bed, "a", "b")
    holder = await asyncpg.connect(bed.url)
    try:
        async with holder.transaction():
            await holder.execute("SELECT FROM payouts WHERE payout_id = 'a' FOR UPDATE")
            assert await asyncio.wait_for(archive(bed), 10) == 1
    finally:
        await holder.close()
    assert await archive(bed) == 1


async def test_live_payouts_go_their_way_while_a_batch_is_under_way(bed: Bed, other: Bed) -> None:
    """Intents, answers and Results are written beside a batch that has not committed yet."""
    await ended(bed, "a")
    await bed.accepted("b")
    mover = await asyncpg.connect(bed.url)
    try:
        transaction = mover.transaction()
        await transaction.start()
        await move_by_hand(mover)
        async with asyncio.timeout(10):
            await other.accepted("new")
            assert (await other.store.complete(completion("b"))).applied
        await transaction.commit()
    finally:
        await mover.close()
    assert await bed.count("archive") == 1


async def move_by_hand(connection: asyncpg.Connection) -> None:
    """Move the payout `a`, as the retention does, without its commit."""
    await connection.execute("SET LOCAL payouts.retention = 'on'")
    await connection.execute(
        "INSERT INTO audit VALUES (1, now(), 'jane', 'archive', 'payouts', 'old', '{}', 'hash')"
    )
    await connection.execute(
        """
        WITH gone AS (DELETE FROM payouts WHERE payout_id = 'a' RETURNING *),
        e AS (DELETE FROM events WHERE payout_id = 'a' RETURNING event_id)
        INSERT INTO archive (order_number, event_id, id, payout_id, account, run_id, amount_minor,
            currency, msisdn, command_id, metadata, originator_conversation_id, conversation_id,
            transaction_id, state, attempts, queries, reason_source, reason_code, reason_class,
            reason_description, created_at, submitted_at, completed_at)
        SELECT 1, e.event_id, id, payout_id, account, run_id, amount_minor,
            currency, msisdn, command_id, metadata, originator_conversation_id, conversation_id,
            transaction_id, state, attempts, queries, reason_source, reason_code, reason_class,
            reason_description, created_at, submitted_at, completed_at FROM gone, e
        """
    )


async def test_a_repeat_that_meets_its_move_is_no_second_payout(bed: Bed, other: Bed) -> None:
    """The command of a payout that is being moved at this moment waits, and is recognised.

    Proved by dropping the trigger `payouts_id_for_life`: the unique index lets it in, as the row
    is gone, and the payout would be paid twice.
    """
    await ended(bed, "a")
    mover = await asyncpg.connect(bed.url)
    try:
        transaction = mover.transaction()
        await transaction.start()
        await move_by_hand(mover)
        repeat = asyncio.create_task(
            other.store.record_intent(Intent(payout=payout("a"), actor="worker 2"))
        )
        await is_waiting(bed)
        await transaction.commit()
        outcome = await asyncio.wait_for(repeat, 10)
    finally:
        await mover.close()

    assert outcome.recorded is Recorded.SAME
    assert await bed.count("payouts") == 0


async def is_waiting(bed: Bed) -> None:
    """Return once a statement of the store waits for somebody's commit."""
    async with asyncio.timeout(10):
        while not await bed.count(  # noqa: ASYNC110 - what holds is seen from outside, by looking
            "pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        ):
            await asyncio.sleep(0)


async def test_what_is_told_again_while_it_would_move_stays(bed: Bed, other: Bed) -> None:
    """A repeat that has its event unpublished again keeps the payout until it is published."""
    await ended(bed, "a")
    await other.store.record_intent(Intent(payout=payout("a"), actor="worker 2"))
    assert await archive(bed) == 0
    await published(bed)
    assert await archive(bed) == 1


async def test_the_books_balance_with_the_archive(bed: Bed) -> None:
    """Count, sum, states and runs are as before; the archive is told beside."""
    await ended(bed, "a")
    await bed.intend(payout("b"))
    await bed.store.move(move("b", State.FAILED))
    await published(bed)
    await bed.accepted("c")
    before = await reader(bed).books()
    run = await reader(bed).run_summary(RUN)
    paid = [one async for one in reader(bed).paid_entries()]

    assert await archive(bed) == 2

    after = await reader(bed).books()
    assert after.balanced
    assert (after.received, after.states) == (before.received, before.states)
    assert [(one.state, one.count) for one in after.archived] == [
        (State.SUCCEEDED, 1),
        (State.FAILED, 1),
    ]
    assert await reader(bed).run_summary(RUN) == run
    assert (await reader(bed).books(RUN)).balanced
    assert [one async for one in reader(bed).paid_entries()] == paid


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        ("DELETE FROM archive WHERE payout_id = 'a'", "1 payouts in the archive, 2 moved there"),
        ("UPDATE archive SET amount_minor = 1", "2 payouts in the archive, 2 moved there"),
        ("DELETE FROM archive_sums", "2 payouts in the archive, 0 moved there"),
    ],
)
async def test_an_archive_that_was_tampered_with_does_not_balance(
    bed: Bed, harm: str, said: str
) -> None:
    """What somebody takes out of it, or changes in it, is missed."""
    await ended(bed, "a", "b")
    await archive(bed)
    await past_the_guards(bed, harm)

    assert said in (await reader(bed).books()).problems


async def test_own_ids_are_found_in_the_archive(bed: Bed) -> None:
    """The derived id and M-PESA's id still lead to the payout."""
    await ended(bed, "a", "b")
    gateway = (await bed.standing("a")).conversation_id
    await archive(bed)

    by_own = await bed.store.find_by_conversation(own_id("a"), None)
    by_gateway = await bed.store.find_by_conversation(None, gateway)
    assert by_own is not None
    assert by_own.payout_id == "a"
    assert by_gateway == by_own
    assert await bed.store.find_by_conversation(own_id("nobody"), None) is None
