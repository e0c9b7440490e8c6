"""Every statement that runs often finds its rows by the index that was made for it."""

import json
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from retention_bed import past_the_guards
from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection
from storage_bed import ACCOUNT, NOW, Bed, move, own_id, seconds

from payouts.domain.payout import OPEN, State
from payouts.domain.values import AccountName, RunId
from payouts.storage import (
    archive,
    completions,
    doubts,
    outbox,
    reading,
    retention,
    statements,
    sweeps,
    totals,
    transitions,
)
from payouts.storage.listing import Listing, statement_of
from payouts.storage.steps import arrays_of
from payouts.storage.store import PostgresStore

ROWS = 30_000
SMALL = {"seq:accounts", "accounts_pkey", "seq:paused_runs", "paused_runs_pkey"}


@pytest.fixture
async def full(bed: Bed) -> Bed:
    """Give books in which nearly everything has ended, as they are in production."""
    await bed.fetch(
        f"""
        INSERT INTO payouts (payout_id, account, run_id, amount_minor, currency, msisdn,
            command_id, originator_conversation_id, conversation_id, state, came_from, attempts,
            owner, claimed_at, next_action_at, created_at, submitted_at, last_sent_at,
            doubt_since, completed_at, reason_source, reason_code, reason_class,
            reason_description)
        SELECT 'p' || n, 'default', 'run-' || (n / 1000), 100, 'KES', '254712345678', 'x',
            '600_ORG_p' || n, 'AG_' || n, s, 'received', 1,
            CASE WHEN s = 'submitting' THEN 1 END, CASE WHEN s = 'submitting' THEN at END,
            CASE WHEN s IN ('waiting', 'accepted', 'in_doubt') THEN at + n * interval '1 s' END,
            at + n * interval '1 s', at, at, at, CASE WHEN s = 'succeeded' THEN at END,
            'result', '0', 'completed', ''
        FROM (
            SELECT n, $1::timestamptz AS at, CASE n % 100
                WHEN 1 THEN 'waiting' WHEN 2 THEN 'accepted' WHEN 3 THEN 'in_doubt'
                WHEN 4 THEN 'submitting' ELSE 'succeeded' END AS s
            FROM generate_series(1, {ROWS}) n
        ) AS of_all
        """,  # noqa: S608
        NOW,
    )
    for statement in (
        (
            "INSERT INTO timeline (payout, at, actor, kind, attempt)"
            " SELECT id, created_at, 'w', 'intent', 1 FROM payouts"
        ),
        (
            "INSERT INTO events (event_id, payout_id, type, created_at, published_at)"
            " SELECT gen_random_uuid(), payout_id, 'payout.succeeded', created_at,"
            " CASE WHEN id % 100 > 5 THEN created_at END FROM payouts WHERE state = 'succeeded'"
        ),
        "ANALYZE",
    ):
        await bed.fetch(statement)
    return bed


async def indexes_of(
    connection: AsyncConnection, statement: TextClause | str, parameters: Mapping[str, Any]
) -> set[str]:
    """Give the indexes that a statement is planned to use, and `seq:` what it reads whole."""
    explained = await connection.execute(text(f"EXPLAIN (FORMAT JSON) {statement}"), parameters)
    return indexes_in(explained.scalar_one())


def indexes_in(told: Any) -> set[str]:
    """Give the indexes of an explained plan."""
    found: set[str] = set()

    def walk(node: Mapping[str, Any]) -> None:
        if "Index Name" in node:
            found.add(node["Index Name"])
        if node["Node Type"] == "Seq Scan":
            found.add(f"seq:{node['Relation Name']}")
        for below in node.get("Plans", ()):
            walk(below)

    walk((json.loads(told) if isinstance(told, str) else told)[0]["Plan"])
    return found


def moves(count: int) -> dict[str, list[object]]:
    rows = [transitions.move_row(move(f"p{n * 7}", State.FAILED)) for n in range(1, count)]
    return arrays_of(transitions.MOVE_NAMES, rows)


Wanted = list[tuple[TextClause, Mapping[str, Any], set[str]]]


def writes(store: PostgresStore) -> Wanted:
    """Give the statements of batches, and the indexes by which they find their rows."""
    names = [f"p{n * 7}" for n in range(1, 100)]
    ends = {
        **{name: [None] * 99 for name in completions._NAMES},
        "payout_id": names,
        "to_state": ["succeeded"] * 99,
        "sources": ["accepted"] * 99,
        "own_id": names,
    }
    looked_up = {
        "own_id": [own_id(name) for name in names],
        "conversation_id": names,
        "ordinal": list(range(99)),
    }
    notes = {name: moves(100).get(name, [None] * 99) for name in transitions._NOTE_TYPES}
    lost = {name: moves(100)[name] for name in transitions._LOST_TYPES}
    marked = {"event_ids": ["00000000-0000-0000-0000-000000000001"] * 99, "at": NOW}
    return [
        (store._enter, moves(100), {"payouts_payout_id_key"}),
        (store._end_named, ends, {"payouts_payout_id_key"}),
        (store._end_matched, ends, {"payouts_payout_id_key"}),
        (
            completions._MATCH,
            looked_up,
            {"payouts_originator_conversation_id_key", "payouts_conversation_id_idx"},
        ),
        (transitions._NOTE, notes, {"payouts_payout_id_key", "timeline_pkey"}),
        (transitions._LOST, lost, {"payouts_payout_id_key", "timeline_pkey"}),
        (outbox._PUBLISHED, marked, {"events_pkey"}),
    ]


async def test_writes_find_their_rows_by_key(full: Bed) -> None:
    """A batch looks each of its rows up, however large the books are."""
    async with full.store.database.engine.connect() as connection:
        for statement, parameters, expected in writes(full.store):
            assert await indexes_of(connection, statement, parameters) == expected
    for statement, parameters, expected in writes(full.store):
        assert await kept(full.store, statement, parameters) == expected


async def kept(
    store: PostgresStore, statement: TextClause, parameters: Mapping[str, Any]
) -> set[str]:
    """Give the indexes by which the sessions of the batches answer it."""
    explained = await store.batches.fetch(text(f"EXPLAIN (FORMAT JSON) {statement}"), parameters)
    return indexes_in(explained[0][0])


async def test_plans_that_were_made_on_empty_books_are_good_on_full_ones(bed: Bed) -> None:
    """Batches are planned once for each connection; what was best for ten rows would stay.

    Proved by leaving the other ways allowed: three tables were to be read whole.
    """
    tables = "payouts, timeline, events, archive, incidents, accounts, paused_runs"
    await past_the_guards(bed, f"TRUNCATE {tables}")
    ignored = {"accounts_pkey", "paused_runs_pkey"}
    [[mode]] = await bed.store.batches.fetch(text("SHOW plan_cache_mode"), {})
    assert mode == "force_generic_plan"
    for statement, parameters, expected in writes(bed.store):
        assert await kept(bed.store, statement, parameters) - ignored == expected


async def test_sweeps_find_their_rows_by_their_own_index(full: Bed) -> None:
    """A sweep reads what is due, not what there is."""
    store = full.store
    due: dict[str, Any] = {"now": NOW + seconds(9), "limit": 100}
    claim = {**due, "owner": 1, "actor": "w", "accounts": [ACCOUNT]}
    wanted: list[tuple[TextClause, Mapping[str, Any], set[str]]] = [
        (store._claim, claim, {"payouts_due_idx", "payouts_pkey"}),
        (sweeps._FIND_EXPIRED, due, {"payouts_expiring_idx"}),
        (store._ask_first, {**due, "actor": "w"}, {"payouts_ask_first_idx", "payouts_pkey"}),
        (store._overdue, {**due, "actor": "w"}, {"payouts_overdue_idx", "payouts_pkey"}),
        (
            store._orphaned,
            {"owner": 1, "in_flight": [], "before": NOW, "now": NOW, "actor": "w"},
            {"payouts_owner_idx", "payouts_pkey"},
        ),
        (
            doubts._CLAIM,
            {**due, "accounts": [ACCOUNT], "until": NOW},
            {"payouts_doubts_idx", "payouts_pkey"},
        ),
        (
            outbox._CLAIM,
            {**due, "older_than": NOW, "until": NOW},
            {"events_unpublished_idx", "events_pkey", "payouts_payout_id_key"},
        ),
    ]
    async with store.database.engine.connect() as connection:
        for statement, parameters, expected in wanted:
            found = await indexes_of(connection, statement, parameters)
            assert found - SMALL == expected
        abandoned = {**due, "lease_s": 15.0, "actor": "w"}
        found = await indexes_of(connection, store._abandoned, abandoned)
        assert "payouts_owner_idx" in found
        assert "seq:payouts" not in found


async def test_readers_find_their_rows_by_an_index(full: Bed) -> None:
    """What an operator asks for is not searched through the whole books."""
    wanted: list[tuple[Listing, str]] = [
        (Listing(), "payouts_listed_idx"),
        (Listing(newer_than=datetime(2026, 11, 30, 17, tzinfo=UTC)), "payouts_listed_idx"),
        (Listing(account=AccountName("seldom")), "payouts_listed_idx"),
        (Listing(states={State.FAILED}), "payouts_failed_idx"),
        (Listing(states={State.FAILED, State.IN_DOUBT}), "payouts_failed_idx"),
        (Listing(states={State.FAILED, State.IN_DOUBT}), "payouts_open_idx"),
        (Listing(states={State.SUCCEEDED}), "payouts_listed_idx"),
        (Listing(states=OPEN, limit=5000), "payouts_open_idx"),
        (Listing(run_id=RunId("run-3")), "payouts_run_idx"),
        (Listing(run_id=RunId("run-3"), account=ACCOUNT), "payouts_run_idx"),
    ]
    async with full.store.database.engine.connect() as connection:
        for listing, index in wanted:
            statement, parameters = statement_of(listing)
            found = await indexes_of(connection, statement, parameters)
            assert index in found, listing
            assert "seq:payouts" not in found
        for statement, expected in (
            (reading._TIMELINE, {"payouts_payout_id_key", "timeline_pkey"}),
            (
                reading._EVENTS,
                {"events_completion_key", "events_other_idx", "payouts_payout_id_key"},
            ),
        ):
            found = await indexes_of(connection, statement, {"payout_id": "p7", "limit": 9})
            assert found == expected


@pytest.fixture
async def surprised(bed: Bed) -> AsyncIterator[Bed]:
    """Give books whose statistics were made when nothing was open, as in the night before a run."""
    made = """
        INSERT INTO payouts (payout_id, account, amount_minor, currency, msisdn, command_id,
            originator_conversation_id, state, came_from, attempts, owner, claimed_at,
            next_action_at, created_at, submitted_at, last_sent_at, doubt_since, completed_at)
        SELECT $1 || n, 'default', 100, 'KES', '254712345678', 'x', $1 || n, s, 'received', 1,
            CASE WHEN s = 'submitting' THEN 1 END, CASE WHEN s = 'submitting' THEN now() END,
            CASE WHEN s IN ('waiting', 'accepted', 'in_doubt') THEN now() END, now(), now(), now(),
            now(), CASE WHEN s = 'succeeded' THEN now() END
        FROM (
            SELECT n, ($2::text[])[n % array_length($2::text[], 1) + 1] AS s
            FROM generate_series(1, $3::int) n
        ) AS of_all
    """
    await bed.fetch("ALTER TABLE payouts SET (autovacuum_enabled = false)")
    await bed.fetch(made, "ended-", ["succeeded"], ROWS)
    await bed.fetch("ANALYZE payouts")
    await bed.fetch(made, "open-", ["waiting", "accepted", "in_doubt", "submitting"], 200)
    yield bed
    await bed.fetch("ALTER TABLE payouts RESET (autovacuum_enabled)")


async def test_what_is_open_is_not_read_whole_for_each_step(surprised: Bed) -> None:
    """A guard judges the row that was found by its key; it is no way to find rows.

    Proved by the bare guard in `entering`, and by the state in the condition of the open index:
    with 600 open payouts, a claim of 100 read 60,000 rows.
    """
    store = surprised.store
    due: dict[str, Any] = {"now": datetime.now(UTC), "limit": 100, "actor": "w"}
    wanted: list[tuple[TextClause, Mapping[str, Any]]] = [
        (store._claim, {**due, "owner": 1, "accounts": [ACCOUNT]}),
        (store._overdue, due),
        (store._ask_first, due),
        (store._abandoned, {**due, "lease_s": 15.0}),
        (
            store._orphaned,
            {"owner": 1, "in_flight": [], "before": NOW, "now": NOW, "actor": "w"},
        ),
    ]
    async with store.database.engine.connect() as connection:
        for statement, parameters in wanted:
            found = await indexes_of(connection, statement, parameters)
            assert "payouts_pkey" in found, found
            assert "payouts_open_idx" not in found


@pytest.fixture
async def old(full: Bed) -> Bed:
    """Give books that have an archive as well."""
    await past_the_guards(
        full,
        "INSERT INTO audit VALUES (1, now(), 'jane', 'archive', 'payouts', 'old', '{}', '')",
        f"""
        INSERT INTO archive (order_number, event_id, id, amount_minor, payout_id, account, run_id,
            currency, msisdn, command_id, metadata, originator_conversation_id, conversation_id,
            state, attempts, queries, created_at, completed_at)
        SELECT 1, gen_random_uuid(), n, 100, 'old-' || n, 'default', 'old-run-' || (n / 1000),
            'KES', '254712345678', 'x', '{{}}', '600_ORG_old-' || n, 'OLD_' || n, 'succeeded', 1, 0,
            now(), now()
        FROM generate_series(1, {ROWS}) n
        """,  # noqa: S608
        "ANALYZE",
    )
    return full


async def test_the_archive_is_searched_by_its_keys(old: Bed) -> None:
    """What the live books do not know is looked up; nothing reads the archive whole."""
    ids = [f"old-{n}" for n in range(1, 100)]
    looked_up = {
        "own_id": [f"600_ORG_{name}" for name in ids],
        "conversation_id": [f"OLD_{n}" for n in range(1, 100)],
        "ordinal": list(range(99)),
    }
    keyed = {"ordinal": [0], "key": ["600_ORG_old-1"]}
    both = {"archive_originator_conversation_id_key", "payouts_originator_conversation_id_key"}
    retried = {"archive_retry_of_key", "payouts_retry_of_key"}
    wanted: list[tuple[TextClause, Mapping[str, Any], set[str]]] = [
        (archive._BY_ID, {"payout_ids": ids}, {"archive_pkey"}),
        (archive._STANDING, {"payout_ids": ids}, {"archive_pkey", "payouts_payout_id_key"}),
        (
            archive._MATCH,
            looked_up,
            {"archive_originator_conversation_id_key", "archive_conversation_id_idx"},
        ),
        (archive.TELL_AGAIN, {"payout_ids": ids}, {"archive_pkey"}),
        (statements._BY_OWN_ID, keyed, both | retried),
    ]
    async with old.store.database.engine.connect() as connection:
        for statement, parameters, expected in wanted:
            found = await indexes_of(connection, statement, parameters)
            assert found - {"seq:audit", "audit_pkey"} == expected
            found = await kept(old.store, statement, parameters)
            assert found - {"audit_pkey"} == expected
        for run in ("run-3", "old-run-3"):
            found = await indexes_of(connection, totals._RUN, {"run_id": run, "over_s": 60.0})
            assert found == {"archive_run_idx", "payouts_run_idx"}


async def test_the_retention_reads_a_page_and_what_belongs_to_it(full: Bed) -> None:
    """A batch costs as much as its page, however large the books are.

    Proved by deleting the events by one condition with OR: they were read whole for each batch.
    """
    ids = list(range(1, 1000))
    before = {"before": NOW + seconds(9)}
    wanted: list[tuple[TextClause, Mapping[str, Any]]] = [
        (retention._PAGE, {**before, "after": 100, "limit": 100}),
        (retention._LOCK, {**before, "page": ids}),
        (retention._MOVE, {**before, "roots": ids, "ids": ids, "number": 1}),
        (retention._FORGET, {**before, "limit": 100}),
    ]
    async with full.store.database.engine.connect() as connection:
        for statement, parameters in wanted:
            found = await indexes_of(connection, statement, parameters)
            assert not found & {"seq:payouts", "seq:events", "seq:timeline", "seq:archive"}, (
                statement
            )
