"""The twin's outbox, as payouts/storage/outbox.py keeps it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from payouts.domain.events import Event
from tests.simulation.twins.books import Statement
from tests.simulation.twins.session import Session
from tests.simulation.twins.telling import told

_NEVER: Final = datetime.min.replace(tzinfo=UTC)


class Outbox(Session):
    """Hands unpublished events out, and takes down which were published."""

    async def claim_unpublished(
        self, *, older_than: datetime, until: datetime, limit: int
    ) -> Sequence[Event]:
        """Take events written before `older_than`, hidden from other relays until `until`."""
        now = self._clock.now()

        def work(st: Statement) -> list[Event]:
            events = st.tables.events
            due = [
                row
                for event_id in st.tables.unpublished
                if (row := events[event_id]).created_at < older_than
                and (row.hidden_until is None or row.hidden_until <= now)
            ]
            # What nobody has tried comes first, then what was tried longest ago.
            due.sort(key=lambda row: (row.hidden_until or _NEVER, row.created_at))
            for row in due[:limit]:
                st.hide(row._replace(hidden_until=until))
            payouts = st.tables.payouts
            unmasked = self._settings.show_msisdn
            return [
                told(row, payouts.get(row.payout_id), show_msisdn=unmasked) for row in due[:limit]
            ]

        return await self._call("claim_unpublished", work)

    async def mark_published(self, event_id: str) -> None:
        """Take down that the broker has confirmed the event."""
        now = self._clock.now()

        def work(st: Statement) -> None:
            row = st.tables.events.get(event_id)
            if row is not None and row.published_at is None:
                st.publish(row._replace(published_at=now))

        await self._call("mark_published", work)
