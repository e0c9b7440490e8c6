"""A payout_id is for life: what comes for an archived payout is recognised, and changes nothing."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import asyncpg
import pytest
from retention_bed import LATER, ORDER, archive, ended, past_the_guards, published, reader
from storage_bed import (
    NOW,
    Bed,
    completion,
    fetch,
    gateway_id,
    open_bed,
    own_id,
    payout,
    proves_itself,
    received,
    variants,
)

from payouts.domain.events import event_of, rejection_of
from payouts.domain.payout import State
from payouts.domain.values import OriginatorConversationId, PayoutId
from payouts.ports import Intent, Query, Recorded
from payouts.storage import migrate
from payouts.storage.orders import PostgresOrders
from payouts.storage.reading import Listing
from payouts.storage.retention import Retention
from payouts.storage.statements import StatementReader, Window

A = PayoutId("a")
HOUR = timedelta(hours=1)


@pytest.fixture
async def archived(bed: Bed) -> Bed:
    """Give books whose payouts `a` and `b` are in the archive."""
    await ended(bed, "a", "b")
    assert await archive(bed) == 2
    bed.clock.instant = LATER
    return bed


async def intend(bed: Bed, *wanted: str, **changes: object) -> list[Recorded]:
    """Let commands come, in one batch, and give what became of each."""
    intents = [Intent(payout=payout(name, **changes), actor="worker 2") for name in wanted]
    outcomes = await asyncio.gather(*(bed.store.record_intent(one) for one in intents))
    return [one.recorded for one in outcomes]


async def test_the_same_command_has_its_event_told_again_with_the_same_id(archived: Bed) -> None:
    """No second payout: its event goes out once more, the same to the letter, and is forgotten."""
    before = await archived.standing("a")
    outcome = await archived.store.record_intent(Intent(payout=payout("a"), actor="worker 2"))

    assert outcome.recorded is Recorded.SAME
    assert outcome.event == event_of(before)
    assert await archived.count("payouts") == 0
    told = await archived.store.claim_unpublished(older_than=LATER, until=LATER + HOUR, limit=10)
    assert told == [event_of(before)]
    assert await reader(archived).events(A) == told
    assert (await reader(archived).books()).balanced
    await archived.store.mark_published(told[0].event_id)
    await Retention(archived.store.database).forget(LATER + HOUR)
    assert await archived.count("events") == 0


async def test_an_event_that_is_told_again_twice_is_in_the_outbox_once(archived: Bed) -> None:
    """The second repeat finds the first one's event, published or not, and unpublishes it."""
    for _ in range(2):
        assert await intend(archived, "a") == [Recorded.SAME]
        assert await archived.count("events WHERE published_at IS NULL") == 1
        await published(archived)


async def test_new_commands_are_taken_beside_repeats_of_the_archive(archived: Bed) -> None:
    """A file from last year in the queue stops nothing: new is new, old is recognised."""
    assert await intend(archived, "a", "new-1", "b", "new-2") == [
        Recorded.SAME,
        Recorded.NEW,
        Recorded.SAME,
        Recorded.NEW,
    ]
    assert await archived.count("payouts") == 2


async def test_other_content_is_a_conflict_that_names_the_field(archived: Bed) -> None:
    """As for a live payout, field by field."""
    for name, wanted in variants(payout("a")):
        intent = Intent(payout=wanted, actor="worker 2")
        outcome = await archived.store.record_intent(intent)
        assert (outcome.recorded, outcome.differences) == (Recorded.CONFLICT, (name,))
    assert await archived.count("events") == 0


async def test_an_invalid_command_of_an_archived_id_is_no_rejected_payout(archived: Bed) -> None:
    """`payout.rejected` is for unknown ids only."""
    event = rejection_of("a", ("amount: is required",), message_key="k", account="default", at=NOW)
    assert not await archived.store.record_rejection(event)
    assert await archived.count("events") == 0


async def test_a_late_result_finds_its_payout_and_changes_nothing(archived: Bed) -> None:
    """By its own id, or by M-PESA's alone; the callers compare it, as with a live one."""
    by_own = await archived.store.complete(completion("a", conversation_id=None))
    by_gateway = await archived.store.complete(completion("a", originator_conversation_id=None))
    for outcome in (by_own, by_gateway):
        assert not outcome.applied
        assert outcome.payout is not None
        assert (outcome.payout.payout_id, outcome.payout.archived_at) == ("a", LATER)
    unknown = await archived.store.complete(completion("nobody"))
    assert unknown.payout is None


async def test_a_late_answer_to_a_question_finds_its_payout(bed: Bed) -> None:
    """What was asked stays known, and the payout that it was about."""
    question = OriginatorConversationId("600000_ORG-q1_a")
    await bed.in_doubt("a")
    query = Query(query_id=question, payout_id=A, asked_at=NOW)
    await bed.store.record_query(query, next_action_at=NOW, actor="worker 1")
    await bed.store.complete(completion("a"))
    await published(bed)
    assert await archive(bed) == 1

    found = await bed.store.find_query(question, None)
    assert found == query
    assert (await bed.standing("a")).queries == 1


async def test_orders_about_the_archive_are_refused_but_telling_again(archived: Bed) -> None:
    """Nothing moves an archived payout, and no retry of it is made; its event may be told."""
    orders = PostgresOrders(archived.store._context)
    for order in (orders.retry, orders.cancel, orders.hold, orders.ask_now):
        carried = await order(A, ORDER)
        assert carried.refusal is not None
        assert carried.payout is not None

    carried = await orders.republish(A, ORDER)

    assert carried.done
    assert await archived.count("events WHERE published_at IS NULL AND archived") == 1


async def test_what_failed_and_was_archived_is_not_submitted_again(bed: Bed) -> None:
    """Its incidents and its other submissions are no longer looked at together."""
    await bed.bring_to(State.FAILED)
    await published(bed)
    await archive(bed)
    carried = await PostgresOrders(bed.store._context).retry(A, ORDER)
    assert carried.refusal is not None
    assert "It was archived" in carried.refusal
    assert await bed.count("payouts") == 0


async def test_a_receipt_of_the_archive_resolves_nothing_else(archived: Bed) -> None:
    """The same line of a statement is not taken for two payouts, however old the first is."""
    await archived.in_doubt("c")
    carried = await PostgresOrders(archived.store._context).resolve_paid(
        PayoutId("c"), "SKUa", ORDER
    )
    assert carried.refusal is not None
    assert "belongs to payout a" in carried.refusal


async def test_an_old_statement_is_compared_with_the_archive_too(archived: Bed) -> None:
    """By every id that a line may name, and by time."""
    statements = StatementReader(archived.store.database.engine)
    window = Window(since=NOW - HOUR, until=NOW + HOUR, account=payout("a").account)
    found = {
        "own": await statements.by_own_id([(0, own_id("a"))]),
        "gateway": await statements.by_conversation_id([(0, gateway_id("a"))]),
        "receipt": await statements.by_receipt([(0, "SKUa")]),
    }
    assert {how: [one.payout_id for _, one in these] for how, these in found.items()} == {
        "own": ["a"],
        "gateway": ["a"],
        "receipt": ["a"],
    }
    assert sorted([one.payout_id async for one in statements.succeeded(window)]) == ["a", "b"]


async def test_what_is_not_listed_is_still_found_by_its_id(archived: Bed) -> None:
    """`payouts list` shows the live books; `payouts show` finds the archive as well."""
    assert await reader(archived).list_payouts(Listing()) == []
    found = await reader(archived).existing([A, PayoutId("nobody")])
    assert set(found) == {"a"}
    assert await reader(archived).timeline(A) == []


@pytest.fixture
async def books(archived: Bed) -> AsyncIterator[asyncpg.Connection]:
    """Give a connection past the store, where `a` is archived and `c` is open."""
    await archived.intend(received("c"))
    connection = await asyncpg.connect(archived.url)
    try:
        yield connection
    finally:
        await connection.close()


_INSERT = (
    "INSERT INTO payouts (payout_id, account, amount_minor, currency, msisdn, command_id,"
    " originator_conversation_id, state, created_at, next_action_at)"
    " VALUES ({}, 'default', 1, 'KES', '254', 'x', {}, 'received', now(), now())"
)
_COPY = (
    "INSERT INTO archive (order_number, event_id, id, amount_minor, payout_id, account, currency,"
    " msisdn, command_id, metadata, originator_conversation_id, state, attempts, queries,"
    " created_at, completed_at) VALUES ({order}, gen_random_uuid(), 1, {amount}, '{payout_id}',"
    " 'default', 'KES', '254', 'x', '{{}}', 'own', '{state}', 1, 0, now(), now())"
)
_ADDED = {"order": 1, "amount": 1, "payout_id": "d", "state": "succeeded"}


@pytest.mark.parametrize(
    ("statement", "guard", "without"),
    [
        (_INSERT.format("'a'", "'new'"), "payouts.payouts_id_for_life", ""),
        (_INSERT.format("'new'", "'600000_ORG_a'"), "payouts.payouts_id_for_life", ""),
        ("DELETE FROM payouts", "payouts.payouts_kept", "payouts_leave_whole"),
        ("DELETE FROM payouts", "payouts.payouts_leave_whole", "payouts_kept"),
        ("TRUNCATE payouts", "payouts.payouts_kept", "payouts_never_emptied"),
        ("TRUNCATE payouts", "payouts.payouts_never_emptied", "payouts_kept"),
        ("DELETE FROM archive", "archive.archive_stays", ""),
        ("UPDATE archive SET amount_minor = 1", "archive.archive_stays", ""),
        ("TRUNCATE archive", "archive.archive_stays", ""),
        (_COPY.format(**_ADDED), "archive.archive_kept", ""),
        (_COPY.format(**_ADDED | {"payout_id": "c"}), "archive.archive_once", "archive_kept"),
        (_COPY.format(**_ADDED | {"order": 9}), "archive.archive_once", "archive_kept"),
        (
            _COPY.format(**_ADDED | {"state": "accepted"}),
            "archive.archive_has_ended",
            "archive_kept",
        ),
        (
            _COPY.format(**_ADDED | {"state": "failed"}),
            "archive.archive_failed_has_reason",
            "archive_kept",
        ),
        (_COPY.format(**_ADDED | {"amount": 0}), "archive.archive_amount_positive", "archive_kept"),
        ("DELETE FROM archive_sums", "archive_sums.archive_sums_stay", ""),
        ("TRUNCATE archive_sums", "archive_sums.archive_sums_stay", ""),
        ("UPDATE archive_sums SET payouts = 9", "archive_sums.archive_sums_kept", ""),
        (
            "UPDATE archive_sums SET payouts = 0",
            "archive_sums.archive_sums_counted",
            "archive_sums_kept",
        ),
    ],
)
async def test_the_archive_keeps_itself(
    books: asyncpg.Connection, statement: str, guard: str, without: str
) -> None:
    """By name of its guard; without the guard it would be written."""
    await proves_itself(books, statement, guard, without=without)


async def test_a_submission_does_not_leave_without_the_other(bed: Bed) -> None:
    """Neither the first alone nor the last alone, whoever deletes."""
    await bed.bring_to(State.FAILED)
    carried = await PostgresOrders(bed.store._context).retry(A, replace(ORDER, at=NOW))
    assert carried.payout is not None
    connection = await asyncpg.connect(bed.url)
    try:
        for alone in ("a", carried.payout.payout_id):
            await proves_itself(
                connection,
                f"DELETE FROM payouts WHERE payout_id = '{alone}'",  # noqa: S608
                "payouts.payouts_leave_whole",
                without="payouts_kept",
            )
    finally:
        await connection.close()


async def test_going_down_puts_all_back(empty_database_url: str) -> None:
    """An id that the older version does not know could be paid twice: none is forgotten."""
    await asyncio.to_thread(migrate.upgrade, empty_database_url)
    async with open_bed(empty_database_url) as bed:
        await ended(bed, "a", "b")
        assert await archive(bed) == 2

    await asyncio.to_thread(migrate.downgrade, empty_database_url, "0002")

    rows = await fetch(
        empty_database_url,
        "SELECT p.payout_id, p.state, e.type, e.published_at IS NOT NULL, (SELECT count(*)"
        " FROM timeline t WHERE t.payout = p.id) FROM payouts p JOIN events e USING (payout_id)"
        " ORDER BY 1",
    )
    assert [tuple(row) for row in rows] == [
        (name, "succeeded", "payout.succeeded", True, 2) for name in ("a", "b")
    ]
    await asyncio.to_thread(migrate.upgrade, empty_database_url)
    async with open_bed(empty_database_url) as bed:
        assert (await reader(bed).books()).balanced
        assert await intend(bed, "a") == [Recorded.SAME]
        await published(bed)
        assert await archive(bed) == 2


async def test_a_payout_without_its_event_does_not_leave(bed: Bed) -> None:
    """What is wrong with the books stays where `payouts verify` finds it."""
    await ended(bed, "a")
    await past_the_guards(bed, "DELETE FROM events")
    assert await archive(bed) == 0
    assert await bed.count("payouts") == 1


async def test_what_leaves_must_be_in_the_archive_as_it_was(books: asyncpg.Connection) -> None:
    """A row of the archive that says something else is no reason to let a payout go."""
    await books.execute("SET session_replication_role = 'replica'")
    await books.execute(_COPY.format(**_ADDED | {"payout_id": "c"}))
    await books.execute("SET session_replication_role = 'origin'")
    await proves_itself(
        books,
        "DELETE FROM payouts WHERE payout_id = 'c'",
        "payouts.payouts_leave_whole",
        without="payouts_kept",
    )
