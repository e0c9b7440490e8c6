"""Judges a simulated world by the ten invariants of design.md, step by step, and knows the truth.

It hears every commit, every request that leaves or arrives, every payment, every acknowledgement
and every publication, keeps books of its own, and asks none of the product's rules.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Final, NamedTuple

from payouts.domain.events import Event
from payouts.domain.payout import Payout
from payouts.ports import IncidentKind
from tests.simulation.clocks import BEGINNING
from tests.simulation.laws import CONTENT, ENDS, LAWFUL, SAID_BY_GATEWAY
from tests.simulation.scenario import Scenario
from tests.simulation.seams import Commit
from tests.simulation.truth import Payment, Truth
from tests.simulation.twins.store import Books
from tests.simulation.upstream import Wanted

SLACK_S: Final = 0.05
VAGUE: Final = "17"  # A Result with this code says nothing.
_QUERY_ID: Final = re.compile(r"[^_]+_[A-Za-z0-9]+-q[0-9]+_(.+)")


def _seconds(at: datetime | None) -> float:
    return 0.0 if at is None else (at - BEGINNING).total_seconds()


class Violation(NamedTuple):
    """An invariant that did not hold: which, when, and what was seen."""

    invariant: int
    at_s: float
    text: str

    def __str__(self) -> str:
        return f"invariant {self.invariant} at {self.at_s:.3f} s: {self.text}"


class Auditor:
    """Hears everything; `violations` is empty as long as all invariants hold.

    Args:
        scenario: what was planned, for the patience and the policy.
        time: the true seconds.
        found: called at each violation.
    """

    def __init__(
        self, scenario: Scenario, time: Callable[[], float], found: Callable[[], None]
    ) -> None:
        self.violations: list[Violation] = []
        self.truth = Truth()
        self.wanted: dict[str, list[Wanted]] = defaultdict(list)
        self.by_message: dict[str, Wanted] = {}
        self._queue_of: dict[str, str] = {}
        self.seen: Counter[str] = Counter()
        self.rows: dict[str, Payout] = {}
        self.books: Books | None = None
        self.is_alive: Callable[[str], bool] = lambda _: False
        self._scenario = scenario
        self._settings = scenario.settings
        self._time = time
        self._found = found
        gateway = scenario.gateway  # What it caches, the core does not know.
        self._doubtful = scenario.resends or gateway.not_found_wrongly > 0 or gateway.queued > 0
        self._restored = False
        self._id_of: dict[str, str] = {}
        self._payout_of: dict[str, str] = {}
        self._root_of: dict[str, str] = {}
        self._events: dict[str, Event] = {}
        self._completions: dict[str, str] = {}
        self._published: set[str] = set()
        self._dead: Counter[tuple[bytes, str | None]] = Counter()
        self._counted: defaultdict[str, list[float]] = defaultdict(list)
        self._retries_ordered: set[str] = set()
        self._spoiled: set[str] = set()
        self._contradicted: set[str] = set()
        self._unmatched: set[str] = set()
        self._sum: Counter[str] = Counter()
        self._minor: Counter[str] = Counter()

    # What people do, as the world tells it.

    def published(self, account: str, wanted: Wanted) -> None:
        """Hear that upstream wants something, or sends rubbish."""
        self.by_message[wanted.message_id] = wanted
        self._queue_of[wanted.message_id] = account
        if wanted.valid:
            self.wanted[wanted.payout_id].append(wanted)

    def retry_ordered(self, payout_id: str) -> None:
        """Hear that a person has asked for a second submission."""
        self._retries_ordered.add(self._root(payout_id))

    def messages(self) -> Iterator[tuple[str, Wanted]]:
        """Return all that was published so far, with its account."""
        for message_id, wanted in self.by_message.items():
            yield self._queue_of[message_id], wanted

    def deceived(self, payout_id: str) -> None:
        """Hear that somebody is about to swear to what is not true: ends prove nothing here."""
        self._spoiled.add(self._root(payout_id))

    def restored(self) -> None:
        """Hear that the database is that of an earlier time: go on from what it holds."""
        self._restored = True
        books = self._own_books()
        self.rows = dict(books.payouts)
        self._sum.clear()
        self._minor.clear()
        for row in self.rows.values():
            self._book(row, 1)
        self._completions = {
            event.payout_id: event.event_id
            for event in books.events.values()
            if event.type in ENDS.values()
        }
        self._contradicted = {
            str(one.payout_id) for one in books.incidents if one.kind is IncidentKind.CONTRADICTION
        }
        self._unmatched = {
            str(one.originator_conversation_id)
            for one in books.incidents
            if one.kind is IncidentKind.UNMATCHED
        }

    # What the database commits.

    def committed(self, commit: Commit) -> None:
        """Judge one commit (invariants 2, 3, 4, 5, 6 and 10)."""
        self.seen[commit.by] += 1
        for incident in commit.incidents:
            self.seen[f"incident {incident.kind.value}"] += 1
            if incident.kind is IncidentKind.CONTRADICTION:
                self._contradicted.add(str(incident.payout_id))
            elif incident.kind is IncidentKind.UNMATCHED:
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
        elif any(getattr(before, name) != getattr(after, name) for name in CONTENT):
            self._report(2, f"the content of {payout_id} changed")
        if was in ENDS:
            self._report(5, f"{payout_id} changed after its end, by {by}")
        elif was != now and (was, now) not in LAWFUL:
            self._report(5, f"{payout_id} went from {was} to {now}, by {by}")
        if was == now:
            if before is not None and after.not_found_count > before.not_found_count:
                self._counted[payout_id].append(_seconds(after.last_not_found_at))
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
            self._root_of[payout_id] = payout_id
            if not any(one.is_of(row) for one in self.wanted[payout_id]):
                self._report(10, f"{payout_id} is nothing that anybody wanted")
            return
        first = self.rows.get(row.retry_of)
        root = self._root_of[payout_id] = self._root(row.retry_of)
        if first is None or first.state.value != "failed":
            self._report(2, f"{payout_id} is a second submission of what has not failed")
        if root not in self._retries_ordered:
            self._report(2, f"{payout_id} is a second submission that nobody ordered")
        if row.retry_of in self._contradicted:
            self._report(4, f"{payout_id} is a second submission of what a Result contradicts")

    def _judge_claim(self, by: str, before: Payout | None, after: Payout) -> None:
        """Judge an intent to send, of whatever kind (invariants 1 and 4)."""
        payout_id = after.payout_id
        attempts = 0 if before is None else before.attempts
        if after.attempts != attempts + 1:
            self._report(1, f"{payout_id} is sent without a new attempt")
        if after.held is not None or (before is not None and before.held is not None):
            self._report(4, f"{payout_id} is sent while it is held")
        books = self._own_books()
        account = books.accounts.get(after.account)
        if (account is not None and account.paused) or after.run_id in books.runs_paused:
            self._report(4, f"{payout_id} is sent while its account or its run is paused, by {by}")
        if after.originator_conversation_id in self._unmatched:
            self._report(4, f"{payout_id} is sent although a Result for its id has come")
        if after.retry_of is not None and after.retry_of in self._contradicted:
            self._report(4, f"{payout_id} is sent although its first is contradicted")
        if before is not None and before.state.value == "in_doubt":
            self._judge_resend(before)

    def _judge_resend(self, before: Payout) -> None:
        """Ask for the proof, counted by our own clock: what is in doubt is not guessed."""
        payout_id, own_id = before.payout_id, before.originator_conversation_id
        slack_s = SLACK_S + 2 * max(map(abs, self._scenario.skews_s))
        sent_s = self.truth.last_sent_s.get(own_id, 0.0)
        since_s = sent_s + float(str(self._settings["not_found_grace_s"])) - slack_s
        apart_s = float(str(self._settings["query_interval_s"])) - slack_s
        counted = [at for at in self._counted[payout_id] if at >= since_s]
        proved = (
            len(counted) > 1
            and self.truth.not_found[own_id] > 1
            and counted[-1] - counted[0] >= apart_s
            and not before.queued
        )
        if proved:
            return
        if not self._scenario.resends:
            self._report(4, f"{payout_id} is sent again without proof")
        elif before.reason is not None and before.reason.klass == "duplicate":
            self._report(4, f"{payout_id} is sent again although the gateway knows its id")

    def _judge_end(self, by: str, after: Payout) -> None:
        payout_id, own_id = after.payout_id, after.originator_conversation_id
        source = None if after.reason is None else after.reason.source.value
        if self._root(payout_id) in self._spoiled:
            return
        if after.state.value == "succeeded":
            if not self.truth.paid(own_id):
                self._report(3, f"{payout_id} succeeded, but nothing was paid, by {by}")
            return
        if self.truth.paid(own_id):
            self._report(3, f"{payout_id} failed, but it was paid, by {by}")
        code = None if after.reason is None else after.reason.code
        if source is None or (source == "local" and code != "expired"):
            self._report(3, f"{payout_id} failed without proof, by {by}: {code}")
        if source == "local" and self.truth.sends[own_id] and not self._restored:
            self._report(3, f"{payout_id} expired, but it was sent")

    # What leaves, arrives and is paid.

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
        """Hear that the gateway told somebody that it does not know what an id is about."""
        asked = _QUERY_ID.fullmatch(said_id)
        own_id = said_id if asked is None else self._id_of.get(asked[1], said_id)
        self.truth.not_found[own_id] += 1

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

    # What RabbitMQ takes.

    def acknowledged(self, body: bytes, message_id: str | None) -> None:
        """Judge an acknowledgement of a command (invariants 7 and 8)."""
        self.seen["acknowledged"] += 1
        wanted = self.by_message.get(message_id or "")
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
        wanted = self.by_message.get(message_id or "")
        if wanted is None or not wanted.valid:
            return
        row = self.rows.get(wanted.payout_id)
        if row is None or wanted.is_of(row):
            self._report(8, f"{wanted.payout_id} was put aside as {reason}, but is valid")

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

    def result_acknowledged(self, own_id: str, code: str) -> None:
        """Judge an acknowledgement of a Result (invariant 7)."""
        self.seen["result acknowledged"] += 1
        payout_id = self._payout_of.get(own_id)
        row = None if payout_id is None else self.rows.get(payout_id)
        told = self.truth.paid(own_id) if code == "0" else own_id in self.truth.declined
        if code == VAGUE or not told or (row is not None and row.state.value in ENDS):
            return
        kept = any(
            one.originator_conversation_id == own_id or one.payout_id == payout_id
            for one in self._own_books().incidents
        )
        if not kept:
            self._report(7, f"a Result for {own_id} was acknowledged, but is not durable: {code}")

    # The end.

    def judge_all(self) -> None:
        """Judge what is left when everything has come to rest."""
        books = self._own_books()
        if dict(books.payouts) != self.rows:
            self._report(10, "the books are not what their commits make of them")
        for payout_id in sorted(self.rows):
            row = self.rows[payout_id]
            state = row.state.value
            if state in ENDS:
                event_id = self._completions.get(payout_id)
                if event_id is None or event_id not in self._published:
                    self._report(6, f"the event of {payout_id} was never published")
            elif state == "in_doubt":
                if row.reason is None:
                    self._report(3, f"{payout_id} is in doubt without a reason")
            elif row.held is None:
                self._report(10, f"{payout_id} came to rest as {state}")
        for message_id, wanted in self.by_message.items():
            if wanted.valid and wanted.payout_id not in self.rows:
                self._report(10, f"{wanted.payout_id} was lost (message {message_id})")
            elif not wanted.valid and not self._dead[wanted.body, message_id]:
                self._report(8, f"the rubbish of message {message_id} was lost")

    def _root(self, payout_id: str) -> str:
        return self._root_of.get(payout_id, payout_id)

    def _own_books(self) -> Books:
        if self.books is None:
            raise RuntimeError("The auditor has no books to look into.")
        return self.books

    def _report(self, invariant: int, text: str) -> None:
        self.violations.append(Violation(invariant, self._time(), text))
        self._found()
