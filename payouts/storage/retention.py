"""Moves payouts that ended long ago out of the live books, in bounded batches.

A batch locks rows that have ended and nothing else, leaves out whatever somebody has in hand, and
is one commit: rows, events, stories, and what the order's count says. A payout moves with all its
submissions, or stays.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from payouts.domain.errors import StoreRefusedError
from payouts.ports import Action, Order
from payouts.storage import audit
from payouts.storage.archive import KEPT_COLUMNS
from payouts.storage.engine import Database
from payouts.storage.rows import columns

BATCH: Final = 2000
YOUNGEST: Final = timedelta(days=1)
SUBJECT: Final = "payouts"
_ALLOW: Final = text("SET LOCAL payouts.retention = 'on'")
_COMPLETION: Final = "e.type IN ('payout.succeeded', 'payout.failed')"

# Downstream has heard of it, and no person has to look at it any more.
_SETTLED: Final = f"""p.completed_at < CAST(:before AS timestamptz)
    AND NOT EXISTS (SELECT FROM incidents i WHERE i.payout_id = p.payout_id)
    AND NOT EXISTS (
        SELECT FROM events e WHERE e.payout_id = p.payout_id AND e.published_at IS NULL
            AND ({_COMPLETION} OR e.data IS NOT NULL)
    )"""  # noqa: S608
_SURVEY: Final = text(f"""
SELECT p.currency, count(*), sum(p.amount_minor)::bigint FROM payouts p
WHERE p.created_at < CAST(:before AS timestamptz) AND {_SETTLED}
    AND NOT EXISTS (
        SELECT FROM payouts r WHERE r.retry_of = p.payout_id
            AND coalesce(r.completed_at >= CAST(:before AS timestamptz), true)
    )
GROUP BY 1
""")  # noqa: S608
# The oldest come first: numbers are given as payouts come. What has stayed is passed over, and
# a page that was made after the instant is the last one.
_PAGE: Final = text("""
SELECT p.id, p.created_at < CAST(:before AS timestamptz) FROM payouts p
WHERE p.id > CAST(:after AS bigint) ORDER BY p.id LIMIT :limit
""")
# Whoever orders a retry, keeps an incident or has an event told again locks one of these rows,
# too: what the next statement sees of them stays so until the commit.
_LOCK: Final = text(f"""
WITH RECURSIVE chain AS (
    SELECT p.id AS root, p.id, p.payout_id
    FROM unnest(CAST(:page AS bigint[])) AS g(id) JOIN payouts p ON p.id = g.id
    WHERE p.retry_of IS NULL AND p.completed_at < CAST(:before AS timestamptz)
    UNION ALL
    SELECT c.root, r.id, r.payout_id FROM chain c JOIN payouts r ON r.retry_of = c.payout_id
)
SELECT c.root, p.id FROM chain c JOIN payouts p ON p.id = c.id
JOIN events e ON e.payout_id = p.payout_id AND {_COMPLETION} AND e.type = 'payout.' || p.state
ORDER BY p.id FOR UPDATE OF p, e SKIP LOCKED
""")  # noqa: S608
_MOVE: Final = text(f"""
WITH g AS (
    SELECT * FROM unnest(CAST(:roots AS bigint[]), CAST(:ids AS bigint[])) AS g(root, id)
), whole AS (
    SELECT g.root FROM g JOIN payouts p ON p.id = g.id
    GROUP BY g.root HAVING bool_and(coalesce({_SETTLED}
        AND NOT EXISTS (
            SELECT FROM payouts r WHERE r.retry_of = p.payout_id
                AND r.id <> ALL(CAST(:ids AS bigint[]))
        ), false)) AND bool_or(p.retry_of IS NULL)
), gone AS (
    DELETE FROM payouts p USING g JOIN whole ON whole.root = g.root WHERE p.id = g.id
    RETURNING {columns("p", KEPT_COLUMNS)}
), told AS (
    DELETE FROM timeline t USING gone WHERE t.payout = gone.id
), announced AS (
    DELETE FROM events e USING gone WHERE e.payout_id = gone.payout_id AND {_COMPLETION}
), told_before AS (
    DELETE FROM events e USING gone WHERE e.payout_id = gone.payout_id AND e.data IS NOT NULL
), kept AS (
    INSERT INTO archive (order_number, event_id, {", ".join(KEPT_COLUMNS)})
    SELECT CAST(:number AS bigint), e.event_id, {columns("gone", KEPT_COLUMNS)}
    FROM gone JOIN events e ON e.payout_id = gone.payout_id AND {_COMPLETION}
    RETURNING state, currency, amount_minor
), counted AS (
    INSERT INTO archive_sums AS s (order_number, state, currency, payouts, amount_minor)
    SELECT CAST(:number AS bigint), state, currency, count(*), sum(amount_minor)::bigint
    FROM kept GROUP BY state, currency
    ON CONFLICT (order_number, state, currency) DO UPDATE SET
        payouts = s.payouts + excluded.payouts,
        amount_minor = s.amount_minor + excluded.amount_minor
)
SELECT currency, count(*), sum(amount_minor)::bigint FROM kept GROUP BY 1
""")  # noqa: S608
_FORGET: Final = text("""
DELETE FROM events WHERE event_id IN (
    SELECT event_id FROM events WHERE archived AND published_at < CAST(:before AS timestamptz)
    ORDER BY published_at LIMIT :limit FOR UPDATE SKIP LOCKED
)
""")

Sums = Mapping[str, tuple[int, int]]


class Retention:
    """Archives what ended before an instant.

    Raises (every method):
        StoreUnavailableError: the database does not answer; what was moved is moved.
        StoreRefusedError: `before` is less than a day ago; or a guard refused it.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def survey(self, before: datetime) -> Sums:
        """Return count and sum by currency of what would be archived; a look, no promise."""
        rows = await self._database.fetch(_SURVEY, {"before": before})
        return {row[0]: (row[1], row[2]) for row in rows}

    async def archive(
        self, order: Order, *, before: datetime, asked: Sums, limit: int = BATCH
    ) -> AsyncGenerator[Sums]:
        """Move what ended before, and give count and sum of each batch once it is durable.

        What is younger, open, not published, contradicted or in somebody's hands stays. Whoever
        stops listening stops it after the batch in hand; ordering it again goes on.

        Args:
            order: who wants it and why; the audit has it before anything moves.
            before: what had ended by then.
            asked: what was agreed to, for the audit.
            limit: how many payouts are looked at in a batch; retries of them come on top.
        """
        if before > order.at - YOUNGEST:
            raise StoreRefusedError("(what ended within the last day stays in the live books)")
        number = await self._begin(order, before, asked)
        after: int | None = 0
        while after is not None:
            moved, after = await self._move(number, before, after, limit)
            yield moved

    async def forget(self, before: datetime, *, limit: int = BATCH) -> None:
        """Take events of archived payouts, told again before then, out of the outbox once more."""
        found = limit
        while found == limit:
            async with self._database.transaction() as connection:
                await connection.execute(_ALLOW)
                deleted = await connection.execute(_FORGET, {"before": before, "limit": limit})
                found = deleted.rowcount

    async def _begin(self, order: Order, before: datetime, asked: Sums) -> int:
        details = {"ended before": before.astimezone(UTC).isoformat()}
        for currency, (number, minor) in sorted(asked.items()):
            details[f"payouts in {currency}"] = str(number)
            details[f"cents of {currency}"] = str(minor)
        async with self._database.transaction() as connection:
            return await audit.write_line(connection, Action.ARCHIVE, SUBJECT, order, details)

    async def _move(
        self, number: int, before: datetime, after: int, limit: int
    ) -> tuple[Sums, int | None]:
        """Move one page; return what moved, and where the next page begins, if there is one."""
        async with self._database.transaction() as connection:
            found = await connection.execute(
                _PAGE, {"before": before, "after": after, "limit": limit}
            )
            page = found.all()
            old = [row[0] for row in page if row[1]]
            if not old:
                return {}, None
            return await _move_page(connection, number, before, old), page[-1][0]


async def _move_page(
    connection: AsyncConnection, number: int, before: datetime, page: list[int]
) -> Sums:
    await connection.execute(_ALLOW)
    locked = (await connection.execute(_LOCK, {"page": page, "before": before})).all()
    if not locked:
        return {}
    rows = await connection.execute(
        _MOVE,
        {
            "roots": [row[0] for row in locked],
            "ids": [row[1] for row in locked],
            "before": before,
            "number": number,
        },
    )
    return {row[0]: (row[1], row[2]) for row in rows}
