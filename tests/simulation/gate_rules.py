"""The auditor's rules for what leaves, what M-PESA does, and what is answered to it."""

from __future__ import annotations

import re
from typing import Final

from payouts.domain.payout import Payout
from tests.simulation.laws import PAID, SAID_BY_GATEWAY, VAGUE
from tests.simulation.memory import Memory
from tests.simulation.truth import Payment

_QUERY_ID: Final = re.compile(r"[^_]+_[A-Za-z0-9]+-q[0-9]+_(.+)")


class GateRules(Memory):
    """Judges requests, payments and acknowledged Results (invariants 1, 3, 4, 7 and 9)."""

    def sending(self, payout: Payout) -> None:
        """Hear that the first byte of a payment request leaves now (invariants 1 and 4)."""
        own_id = payout.originator_conversation_id
        self.seen["sent"] += 1
        self.truth.sends[own_id] += 1
        self.truth.last_sent_s[own_id] = self._time()
        row = self.rows.get(payout.payout_id)
        if row is None or row.originator_conversation_id != own_id:
            self._report(1, f"{payout.payout_id} is sent without a committed intent")
            return
        stands = (
            row.state.value == "submitting"
            and row.attempts == payout.attempts
            and row.owner == payout.owner
        )
        moved_by = None if row.reason is None else row.reason.source.value
        queued_out = row.reason is not None and row.reason.code == "queue_timeout"
        if not stands and moved_by not in SAID_BY_GATEWAY and not queued_out:
            self._report(1, f"{payout.payout_id} is sent, but it stands at {row.state.value}")
        if not self._doubtful and not self._restored and self.is_alive(own_id):
            self._report(4, f"{payout.payout_id} is sent again while an earlier send is alive")

    def not_found_said(self, said_id: str) -> None:
        """Hear that the gateway tells somebody that it does not know what an id is about.

        A question of the core is answered once, however often its Result has to be sent.
        """
        asked = _QUERY_ID.fullmatch(said_id)
        if asked is None:
            self.truth.not_found[said_id] += 1
        elif said_id not in self._answered:
            self._answered.add(said_id)
            self.truth.not_found[self._id_of.get(asked[1], said_id)] += 1

    def seen_under_way(self, said_id: str, told_s: float) -> None:
        """Hear that somebody has taken the answer that a payment is under way.

        Args:
            said_id: of the question.
            told_s: when it was said; whatever *not found* was written down earlier is refuted.
        """
        asked = _QUERY_ID.fullmatch(said_id)
        if asked is not None:
            self._seen_s[self._id_of.get(asked[1], said_id)] = told_s

    def told_result(self, own_id: str, code: str, amount_minor: int | None) -> None:
        """Hear what a Result says, before anybody takes it."""
        self._told[own_id].append((code, amount_minor))

    def in_hand(self, process: str, count: int, limit: int, what: str) -> None:
        """Judge how much a process has in hand (invariant 9)."""
        if count > limit:
            self._report(9, f"{process} has {count} {what} in hand, more than {limit}")

    def arrived(self, own_id: str, *, amount_minor: int, receiver: str) -> None:
        """Hear of a payment request at the gate."""
        self.truth.arrivals[own_id] += 1
        payout_id = self._payout_of.get(own_id)
        if payout_id is None:
            self._report(1, f"a request with the unknown id {own_id} arrived")
            return
        row = self.rows.get(payout_id)
        if row is not None and (row.amount_minor, row.msisdn) != (amount_minor, receiver):
            self._report(2, f"the request of {payout_id} is not what the books say")

    def paid(self, own_id: str, *, amount_minor: int, receiver: str, receipt: str) -> None:
        """Hear that money moved (invariants 3 and 4)."""
        self.seen["paid"] += 1
        self.truth.payments[own_id].append(Payment(own_id, amount_minor, receiver, receipt))
        payout_id = self._payout_of.get(own_id, own_id)
        root = self._root(payout_id)
        if root in self._spoiled:
            return
        ids = [own for own, one in self._payout_of.items() if self._root(one) == root]
        if sum(len(self.truth.payments.get(one, ())) for one in ids) > 1:
            self._report(4, f"{root} was paid twice")
        row = self.rows.get(payout_id)
        if row is not None and row.state.value == "failed":
            self._report(3, f"{payout_id} was paid after it had failed")

    def declined(self, own_id: str) -> None:
        """Hear that the gateway will never pay what it took under this id."""
        self.truth.declined.add(own_id)

    def result_acknowledged(self, own_id: str, code: str) -> None:
        """Judge an acknowledgement of a Result (invariants 5 and 7)."""
        self.seen["result acknowledged"] += 1
        payout_id = self._payout_of.get(own_id)
        if code == VAGUE or _QUERY_ID.fullmatch(own_id):
            return
        row = None if payout_id is None else self.rows.get(payout_id)
        if row is not None and row.state.value == ("succeeded" if code == PAID else "failed"):
            return
        if not any(
            one.originator_conversation_id == own_id or one.payout_id == payout_id
            for one in self._own_books().incidents
        ):
            self._report(7, f"a Result for {own_id} was acknowledged, but is not kept: {code}")
