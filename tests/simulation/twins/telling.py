"""Events as the outbox tells them, derived from their payouts."""

from __future__ import annotations

from dataclasses import replace

from payouts.domain.events import REJECTED, Event, event_of
from payouts.domain.payout import Payout
from tests.simulation.twins.rows import EventRow


def told(row: EventRow, payout: Payout | None, *, show_msisdn: bool) -> Event:
    """Return the event that a row of the outbox and its payout tell."""
    if row.type == REJECTED or payout is None:
        return Event(
            event_id=row.event_id,
            type=row.type,
            subject=row.payout_id,
            time=row.created_at,
            data=row.data or {},
        )
    if row.data is None:
        return event_of(payout, show_msisdn=show_msisdn)
    event = event_of(row.data["payout"], show_msisdn=show_msisdn)
    return replace(event, event_id=row.event_id, time=row.created_at)
