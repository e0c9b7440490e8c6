"""What operators read: one payout's story, lists, runs. Nothing here writes."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from payouts.domain.events import Event, event_of
from payouts.domain.payout import Payout, TimelineEntry
from payouts.domain.values import PayoutId, RunId
from payouts.ports import Incident, Query
from payouts.storage.archive import archived, standing
from payouts.storage.engine import Database
from payouts.storage.incidents import incident_of
from payouts.storage.listing import MAX_LISTED, Listing, statement_of
from payouts.storage.outbox import EVENT_COLUMNS, event_of_row
from payouts.storage.rows import TIMELINE_COLUMNS, columns, payout_of, timeline_entry_of
from payouts.storage.totals import (
    BookTotals,
    PaidEntry,
    RunSummary,
    books_of,
    paid_entries_of,
    run_summary_of,
)

__all__ = ["MAX_LISTED", "Listing", "PayoutsReader"]

_TIMELINE: Final = text(f"""
SELECT {columns("t", TIMELINE_COLUMNS)}
FROM timeline t JOIN payouts p ON p.id = t.payout
WHERE p.payout_id = :payout_id ORDER BY t.id
""")  # noqa: S608
_QUERIES: Final = text(
    "SELECT query_id, payout_id, asked_at FROM queries WHERE payout_id = :payout_id"
    " ORDER BY asked_at, query_id"
)
_INCIDENT: Final = (
    "SELECT kind, at, payout_id, originator_conversation_id, conversation_id, transaction_id,"
    " code, detail, evidence FROM incidents"
)
_INCIDENTS_OF: Final = text(f"{_INCIDENT} WHERE payout_id = :payout_id ORDER BY at LIMIT :limit")
_INCIDENTS: Final = text(f"{_INCIDENT} ORDER BY at DESC LIMIT :limit")
# Each arm of the OR is the predicate of a partial index.
_EVENTS: Final = text(f"""
SELECT {EVENT_COLUMNS}, {columns("p")}
FROM events e LEFT JOIN payouts p ON p.payout_id = e.payout_id
WHERE e.payout_id = :payout_id
    AND (e.type IN ('payout.succeeded', 'payout.failed') OR e.data IS NOT NULL)
ORDER BY e.created_at, e.event_id LIMIT :limit
""")  # noqa: S608


class PayoutsReader:
    """Reads the books.

    Raises (every method):
        StoreUnavailableError: the database does not answer.
        SchemaError: it has not the tables.
    """

    def __init__(self, engine: AsyncEngine, *, show_msisdn: bool = False) -> None:
        self._database = Database(engine)
        self._show_msisdn = show_msisdn

    async def payout(self, payout_id: PayoutId) -> Payout | None:
        """Return the payout as it stands."""
        return (await self.existing([payout_id])).get(payout_id)

    async def existing(self, payout_ids: Sequence[PayoutId]) -> Mapping[PayoutId, Payout]:
        """Return which of these payouts there are, live or archived."""
        found = await standing(self._database, list(payout_ids))
        return {one.payout_id: one for one in found.values()}

    async def timeline(self, payout_id: PayoutId) -> list[TimelineEntry]:
        """Return the payout's story, in the order in which it was written."""
        rows = await self._database.fetch(_TIMELINE, {"payout_id": payout_id})
        return [timeline_entry_of(row) for row in rows]

    async def queries(self, payout_id: PayoutId) -> list[Query]:
        """Return what the gateway was asked about the payout, oldest first."""
        rows = await self._database.fetch(_QUERIES, {"payout_id": payout_id})
        return [Query(query_id=row[0], payout_id=row[1], asked_at=row[2]) for row in rows]

    async def incidents(
        self, payout_id: PayoutId | None = None, *, limit: int = MAX_LISTED
    ) -> list[Incident]:
        """Return the payout's incidents, oldest first; without a payout all, newest first."""
        if payout_id is None:
            rows = await self._database.fetch(_INCIDENTS, {"limit": limit})
        else:
            rows = await self._database.fetch(
                _INCIDENTS_OF, {"payout_id": payout_id, "limit": limit}
            )
        return [incident_of(row) for row in rows]

    async def events(self, payout_id: PayoutId) -> list[Event]:
        """Return the events that were written about the payout, oldest first.

        Of an archived payout its completion event is known, whether it is being told again or not.
        """
        gone = (await archived(self._database, [payout_id])).get(payout_id)
        if gone is not None:
            return [event_of(gone, show_msisdn=self._show_msisdn)]
        rows = await self._database.fetch(_EVENTS, {"payout_id": payout_id, "limit": MAX_LISTED})
        return [event_of_row(row, show_msisdn=self._show_msisdn) for row in rows]

    async def list_payouts(self, listing: Listing) -> list[Payout]:
        """Return one page of payouts, newest first; archived ones are not listed."""
        statement, parameters = statement_of(listing)
        rows = await self._database.fetch(statement, parameters)
        return [payout_of(row) for row in rows]

    async def run_summary(self, run_id: RunId) -> RunSummary | None:
        """Return how a run stands; None if no payout belongs to it."""
        async with self._snapshot() as connection:
            return await run_summary_of(connection, run_id)

    async def books(self, run_id: RunId | None = None) -> BookTotals:
        """Return counts and sums, of one run or of all, as of one instant."""
        async with self._snapshot() as connection:
            return await books_of(connection, run_id)

    async def paid_entries(self, run_id: RunId | None = None) -> AsyncGenerator[PaidEntry]:
        """Give every payout that succeeded, as of one instant, a bounded number at a time."""
        async with self._snapshot() as connection:
            async for entry in paid_entries_of(connection, run_id):
                yield entry

    @asynccontextmanager
    async def _snapshot(self) -> AsyncIterator[AsyncConnection]:
        async with self._database.snapshot() as connection:
            yield connection
