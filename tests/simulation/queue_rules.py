"""The auditor's rules for what RabbitMQ takes for good."""

from __future__ import annotations

from typing import Final

from payouts.domain.events import Event
from tests.simulation.laws import ENDS
from tests.simulation.memory import Memory
from tests.simulation.upstream import Wanted

ALONE: Final = 3


class QueueRules(Memory):
    """Judges acknowledged commands, dead letters and events (invariants 6, 7 and 8)."""

    def acknowledged(self, body: bytes, message_id: str | None) -> None:
        """Judge an acknowledgement of a command (invariants 7 and 8)."""
        self.seen["acknowledged"] += 1
        wanted = self._message(message_id)
        if wanted is None or (self._dead[body, message_id] and not wanted.valid):
            return
        row = self.rows.get(wanted.payout_id)
        if row is not None and wanted.valid and wanted.is_of(row):
            return
        if self._dead[body, message_id] == 0:
            self._report(7, f"{wanted.payout_id} was acknowledged, but is not durable")

    def dead_lettered(self, body: bytes, message_id: str | None, reason: str) -> None:
        """Hear of a dead letter; what is valid and new must never become one (invariant 8)."""
        self.seen[f"dead letter {reason}"] += 1
        self._dead[body, message_id] += 1
        wanted = self._message(message_id)
        if wanted is None or not wanted.valid:
            return
        row = self.rows.get(wanted.payout_id)
        if reason == "poison" and self.seen["trouble crash"] >= ALONE:
            return  # Begun alone so often, and each time its worker died: who could tell?
        if row is None or wanted.is_of(row):
            self._report(8, f"{wanted.payout_id} was put aside as {reason}, but is valid")

    def _message(self, message_id: str | None) -> Wanted | None:
        found = self._messages.get(message_id or "")
        return None if found is None else found[1]

    def took_event(self, event: Event) -> None:
        """Judge an event that RabbitMQ has taken (invariant 6)."""
        self.seen["event taken"] += 1
        known = self._events.get(event.event_id)
        if known is None:
            self._report(6, f"an event of {event.subject} was published before it was durable")
        elif event.type in ENDS.values() and self._differ(known, event):
            self._report(6, f"the event of {event.subject} was told in two ways")
        self._published.add(event.event_id)

    def _differ(self, known: Event, event: Event) -> bool:
        """Tell whether an event says two things; after a restore its end is another instant's."""
        if not self._restored:
            return known.data != event.data
        names = ("payout_id", "state", "amount", "msisdn", "originator_conversation_id")
        return any(known.data[name] != event.data[name] for name in names)
