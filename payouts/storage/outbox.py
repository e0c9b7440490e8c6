"""Events that are durable: what is not published yet, and what is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from sqlalchemy import text

from payouts.domain.events import REJECTED, Event, event_of
from payouts.domain.payout import Payout, Reason, ReasonSource, State
from payouts.storage.archive import archived
from payouts.storage.batch import BatchWriter, Gap
from payouts.storage.engine import Rows
from payouts.storage.parts import Context, Part
from payouts.storage.rows import columns, payout_of

EVENT_COLUMNS: Final = "e.event_id::text, e.payout_id, e.type, e.created_at, e.data"
_EVENT_WIDTH: Final = 5
# Nobody waits for this note: after a crash in between, an event comes once more with its id.
PUBLISHED_GAP: Final = Gap(most_s=0.2)

# What nobody has tried comes first, then what was tried longest ago: events that no queue takes,
# however many, stand in nobody's way.
_CLAIM: Final = text(f"""
WITH due AS (
    SELECT event_id FROM events
    WHERE published_at IS NULL AND created_at < CAST(:older_than AS timestamptz)
        AND (hidden_until IS NULL OR hidden_until <= CAST(:now AS timestamptz))
    ORDER BY hidden_until NULLS FIRST, created_at LIMIT :limit FOR UPDATE SKIP LOCKED
), e AS (
    UPDATE events e SET hidden_until = CAST(:until AS timestamptz)
    FROM due WHERE e.event_id = due.event_id
    RETURNING e.event_id, e.payout_id, e.type, e.created_at, e.data
)
SELECT {EVENT_COLUMNS}, {columns("p")} FROM e LEFT JOIN payouts p ON p.payout_id = e.payout_id
ORDER BY e.created_at
""")  # noqa: S608
# By the key alone: a condition on published_at would tempt the planner to the other index, with
# all its dead entries.
_PUBLISHED: Final = text("""
UPDATE events e SET published_at = coalesce(e.published_at, CAST(:at AS timestamptz))
FROM unnest(CAST(:event_ids AS uuid[])) AS g(event_id)
WHERE e.event_id = g.event_id
RETURNING e.event_id
""")


class OutboxPart(Part):
    """Hands unpublished events out, and takes down which were published, many to a commit."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._published: BatchWriter[str, None] = BatchWriter(
            "published",
            self._write_published,
            key=lambda event_id: event_id,
            gap=PUBLISHED_GAP,
        )
        self._writers.append(self._published)

    async def claim_unpublished(
        self, *, older_than: datetime, until: datetime, limit: int
    ) -> Sequence[Event]:
        """Take events written before `older_than`, hidden from other relays until `until`."""
        rows = await self._database.fetch(
            _CLAIM,
            {
                "older_than": older_than,
                "until": until,
                "now": self._context.clock.now(),
                "limit": limit,
            },
        )
        known = await self._archived(rows)
        return [
            event_of_row(row, show_msisdn=self._context.show_msisdn, archived=known) for row in rows
        ]

    async def _archived(self, rows: Rows) -> Mapping[str, Payout]:
        """Return the archived payouts whose events are told again; hardly ever is there one."""
        gone = [row[1] for row in rows if row[2] != REJECTED and row[_EVENT_WIDTH] is None]
        return await archived(self._database, gone) if gone else {}

    async def mark_published(self, event_id: str) -> None:
        """Take down that the broker has confirmed the event."""
        await self._published.submit(event_id)

    async def _write_published(self, event_ids: Sequence[str]) -> list[None]:
        await self._batches.fetch(
            _PUBLISHED, {"event_ids": sorted(event_ids), "at": self._context.clock.now()}
        )
        return [None] * len(event_ids)


def event_of_row(
    row: Sequence[Any], *, show_msisdn: bool, archived: Mapping[str, Payout] | None = None
) -> Event:
    """Return the event that an events row and its payout's row (PAYOUT_COLUMNS) tell.

    `archived` has the payouts that have no row any more.
    """
    event_id, payout_id, event_type, created_at, data = row[:_EVENT_WIDTH]
    if event_type == REJECTED:
        return Event(
            event_id=event_id, type=event_type, subject=payout_id, time=created_at, data=data
        )
    payout = (archived or {}).get(payout_id) or payout_of(row[_EVENT_WIDTH:])
    if data is None:
        return event_of(payout, show_msisdn=show_msisdn)
    event = event_of(_as_it_stood(payout, data), show_msisdn=show_msisdn)
    return replace(event, event_id=event_id, time=created_at)


def _as_it_stood(payout: Payout, data: Mapping[str, Any]) -> Payout:
    """Return the payout as it was when a progress event was written."""
    submitted_at = data["submitted_at"]
    reason = None
    if data["reason_code"] is not None:
        reason = Reason(
            source=ReasonSource(data["reason_source"]),
            code=data["reason_code"],
            klass=data["reason_class"],
            description=data["reason_description"],
        )
    return replace(
        payout,
        state=State(data["state"]),
        reason=reason,
        conversation_id=data["conversation_id"],
        transaction_id=data["transaction_id"],
        submitted_at=None if submitted_at is None else datetime.fromisoformat(submitted_at),
        completed_at=None,
    )
