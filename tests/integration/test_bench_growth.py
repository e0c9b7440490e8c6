"""Costs must not grow with what has ended: measured small here, by the code that measures large."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import pytest

from ops.bench.filling import fill
from ops.bench.growth import Options, measure_on
from ops.bench.growth_report import Archived, Growth, documented, growing, markdown
from ops.bench.plans import Plan, plan_of
from ops.bench.probes import Timed
from ops.local import LocalStack
from payouts.domain.commands import AccountRules, payout_of, validate
from payouts.domain.payout import Payout, Reason, ReasonSource, State
from payouts.domain.values import AccountName, ConversationId, TransactionId
from payouts.ports import Completion, Intent, Move
from payouts.runtime import SystemClock
from payouts.storage.reading import PayoutsReader
from payouts.storage.store import PostgresStore

pytestmark = pytest.mark.servers

RULES = AccountRules(name=AccountName("default"), shortcode="600000", organisation="ORG")
SWEEPS = {
    "claim what is due": "payouts_due_idx",
    "doubt what is overdue": "payouts_overdue_idx",
    "claim doubts": "payouts_doubts_idx",
    "doubt what a worker forgot": "payouts_owner_idx",
    "doubt what dead workers left": "payouts_owner_idx",
    "end what expired": "payouts_expiring_idx",
    "claim what is not published": "events_unpublished_idx",
    "find what came back": "payouts_held_idx",
    "list what is open": "payouts_open_idx",
    "list --state failed": "payouts_failed_idx",
}


async def paid_by_the_product(store: PostgresStore) -> Payout:
    """Pay one payout with the product's own writes, as a worker and a callback server do."""
    now = datetime.now(UTC)
    fields = {
        "payout_id": "by-the-product",
        "msisdn": "254712345678",
        "amount": "12.50",
        "run_id": "r",
        "command_id": "SalaryPayment",
    }
    owner = await store.enlist("w")
    payout = payout_of(validate(fields, RULES), RULES, state=State.SUBMITTING, now=now)
    payout = replace(payout, owner=owner, claimed_at=now, attempts=1)
    await store.record_intent(Intent(payout=payout, actor=f"worker {owner}"))
    gateway = ConversationId("AG_1")
    moved = await store.move(
        Move(
            payout_id=payout.payout_id,
            to=State.ACCEPTED,
            sources=frozenset({State.SUBMITTING}),
            at=now,
            actor=f"worker {owner}",
            kind="answer",
            attempt=1,
            reason=Reason(
                source=ReasonSource.RESPONSE, code="0", klass="accepted", description="Accepted."
            ),
            next_action_at=now,
            sent_at=now,
            conversation_id=gateway,
        )
    )
    assert moved.payout is not None
    outcome = await store.complete(
        Completion(
            to=State.SUCCEEDED,
            at=now,
            actor="callback server h:1",
            reason=Reason(
                source=ReasonSource.RESULT, code="0", klass="completed", description="Processed."
            ),
            originator_conversation_id=payout.originator_conversation_id,
            conversation_id=gateway,
            transaction_id=TransactionId("SKU1"),
        )
    )
    assert outcome.event is not None
    await store.mark_published(outcome.event.event_id)
    return payout


async def shapes(connection: asyncpg.Connection, payout_id: str) -> Sequence[Mapping[str, bool]]:
    """Give for each row of a payout which of its columns are null."""
    rows = [
        await connection.fetch("SELECT * FROM payouts WHERE payout_id = $1", payout_id),
        await connection.fetch(
            "SELECT t.* FROM timeline t JOIN payouts p ON p.id = t.payout"
            " WHERE p.payout_id = $1 ORDER BY t.id",
            payout_id,
        ),
        await connection.fetch("SELECT * FROM events WHERE payout_id = $1", payout_id),
    ]
    return [{k: v is None for k, v in row.items()} for of_table in rows for row in of_table]


async def test_filled_rows_are_as_the_product_leaves_them(database_url: str) -> None:
    """The same columns of payout, timeline and event are filled, and the books balance."""
    async with PostgresStore(database_url, SystemClock()) as store:
        await paid_by_the_product(store)
        await fill(database_url, 250)
        connection = await asyncpg.connect(database_url)
        try:
            filled = await connection.fetchval(
                "SELECT payout_id FROM payouts WHERE state = 'succeeded'"
                " AND payout_id <> 'by-the-product' LIMIT 1"
            )
            assert await shapes(connection, filled) == await shapes(connection, "by-the-product")
        finally:
            await connection.close()
        books = await PayoutsReader(store.database.engine).books()
    assert books.balanced
    assert {one.state for one in books.states} == {State.SUCCEEDED, State.FAILED}


async def test_books_may_be_filled_again_and_used_on(database_url: str) -> None:
    """What is added gets numbers of its own, and so does what comes after."""
    until = datetime.now(UTC) - timedelta(days=5)
    await fill(database_url, 120, until=until)
    await fill(database_url, 30, until=until)
    async with PostgresStore(database_url, SystemClock()) as store:
        payout = await paid_by_the_product(store)
        reader = PayoutsReader(store.database.engine)
        assert (await reader.books()).balanced
        assert await reader.payout(payout.payout_id) is not None
    connection = await asyncpg.connect(database_url)
    try:
        assert await connection.fetchval("SELECT count(*) FROM payouts") == 151
        newest = await connection.fetchval("SELECT max(created_at) FROM payouts WHERE id < 151")
        assert newest < until
    finally:
        await connection.close()


async def test_nothing_reads_more_the_more_has_ended(stack: LocalStack) -> None:
    """Sweeps find their rows by indexes that stay small; lists and runs read their page.

    Proved by taking the account out of the index that lists are read by.
    """
    options = Options(payouts=20_000, rounds=1, output=Path())
    document = documented(await measure_on(stack, options, lambda _: None))

    assert growing(document) == []
    indexes = {one["name"]: one["small_indexes"] for one in document["calls"]}
    for name, index in SWEEPS.items():
        assert index in indexes[name], name
    assert "payouts" not in {whole for one in document["calls"] for whole in one["read_whole"]}
    assert 1_000 < document["bytes_per_payout"] < 3_000
    assert document["archived"]["payouts"] > 5_000
    assert "| `payouts` |" in markdown(document)


async def test_a_call_is_explained_and_nothing_of_it_stays(database_url: str) -> None:
    """The first write is kept from the server; what it would have read is known all the same."""
    async with PostgresStore(database_url, SystemClock(), watched=True) as store:
        now = datetime.now(UTC)
        payout = payout_of(
            validate({"payout_id": "a", "msisdn": "254712345678", "amount": "1"}, RULES),
            RULES,
            state=State.RECEIVED,
            now=now,
        )
        intent = Intent(payout=replace(payout, next_action_at=now), actor="w")
        await plan_of(store.database.engine, lambda: store.record_intent(intent))
        assert await store.find(payout.payout_id) is None

        plan = await plan_of(store.database.engine, lambda: store.find(payout.payout_id))
        assert plan.indexes >= {"payouts_payout_id_key", "archive_pkey"}
        assert plan.rows == 0


def test_a_call_that_grows_is_told() -> None:
    """What reads twice the rows on full books is named, whatever its time."""

    def timed(rows: int) -> Timed:
        return Timed(
            name="list", ms=[1.0], plan=Plan(indexes=frozenset(), whole=frozenset(), rows=rows)
        )

    def found(rows: int) -> list[str]:
        nothing = Archived(payouts=0, seconds=1.0, longest_batch_s=0.0, bytes=0)
        return growing(
            documented(
                Growth(
                    payouts=1_000,
                    rounds=1,
                    filled_s=1.0,
                    empty=[timed(1_000)],
                    full=[timed(rows)],
                    empty_bytes={},
                    full_bytes={},
                    archived=nothing,
                )
            )
        )

    assert found(1_500) == []
    assert found(2_000) == ["list"]
