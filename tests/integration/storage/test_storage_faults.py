"""Whatever happens to the connection, a write is told as unknown, and told again it is one."""

import asyncio
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from functools import partial

import asyncpg
import pytest
from sqlalchemy import TextClause
from storage_bed import (
    ACCOUNT,
    ACTOR,
    NOW,
    RECEIVER,
    Bed,
    completion,
    move,
    open_bed,
    payout,
    received,
    seconds,
)

from payouts.domain.errors import PayoutsError, StoreRefusedError, StoreUnavailableError
from payouts.domain.payout import Payout, State
from payouts.domain.values import PayoutId, WorkerId
from payouts.ports import Intent, Recorded
from payouts.storage.engine import Rows, create_engine
from payouts.storage.faults import translate
from payouts.storage.store import PostgresStore

Write = Callable[[PostgresStore], Awaitable[object]]


async def backends(bed: Bed, state: str) -> list[int]:
    rows = await bed.fetch(
        "SELECT pid FROM pg_stat_activity WHERE application_name = 'payouts'"
        " AND datname = current_database() AND state = $1",
        state,
    )
    return [row[0] for row in rows]


async def waiting_backend(bed: Bed) -> int:
    """Give the backend that waits for a lock, once there is one."""
    async with asyncio.timeout(30):
        while True:
            rows = await bed.fetch(
                "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
                " AND application_name = 'payouts' AND datname = current_database()"
            )
            if rows:
                return int(rows[0][0])


@pytest.fixture
async def lock(bed: Bed) -> AsyncIterator[asyncpg.Connection]:
    """Give a connection that holds the tables so that writes wait in the middle."""
    connection = await asyncpg.connect(bed.url)
    transaction = connection.transaction()
    await transaction.start()
    try:
        yield connection
    finally:
        if not connection.is_closed():
            await connection.close()


@pytest.mark.parametrize("table", ["timeline", "payouts"])
async def test_a_write_whose_connection_dies_is_unknown_and_may_be_told_again(
    bed: Bed, lock: asyncpg.Connection, table: str
) -> None:
    """Terminated in the middle of its statement, nothing is half written; again, it is whole."""
    await bed.intend(payout("a"))
    await lock.execute(f"LOCK TABLE {table} IN EXCLUSIVE MODE")
    writing = asyncio.create_task(bed.store.move(move("a", State.FAILED)))
    victim = await waiting_backend(bed)

    await bed.fetch("SELECT pg_terminate_backend($1)", victim)

    with pytest.raises(StoreUnavailableError):
        await writing
    await lock.close()
    assert (await bed.standing("a")).state is State.SUBMITTING
    moved = await bed.store.move(move("a", State.FAILED))
    assert moved.event is not None
    assert await bed.kinds("a") == ["intent", "answer"]
    assert await bed.count("events") == 1


class Deaf:
    """Runs statements, but the answer to the first never comes back."""

    def __init__(self, store: PostgresStore) -> None:
        self._lost = False
        for database in (store.database, store.batches):
            fetch = partial(self.fetch, database._fetch)
            database._fetch = fetch  # type: ignore[method-assign]

    async def fetch(
        self,
        fetch: Callable[[TextClause, Mapping[str, object]], Awaitable[Rows]],
        statement: TextClause,
        parameters: Mapping[str, object],
    ) -> Rows:
        """Run it, and lose the first answer."""
        rows = await fetch(statement, parameters)
        if not self._lost:
            self._lost = True
            raise ConnectionResetError
        return rows


async def twice(bed: Bed, write: Write) -> object:
    """Do a write whose commit is not heard of, and then again."""
    Deaf(bed.store)
    with pytest.raises(StoreUnavailableError):
        await write(bed.store)
    return await write(bed.store)


async def test_an_intent_whose_commit_was_not_heard_is_new_when_told_again(bed: Bed) -> None:
    """The worker may send: the row is its own."""
    intent = Intent(payout=payout("a"), actor=ACTOR)

    outcome = await twice(bed, lambda store: store.record_intent(intent))

    assert outcome.recorded is Recorded.NEW  # type: ignore[attr-defined]
    assert await bed.kinds("a") == ["intent"]


async def test_an_end_whose_commit_was_not_heard_gives_its_event_when_told_again(bed: Bed) -> None:
    """One end, one event, and the caller has it in hand."""
    await bed.intend(payout("a"))

    moved = await twice(bed, lambda store: store.move(move("a", State.FAILED)))

    assert moved.event is not None  # type: ignore[attr-defined]
    assert await bed.count("events") == 1


async def test_a_result_whose_commit_was_not_heard_is_a_repeat_when_told_again(bed: Bed) -> None:
    """It finds the payout ended just so; the event waits in the outbox."""
    await bed.accepted("a")
    Deaf(bed.store)

    with pytest.raises(StoreUnavailableError):
        await bed.store.complete(completion("a"))
    again = await bed.store.complete(completion("a"))

    assert (again.applied, again.payout) == (False, await bed.standing("a"))
    assert (await bed.standing("a")).state is State.SUCCEEDED
    assert await bed.count("events WHERE published_at IS NULL") == 1
    assert await bed.kinds("a") == ["intent", "answer", "result"]


async def test_refusals_resends_and_questions_told_again_count_once(bed: Bed) -> None:
    """Counters are tied to what they count."""
    await bed.in_doubt("a")

    await twice(
        bed,
        lambda store: store.count_refusal(ACCOUNT, limit=3, reason="x", at=NOW + seconds(1)),
    )
    again = await twice(
        bed,
        lambda store: store.resend(
            PayoutId("a"),
            WorkerId(1),
            now=NOW,
            grace_s=1,
            interval_s=1,
            by_policy=True,
            actor=ACTOR,
        ),
    )

    assert (await bed.store.account_statuses([ACCOUNT]))[ACCOUNT].refusals == 1
    assert again is not None
    assert (await bed.standing("a")).attempts == 2


async def test_after_a_restart_the_store_goes_on_by_itself(bed: Bed) -> None:
    """Connections that the server has closed are thrown away, not tried one after the other."""
    await asyncio.gather(*(bed.store.find(PayoutId(name)) for name in "abcdef"))
    for pid in await backends(bed, "idle"):
        await bed.fetch("SELECT pg_terminate_backend($1)", pid)

    failures = 0
    async with asyncio.timeout(30):
        while True:
            try:
                await bed.intend(payout("a"))
                break
            except StoreUnavailableError:
                failures += 1

    assert failures <= 2


async def test_a_lock_that_is_held_for_too_long_is_no_refusal(
    bed: Bed, lock: asyncpg.Connection
) -> None:
    """The write did not happen; it is told as unknown and may be told again."""
    await bed.intend(payout("a"))
    await lock.execute("LOCK TABLE payouts IN EXCLUSIVE MODE")
    async with bed.store.database.engine.connect() as connection:
        await connection.exec_driver_sql("SET lock_timeout = '50ms'")

    with pytest.raises(StoreUnavailableError, match="55P03"):
        await bed.store.move(move("a", State.FAILED))


async def test_a_silent_server_is_given_up_and_its_connection_thrown_away(books_url: str) -> None:
    """A statement that is not answered in time leaves no half-used connection in the pool."""
    async with open_bed(books_url) as bed:
        engine = create_engine(books_url, command_timeout_s=0.2)
        bed.store.database.engine, before = engine, bed.store.database.engine
        try:
            holder = await asyncpg.connect(books_url)
            transaction = holder.transaction()
            await transaction.start()
            await holder.execute("LOCK TABLE payouts")
            with pytest.raises(StoreUnavailableError):
                await bed.store.find(payout("a").payout_id)
            await holder.close()
            assert await bed.store.find(payout("a").payout_id) is None
        finally:
            bed.store.database.engine = before
            await engine.dispose()


async def test_a_statement_that_loses_a_deadlock_runs_again(bed: Bed) -> None:
    """PostgreSQL ends a deadlock by an error for one of both; nobody hears of it.

    Proved by running every statement once only.
    """
    await bed.intend(received("a"))
    holder = await asyncpg.connect(bed.url)
    try:
        await holder.execute("SET deadlock_timeout = '1h'")  # So that it is the store that loses.
        transaction = holder.transaction()
        await transaction.start()
        await holder.execute(
            "INSERT INTO events VALUES (gen_random_uuid(), 'a', 'payout.failed', now())"
        )
        cancelling = asyncio.create_task(
            bed.store.move(move("a", State.FAILED, State.RECEIVED, sent_at=None))
        )
        await waiting_backend(bed)  # It has the payout's row and waits for the event's key.
        await holder.execute("SELECT FROM payouts WHERE payout_id = 'a' FOR UPDATE")
        await transaction.rollback()
        moved = await cancelling
    finally:
        await holder.close()

    assert moved.payout is not None
    assert await bed.kinds("a") == ["intent", "answer"]


@pytest.mark.parametrize(
    "wrong",
    [
        payout("a", amount_minor=-5),
        payout("a", owner=None, claimed_at=None),
        payout("a", amount_minor=10**30),
        payout("a", remark="\0"),
    ],
    ids=["check", "owner", "range", "character"],
)
async def test_what_the_database_refuses_is_told_without_personal_data(
    bed: Bed, wrong: Payout
) -> None:
    """PostgreSQL quotes the row in its message; ours names the guard only."""
    with pytest.raises(StoreRefusedError) as told:
        await bed.intend(wrong)

    assert RECEIVER not in "".join(traceback.format_exception(told.value))


@pytest.mark.parametrize(
    ("state", "kind"),
    [
        ("08006", StoreUnavailableError),
        ("25006", StoreUnavailableError),
        ("40001", StoreUnavailableError),
        ("53300", StoreUnavailableError),
        ("57014", StoreUnavailableError),
        ("57P01", StoreUnavailableError),
        ("57P03", StoreUnavailableError),
        ("58030", StoreUnavailableError),
        ("XX000", StoreUnavailableError),
        ("22003", StoreRefusedError),
        ("23505", StoreRefusedError),
        ("42501", StoreRefusedError),
        ("54000", StoreRefusedError),
        ("P0001", StoreRefusedError),
    ],
)
def test_only_what_would_fail_for_ever_is_a_refusal(state: str, kind: type[PayoutsError]) -> None:
    """By PostgreSQL's code; whatever is not known to be final is tried again."""
    error = asyncpg.PostgresError.new({"C": state, "M": "m"})

    assert type(translate(error)) is kind


async def test_leaving_the_store_writes_what_waits(books_url: str) -> None:
    """A drain ends with everything written down."""
    async with open_bed(books_url) as bed:
        tasks = [asyncio.create_task(bed.intend(received(f"p-{n}"))) for n in range(50)]
        await asyncio.sleep(0)
    await asyncio.gather(*tasks)

    async with open_bed(books_url) as bed:
        assert await bed.count("payouts") == 50


async def test_a_store_that_was_left_takes_nothing_more(books_url: str) -> None:
    """Who comes too late hears so."""
    async with open_bed(books_url) as bed:
        pass

    with pytest.raises(StoreUnavailableError):
        await bed.intend(payout("a"))
