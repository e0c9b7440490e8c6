"""What operators see across payouts: open sums by account, holds, submissions, orders, repeats."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from payouts.domain.payout import Payout, State
from payouts.domain.values import AccountName, PayoutId, RunId
from payouts.ports import AuditEntry
from payouts.storage.archive import archived_submissions
from payouts.storage.audit import lines_about
from payouts.storage.engine import Database
from payouts.storage.listing import PAYING
from payouts.storage.rows import columns, is_open, payout_of

MAX_SUBMISSIONS: Final = 1000
MAX_ORDERS: Final = 1000
_BETWEEN: Final = chr(31)

_OPEN: Final = text(f"""
SELECT account, currency, count(*), sum(amount_minor)::bigint, count(held)
FROM payouts p WHERE {is_open("p")} GROUP BY 1, 2 ORDER BY 1, 2
""")  # noqa: S608
_HELD: Final = text("""
SELECT currency, count(*), sum(amount_minor)::bigint
FROM payouts WHERE held IS NOT NULL AND run_id = :run_id GROUP BY 1 ORDER BY 1
""")
_KNOWN_ACCOUNTS: Final = text("SELECT name FROM accounts ORDER BY name")
# First up to the first submission, then down through all that followed it.
_SUBMISSIONS: Final = text(f"""
WITH RECURSIVE up AS (
    SELECT payout_id, retry_of, 1 AS step FROM payouts WHERE payout_id = :payout_id
    UNION ALL
    SELECT p.payout_id, p.retry_of, up.step + 1
    FROM up JOIN payouts p ON p.payout_id = up.retry_of WHERE up.step < :limit
), down AS (
    (SELECT payout_id, 1 AS step FROM up ORDER BY up.step DESC LIMIT 1)
    UNION ALL
    SELECT p.payout_id, down.step + 1
    FROM down JOIN payouts p ON p.retry_of = down.payout_id WHERE down.step < :limit
)
SELECT {columns("p")} FROM down JOIN payouts p USING (payout_id) ORDER BY down.step
""")  # noqa: S608
# One pass over the payouts of the time asked about, for many wanted payments at once. They come as
# four texts, divided by a character that stands in none of them: the driver is slow with arrays.
_REPEATS: Final = text(f"""
WITH {PAYING}
SELECT DISTINCT ON (w.place) w.place, p.payout_id, p.run_id, p.state, p.created_at
FROM unnest(string_to_array(:msisdns, chr(31)),
    CAST(string_to_array(:amounts, chr(31)) AS bigint[]),
    string_to_array(:currencies, chr(31)), string_to_array(:payout_ids, chr(31))) WITH ORDINALITY
    AS w(msisdn, amount_minor, currency, payout_id, place)
JOIN (
    SELECT p.* FROM paying JOIN payouts p
        ON p.account = paying.account AND p.created_at >= CAST(:since AS timestamptz)
) p ON p.msisdn = w.msisdn AND p.amount_minor = w.amount_minor
    AND p.currency = w.currency AND p.payout_id <> w.payout_id
WHERE p.state <> 'failed'
ORDER BY w.place, p.created_at DESC
""")  # noqa: S608


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenTotal:
    """What is open at an account in one currency; `held` of these are held."""

    account: AccountName
    currency: str
    count: int
    amount_minor: int
    held: int


class Wanted(NamedTuple):
    """A payment that somebody is about to order."""

    payout_id: PayoutId
    msisdn: str
    amount_minor: int
    currency: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Earlier:
    """The newest payout to the same receiver with the same amount that has not failed."""

    payout_id: PayoutId
    run_id: RunId | None
    state: State
    created_at: datetime


class Oversight:
    """Reads what `PayoutsReader` does not: what spans several payouts.

    Raises (every method):
        StoreUnavailableError: the database does not answer.
        SchemaError: it has not the tables.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self._database = Database(engine)

    async def open_by_account(self) -> list[OpenTotal]:
        """Return what is open at each account, whether anybody still serves it or not."""
        return [
            OpenTotal(
                account=row[0], currency=row[1], count=row[2], amount_minor=row[3], held=row[4]
            )
            for row in await self._database.fetch(_OPEN, {})
        ]

    async def known_accounts(self) -> list[AccountName]:
        """Return the accounts that the books have a standing for."""
        return [row[0] for row in await self._database.fetch(_KNOWN_ACCOUNTS, {})]

    async def held_in(self, run_id: RunId) -> dict[str, tuple[int, int]]:
        """Return count and sum of a run's held payouts, by currency."""
        rows = await self._database.fetch(_HELD, {"run_id": run_id})
        return {row[0]: (row[1], row[2]) for row in rows}

    async def submissions(self, payout_id: PayoutId) -> list[Payout]:
        """Return all submissions that this one belongs to, the first one first.

        They are archived together, so that they are all live or all archived.
        """
        rows = await self._database.fetch(
            _SUBMISSIONS, {"payout_id": payout_id, "limit": MAX_SUBMISSIONS}
        )
        if rows:
            return [payout_of(row) for row in rows]
        return await archived_submissions(self._database, payout_id, limit=MAX_SUBMISSIONS)

    async def orders_about(self, subjects: Sequence[str]) -> list[AuditEntry]:
        """Return the lines of the audit about these, oldest first."""
        async with self._database.snapshot() as connection:
            found = [
                entry
                for subject in dict.fromkeys(subjects)
                for entry in await lines_about(connection, subject, limit=MAX_ORDERS)
            ]
        return sorted(found, key=lambda entry: entry.number)

    async def repeats(
        self, wanted: Sequence[Wanted], *, since: datetime
    ) -> Mapping[PayoutId, Earlier]:
        """Return which of these look like another payout that was made since then.

        The same receiver, amount and currency under another id; what has failed paid nobody and
        is left out. It reads every payout made since then: ask for many at once.
        """
        rows = await self._database.fetch(
            _REPEATS,
            {
                "msisdns": _BETWEEN.join([one.msisdn for one in wanted]),
                "amounts": _BETWEEN.join([str(one.amount_minor) for one in wanted]),
                "currencies": _BETWEEN.join([one.currency for one in wanted]),
                "payout_ids": _BETWEEN.join([one.payout_id for one in wanted]),
                "since": since,
            },
        )
        return {
            wanted[row[0] - 1].payout_id: Earlier(
                payout_id=row[1], run_id=row[2], state=State(row[3]), created_at=row[4]
            )
            for row in rows
        }
