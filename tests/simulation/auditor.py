"""Judges a simulated world by the ten invariants of design.md, step by step, and knows the truth.

It hears every commit, every request that leaves or arrives, every payment, every acknowledgement
and every publication, keeps books of its own, and asks none of the product's rules.
"""

from __future__ import annotations

from payouts.domain.decisions import Ambiguous
from payouts.domain.payout import Payout
from tests.simulation.book_rules import BookRules
from tests.simulation.gate_rules import GateRules
from tests.simulation.laws import ENDS
from tests.simulation.memory import Violation
from tests.simulation.queue_rules import QueueRules

__all__ = ["Auditor", "Violation"]


class Auditor(BookRules, GateRules, QueueRules):
    """Hears everything; `violations` is empty as long as all invariants hold."""

    def judge_all(self) -> None:
        """Judge what is left when everything has come to rest."""
        if dict(self._own_books().payouts) != self.rows:
            self._report(10, "the books are not what their commits make of them")
        for payout_id in sorted(self.rows):
            self._judge_rest(self.rows[payout_id])
        for message_id, (_, wanted) in self._messages.items():
            dead = self._dead[wanted.body, message_id]
            if wanted.valid and wanted.payout_id not in self.rows and not dead:
                self._report(10, f"{wanted.payout_id} was lost (message {message_id})")
            elif not wanted.valid and not dead:
                self._report(8, f"the rubbish of message {message_id} was lost")

    def _judge_rest(self, row: Payout) -> None:
        payout_id, state = row.payout_id, row.state.value
        if state in ENDS:
            event_id = self._completions.get(payout_id)
            if event_id is None or event_id not in self._published:
                self._report(6, f"the event of {payout_id} was never published")
        elif state == "in_doubt":
            if row.reason is None:
                self._report(3, f"{payout_id} is in doubt without a reason")
            asked = self._settings["ambiguous"] is Ambiguous.QUERY
            if asked and self.truth.paid(row.originator_conversation_id):
                self._report(3, f"{payout_id} was left in doubt, but it was paid")
        elif row.held is None or state not in {"received", "waiting"}:
            self._report(10, f"{payout_id} came to rest as {state}")
