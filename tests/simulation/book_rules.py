"""The auditor's rules for what the database commits."""

from __future__ import annotations

from operator import attrgetter
from typing import Final

from payouts.domain.events import Event
from payouts.domain.payout import Payout
from payouts.ports import IncidentKind
from tests.simulation.laws import CONTENT, ENDS, LAWFUL, NOT_PAID
from tests.simulation.memory import Counted, seconds_of, tells_of_a_result
from tests.simulation.move_rules import MoveRules
from tests.simulation.seams import Commit

_content: Final = attrgetter(*CONTENT)


class BookRules(MoveRules):
    """Judges every commit (invariants 2, 5, 6 and 10)."""

    def committed(self, commit: Commit) -> None:
        """Judge one commit (invariants 2, 3, 4, 5, 6 and 10)."""
        self.seen[commit.by] += 1
        for incident in commit.incidents:
            self.seen[f"incident {incident.kind.value}"] += 1
            if incident.kind is IncidentKind.CONTRADICTION:
                self._contradicted.add(str(incident.payout_id))
            elif tells_of_a_result(incident):
                self._unmatched.add(str(incident.originator_conversation_id))
        ended = {
            str(payout_id)
            for payout_id, after in commit.after.items()
            if after.state.value in ENDS and self._has_just_ended(commit, after)
        }
        for event in commit.events:
            self._judge_event(event, commit, ended)
        for payout_id in sorted(ended):
            self._report(6, f"{payout_id} ended without its event in the same commit")
        for payout_id, after in commit.after.items():
            before = commit.before[payout_id]
            if before is not after and before != self.rows.get(payout_id):
                self._report(10, f"{payout_id} changed outside of any commit")
            self._judge_change(commit.by, before, after)
            if before is not None:
                self._book(before, -1)
            self._book(after, 1)
            self.rows[payout_id] = after
        if sum(self._sum.values()) != len(self.rows) or min(self._sum.values(), default=0) < 0:
            self._report(10, f"the books do not balance: {dict(self._sum)}")

    def _has_just_ended(self, commit: Commit, after: Payout) -> bool:
        before = commit.before[after.payout_id]
        return before is None or before.state is not after.state

    def _book(self, row: Payout, sign: int) -> None:
        self._sum[row.state.value] += sign
        self._minor[row.state.value] += sign * row.amount_minor

    def _judge_event(self, event: Event, commit: Commit, ended: set[str]) -> None:
        known = self._events.get(event.event_id)
        if known is None:
            self._events[event.event_id] = event
        if event.type not in ENDS.values():
            return
        payout_id = event.subject
        after = commit.after.get(payout_id)  # type: ignore[call-overload]
        if payout_id not in ended or after is None or ENDS[after.state.value] != event.type:
            self._report(6, f"a completion event of {payout_id} without its end")
        ended.discard(payout_id)
        earlier = self._completions.setdefault(payout_id, event.event_id)
        if earlier != event.event_id:
            self._report(6, f"{payout_id} has two completion events")
        if known is not None and not self._restored:
            self._report(6, f"the event {event.event_id} was written twice")

    def _judge_change(self, by: str, before: Payout | None, after: Payout) -> None:
        payout_id = after.payout_id
        was = None if before is None else before.state.value
        now = after.state.value
        if before is None:
            self._judge_new(after)
        elif _content(before) != _content(after):
            self._report(2, f"the content of {payout_id} changed")
        if was in ENDS:
            self._report(5, f"{payout_id} changed after its end, by {by}")
        elif was != now and (was, now) not in LAWFUL:
            self._report(5, f"{payout_id} went from {was} to {now}, by {by}")
        if was == now:
            if before is not None and after.not_found_count > before.not_found_count:
                asked_s = seconds_of(after.last_not_found_at)
                self._counted[payout_id].append(Counted(asked_s, self._time()))
            return
        self.seen[f"{was} > {now}"] += 1
        if now == "submitting":
            self._judge_claim(by, before, after)
        elif now in ENDS:
            self._judge_end(by, after)

    def _judge_new(self, row: Payout) -> None:
        payout_id, own_id = row.payout_id, row.originator_conversation_id
        if self._id_of.setdefault(payout_id, own_id) != own_id:
            self._report(2, f"{payout_id} has a second id {own_id}")
        if self._payout_of.setdefault(own_id, payout_id) != payout_id:
            self._report(2, f"{own_id} belongs to two payouts")
        if row.retry_of is None:
            self._alike[row.msisdn, row.amount_minor].append(payout_id)
            self._root_of[payout_id] = payout_id
            if not any(one.is_of(row) for one in self._wanted[payout_id]):
                self._report(10, f"{payout_id} is nothing that anybody wanted")
            return
        first = self.rows.get(row.retry_of)
        self._root_of[payout_id] = self._root(row.retry_of)
        if first is None or first.state.value != "failed":
            self._report(2, f"{payout_id} is a second submission of what has not failed")
        ordered_by = self._retries.get(row.retry_of, set())
        if not ordered_by:
            self._report(2, f"{payout_id} is a second submission that nobody ordered")
        sworn_by = self._sworn.get(row.retry_of, set())
        reason = None if first is None else first.reason
        by_word = reason is not None and reason.code == NOT_PAID
        if by_word and len(sworn_by) == 1 and ordered_by == sworn_by:
            self._report(4, f"{payout_id} was sworn to and ordered by one person")
        if row.retry_of in self._contradicted:
            self._report(4, f"{payout_id} is a second submission of what a Result contradicts")
