"""The schema keeps the invariants by itself, also against whoever writes past the program.

Each refusal is proved in place: the same statement goes through once its guard is taken away.
"""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import asyncpg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from storage_bed import Bed, StandingClock, fetch, payout, proves_itself, received

from payouts.domain.errors import SchemaError, StoreUnavailableError
from payouts.domain.payout import OPEN, TRANSITIONS, State
from payouts.domain.values import PayoutId
from payouts.storage import migrate, schema
from payouts.storage.engine import create_engine
from payouts.storage.store import PostgresStore
from payouts.storage.tables import METADATA
from tests.command_line import ROOT

_SHAPE = """
SELECT c.relname || ': ' || pg_get_constraintdef(k.oid) FROM pg_constraint k
    JOIN pg_class c ON c.oid = k.conrelid WHERE c.relnamespace = 'public'::regnamespace
    AND c.relname <> 'alembic_version'
UNION ALL
SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' AND tablename <> 'alembic_version'
UNION ALL
SELECT table_name || '.' || column_name || ' ' || data_type || ' ' || is_nullable
    || coalesce(' ' || column_default, '') || is_identity
FROM information_schema.columns
WHERE table_schema = 'public' AND table_name <> 'alembic_version'
ORDER BY 1
"""


async def test_up_and_down_and_up_again_leaves_the_same(empty_database_url: str) -> None:
    """Down leaves nothing, up again leaves all, and doing it twice is no error."""
    url = empty_database_url
    await asyncio.to_thread(migrate.upgrade, url)
    first = [row[0] for row in await fetch(url, _SHAPE)]

    await asyncio.to_thread(migrate.downgrade, url, "base")
    assert await fetch(url, _SHAPE) == []
    assert await fetch(url, "SELECT proname FROM pg_proc WHERE proname LIKE 'payouts%'") == []
    assert await asyncio.to_thread(migrate.current, url) is None

    for _ in range(2):
        await asyncio.to_thread(migrate.upgrade, url)
    assert [row[0] for row in await fetch(url, _SHAPE)] == first
    assert await asyncio.to_thread(migrate.current, url) == schema.head()


async def test_the_migrations_lead_to_the_tables_of_the_code(
    empty_database_url: str, books_url: str
) -> None:
    """Columns, constraints and indexes are equal, to the letter of PostgreSQL's own words."""
    engine = create_engine(empty_database_url, autocommit=False)
    try:
        async with engine.begin() as connection:
            await connection.run_sync(METADATA.create_all)
        made = [row[0] for row in await fetch(empty_database_url, _SHAPE)]
    finally:
        await engine.dispose()

    assert [row[0] for row in await fetch(books_url, _SHAPE)] == made


async def test_alembic_finds_nothing_left_to_migrate(books_url: str) -> None:
    """A developer who changes the tables is reminded of the migration."""
    engine = create_engine(books_url, autocommit=False)
    try:
        async with engine.connect() as connection:
            found = await connection.run_sync(
                lambda plain: compare_metadata(MigrationContext.configure(plain), METADATA)
            )
    finally:
        await engine.dispose()

    assert found == []


def test_revisions_are_read_off_the_files_as_alembic_reads_them() -> None:
    """The newest first: its file's name begins with the revision that this version needs."""
    config = Config()
    config.set_main_option("script_location", str(schema.scripts()))
    walked = ScriptDirectory.from_config(config).walk_revisions()
    assert list(schema.revisions()) == [one.revision for one in walked]


@pytest.mark.parametrize("module", ["worker", "callback_server"])
def test_what_starts_often_does_without_alembic(module: str) -> None:
    """It is slow to import, and large. Proved by importing `payouts.storage.migrate`."""
    program = f"import sys, {module}.__main__; sys.exit('alembic' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)  # noqa: S603 - our own


async def test_upgrades_at_once_run_one_after_the_other(empty_database_url: str) -> None:
    """Several processes of a deployment may all begin with `db upgrade`.

    Proved by taking the advisory lock out of `migrations/env.py`.
    """
    program = "import sys; from payouts.storage.migrate import upgrade; upgrade(sys.argv[1])"
    running = [
        await asyncio.create_subprocess_exec(sys.executable, "-c", program, empty_database_url)
        for _ in range(3)
    ]

    assert [await one.wait() for one in running] == [0, 0, 0]
    assert await asyncio.to_thread(migrate.current, empty_database_url) == schema.head()


async def test_a_store_refuses_a_database_without_its_schema(empty_database_url: str) -> None:
    """The operator hears which revision is there, which is needed, and what to run."""
    with pytest.raises(SchemaError, match=r"payouts db upgrade.*at nothing, needed is"):
        async with PostgresStore(empty_database_url, StandingClock()):
            pass


async def test_a_store_refuses_a_newer_or_older_schema(empty_database_url: str) -> None:
    """A program of another version does not touch the books, unless it is told that it may."""
    await asyncio.to_thread(migrate.upgrade, empty_database_url)
    await fetch(empty_database_url, "UPDATE alembic_version SET version_num = '9999'")
    await fetch(empty_database_url, "COMMENT ON TABLE alembic_version IS NULL")

    with pytest.raises(SchemaError, match="at 9999"):
        async with PostgresStore(empty_database_url, StandingClock()):
            pass


async def test_a_newer_schema_may_say_that_older_programs_run_on_it(
    empty_database_url: str,
) -> None:
    """What restarts during a rolling upgrade starts, where the migration allows it.

    Proved by looking at the revision alone.
    """
    await asyncio.to_thread(migrate.upgrade, empty_database_url)
    await fetch(empty_database_url, "UPDATE alembic_version SET version_num = '9999'")
    said = "COMMENT ON TABLE alembic_version IS 'payouts since {}'"
    await fetch(empty_database_url, said.format(schema.head()))
    async with PostgresStore(empty_database_url, StandingClock()) as store:
        assert await store.find(PayoutId("a")) is None
    await fetch(empty_database_url, said.format("9998"))
    with pytest.raises(SchemaError, match="at 9999"):
        async with PostgresStore(empty_database_url, StandingClock()):
            pass


async def test_an_older_schema_is_refused_whatever_it_says(empty_database_url: str) -> None:
    """What this version needs is missing there."""
    await asyncio.to_thread(migrate.upgrade, empty_database_url, schema.revisions()[1])
    await fetch(empty_database_url, "COMMENT ON TABLE alembic_version IS 'payouts since 0001'")
    with pytest.raises(SchemaError, match=f"at {schema.revisions()[1]}"):
        async with PostgresStore(empty_database_url, StandingClock()):
            pass


async def test_a_database_that_is_not_there_is_told_without_its_password(books_url: str) -> None:
    """The message names what failed, never the address."""
    nowhere = f"{books_url}_that_is_not_there"
    password = urlsplit(books_url).password or "no password"

    with pytest.raises(StoreUnavailableError) as told:
        await asyncio.to_thread(migrate.current, nowhere)

    assert password not in f"{told.value!r} {told.value.__cause__!r}"
    with pytest.raises(StoreUnavailableError):
        async with PostgresStore(nowhere, StandingClock()):
            pass


@pytest.fixture
async def books(bed: Bed) -> AsyncIterator[asyncpg.Connection]:
    """Give a connection past the store, on one payout of each kind."""
    await bed.intend(payout("submitting"))
    await bed.intend(received("received"))
    await bed.succeeded("ended")
    connection = await asyncpg.connect(bed.url)
    try:
        yield connection
    finally:
        await connection.close()


_SET = "UPDATE payouts SET {} WHERE payout_id = 'submitting'"


@pytest.mark.parametrize(
    ("statement", "guard"),
    [
        (
            "UPDATE payouts SET transaction_id = 'x' WHERE payout_id = 'ended'",
            "payouts.payouts_ended_stays",
        ),
        (
            (
                "UPDATE payouts SET state = 'received', next_action_at = now(), attempts = 0,"
                " owner = NULL, claimed_at = NULL WHERE payout_id = 'submitting'"
            ),
            "payouts.payouts_transition_legal",
        ),
        (_SET.format("payout_id = 'x'"), "payouts.payouts_content_stays"),
        (_SET.format("amount_minor = 1"), "payouts.payouts_content_stays"),
        (_SET.format("msisdn = '1'"), "payouts.payouts_content_stays"),
        (_SET.format("originator_conversation_id = '1'"), "payouts.payouts_content_stays"),
        (_SET.format("owner = NULL, claimed_at = NULL"), "payouts.payouts_submitting_is_owned"),
        (_SET.format("attempts = 0"), "payouts.payouts_attempts_counted"),
        (_SET.format("next_action_at = now()"), "payouts.payouts_next_action_planned"),
        (_SET.format("reason_code = 'x'"), "payouts.payouts_reason_whole"),
        (_SET.format("queries = -1"), "payouts.payouts_not_found_counted"),
        (_SET.format("not_found_count = 2"), "payouts.payouts_not_found_counted"),
        (
            (
                "UPDATE payouts SET came_from = state, state = 'succeeded', next_action_at = NULL"
                " WHERE payout_id = 'received'"
            ),
            "payouts.payouts_ended_is_dated",
        ),
        (
            (
                "UPDATE payouts SET state = 'failed', completed_at = now(), next_action_at = NULL"
                " WHERE payout_id = 'received'"
            ),
            "payouts.payouts_failed_has_reason",
        ),
        (
            (
                "UPDATE payouts SET came_from = state, state = 'in_doubt', doubt_since = now()"
                " WHERE payout_id = 'received'"
            ),
            "payouts.payouts_sent_is_dated",
        ),
        (
            (
                "UPDATE payouts SET came_from = state, state = 'in_doubt', submitted_at = now(),"
                " last_sent_at = now()"
                " WHERE payout_id = 'received'"
            ),
            "payouts.payouts_doubt_is_dated",
        ),
        ("DELETE FROM timeline", "timeline.timeline_kept"),
        ("UPDATE timeline SET actor = 'x'", "timeline.timeline_stays"),
        ("DELETE FROM events", "events.events_kept"),
        ("UPDATE events SET data = NULL", "events.events_content_stays"),
        ("DELETE FROM queries", "queries.queries_kept"),
        ("DELETE FROM incidents", "incidents.incidents_kept"),
        ("UPDATE incidents SET detail = 'x'", "incidents.incidents_stay"),
        (
            "INSERT INTO events VALUES (gen_random_uuid(), 'ended', 'payout.failed', now())",
            "events.events_completion_key",
        ),
        (
            (
                "INSERT INTO events VALUES"
                " (gen_random_uuid(), 'x', 'payout.failed', now(), NULL, NULL, '{}')"
            ),
            "events.events_completion_is_derived",
        ),
        (
            (
                "INSERT INTO incidents VALUES (gen_random_uuid(), 'odd', now(), NULL, NULL, NULL,"
                " NULL, NULL, '', '{}')"
            ),
            "incidents.incidents_kind_known",
        ),
        (
            "INSERT INTO accounts (name, paused) VALUES ('x', true)",
            "accounts.accounts_pause_is_dated",
        ),
        ("INSERT INTO accounts (name, pace) VALUES ('x', 0)", "accounts.accounts_pace_positive"),
        (
            "INSERT INTO accounts (name, refusals) VALUES ('x', -1)",
            "accounts.accounts_refusals_counted",
        ),
    ],
)
async def test_what_must_not_be_written_is_refused(
    books: asyncpg.Connection, statement: str, guard: str
) -> None:
    """By name of its guard; without the guard it would be written."""
    await proves_itself(books, statement, guard)


_INSERT = (
    "INSERT INTO payouts (payout_id, account, amount_minor, currency, msisdn, command_id,"
    " originator_conversation_id, created_at, {columns}) VALUES ('x', 'default', {amount}, 'KES',"
    " '254', 'x', {own_id}, now(), {values})"
)
_RECEIVED = {"columns": "state, next_action_at", "values": "'received', now()"}


@pytest.mark.parametrize(
    ("statement", "guard"),
    [
        (_INSERT.format(amount=0, own_id="'x'", **_RECEIVED), "payouts_amount_positive"),
        (
            _INSERT.format(amount=1, own_id="'600000_ORG_ended'", **_RECEIVED),
            "payouts_originator_conversation_id_key",
        ),
        (
            _INSERT.format(
                amount=1,
                own_id="'x'",
                columns="state, submitted_at, last_sent_at, next_action_at",
                values="'accepted', now(), now(), now()",
            ),
            "payouts_begins_unsent",
        ),
        (
            _INSERT.format(
                amount=1, own_id="'x'", columns="state, came_from", values="'odd', 'received'"
            ),
            "payouts_state_known",
        ),
    ],
    ids=["amount", "second owner of an id", "begins as sent", "unknown state"],
)
async def test_what_must_not_begin_is_refused(
    books: asyncpg.Connection, statement: str, guard: str
) -> None:
    """A payout begins unsent, with an amount, under an id of its own."""
    await proves_itself(books, statement, f"payouts.{guard}")


async def test_the_database_knows_the_same_transitions_as_the_code(
    books: asyncpg.Connection,
) -> None:
    """Every pair of open and any states is legal in both or in neither."""
    transaction = books.transaction()
    await transaction.start()
    try:
        checks = await books.fetch(
            "SELECT conname FROM pg_constraint WHERE contype = 'c'"
            " AND conrelid = 'payouts'::regclass"
        )
        for check in checks:
            await books.execute(f"ALTER TABLE payouts DROP CONSTRAINT {check[0]}")
        legal = {
            (source, target)
            for source in OPEN
            for target in State
            if source is not target and await goes_through(books, source, target)
        }
    finally:
        await transaction.rollback()

    assert legal == set(TRANSITIONS)


async def goes_through(books: asyncpg.Connection, source: State, target: State) -> bool:
    """Tell whether the trigger lets a payout go from one state to another."""
    enter = "UPDATE payouts SET state = $1 WHERE payout_id = 'received'"
    savepoint = books.transaction()
    await savepoint.start()
    try:
        await books.execute("ALTER TABLE payouts DISABLE TRIGGER payouts_transition_legal")
        await books.execute(enter, source.value)
        await books.execute("ALTER TABLE payouts ENABLE TRIGGER payouts_transition_legal")
        await books.execute(enter, target.value)
    except asyncpg.IntegrityConstraintViolationError:
        return False
    else:
        return True
    finally:
        await savepoint.rollback()


async def test_retention_may_delete_when_it_says_so(books: asyncpg.Connection) -> None:
    """What is kept by accident is not kept for ever."""
    async with books.transaction():
        await books.execute("SET LOCAL payouts.retention = 'on'")
        assert await books.execute("DELETE FROM events WHERE payout_id = 'ended'") == "DELETE 1"
