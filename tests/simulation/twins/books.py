"""The committed state of the twin's database, its indexes, and statements that change it whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from payouts.domain.events import Event, event_of
from payouts.domain.payout import OPEN, Payout, State
from payouts.domain.values import AccountName, PayoutId, RunId
from payouts.ports import AuditEntry, Incident
from tests.simulation.seams import Commit, StoreWatch
from tests.simulation.twins.constraints import check_change, check_insert, refuse
from tests.simulation.twins.rows import AccountRow, EventRow, Line, QueryRow, WorkerRow
from tests.simulation.twins.tables import Tables, identity

_GONE: Final = object()
COMPLETIONS: Final = frozenset({"payout.succeeded", "payout.failed"})


class Books:
    """One database: what is committed, seen by every session at once.

    Statements commit whole, one after the other, as row locks make it look; each is told to
    `watch` before its session hears of it. `without` names guards that are taken out
    (tests/simulation/twins/guards.py). The plain tables may be read by anybody.
    """

    def __init__(self, watch: StoreWatch | None = None) -> None:
        self.without: set[str] = set()
        self._watch = watch
        self.tables = Tables()

    @property
    def payouts(self) -> Mapping[PayoutId, Payout]:
        """Every payout as it stands."""
        return self.tables.payouts

    @property
    def events(self) -> Mapping[str, EventRow]:
        """Every row of the outbox, published or not."""
        return self.tables.events

    @property
    def accounts(self) -> Mapping[AccountName, AccountRow]:
        """Every account that was ever named."""
        return self.tables.accounts

    @property
    def runs_paused(self) -> Mapping[RunId, str]:
        """The runs of which nothing is sent, and why."""
        return self.tables.runs_paused

    @property
    def incidents(self) -> Sequence[Incident]:
        """Every incident, oldest first."""
        return self.tables.incidents

    @property
    def timeline(self) -> Mapping[PayoutId, Sequence[Line]]:
        """Each payout's story."""
        return self.tables.timeline

    def snapshot(self) -> Tables:
        """Return a dump of this instant."""
        return self.tables.copy()

    def restore(self, dump: Tables) -> None:
        """Make everything as it was at a dump: numbers that were given later are given again."""
        self.tables = dump.copy()

    def commit(self, statement: Statement) -> None:
        """Make a statement's rows what everybody sees, and tell of them."""
        if not statement.changes:
            return
        statement.tables = self.tables
        statement.write()
        if self._watch is not None and statement.tells:
            self._watch.committed(statement.told())


class Statement:
    """What one statement changes: staged row by row, refused whole, committed whole."""

    __slots__ = (
        "audit",
        "before",
        "books",
        "by",
        "changes",
        "events",
        "incidents",
        "inserted",
        "lines",
        "payouts",
        "published",
        "rows",
        "said",
        "tables",
        "unpublished",
        "watched",
    )

    def __init__(self, books: Books, by: str) -> None:
        self.books = books
        self.tables = books.tables
        self.by = by
        self.changes = False
        self.payouts: dict[PayoutId, Payout] = {}
        self.before: dict[PayoutId, Payout | None] = {}
        self.lines: list[tuple[PayoutId, Line]] = []
        self.events: dict[str, EventRow] = {}
        self.said: list[Event] = []
        self.incidents: list[Incident] = []
        self.rows: list[tuple[dict[Any, Any], object, object]] = []
        self.audit: list[AuditEntry] = []
        self.published: list[str] = []
        self.unpublished: list[str] = []
        self.inserted: list[PayoutId] = []
        self.watched: list[PayoutId] = []

    @property
    def tells(self) -> bool:
        """Tell whether it changes payouts, events or incidents."""
        return bool(
            self.payouts or self.events or self.published or self.unpublished or self.incidents
        )

    @property
    def without(self) -> set[str]:
        """The guards that are taken out."""
        return self.books.without

    def now(self, payout_id: PayoutId) -> Payout | None:
        """Return a payout as this statement has left it so far."""
        return self.payouts.get(payout_id) or self.tables.payouts.get(payout_id)

    def insert(self, payout: Payout, *, watched: bool = False) -> None:
        """Add a payout.

        Raises:
            StoreRefusedError: a key is taken, or it may not begin like this.
        """
        check_insert(payout, self.without)
        tables = self.tables
        if payout.payout_id in tables.payouts and "intent once" not in self.without:
            refuse("payouts_payout_id_key")
        owner = tables.by_own_id.get(payout.originator_conversation_id)
        if owner not in {None, payout.payout_id}:
            refuse("payouts_originator_conversation_id_key")
        if payout.retry_of is not None:
            self._check_retry(payout, payout.retry_of)
        self._stage(payout, tables.payouts.get(payout.payout_id))
        self.inserted.append(payout.payout_id)
        if watched:
            self.watched.append(payout.payout_id)

    def _check_retry(self, payout: Payout, earlier: PayoutId) -> None:
        if earlier in self.tables.retried and "retry once" not in self.without:
            refuse("payouts_retry_of_key")
        first = self.tables.payouts.get(earlier)
        same = (
            first is not None
            and (first.state is State.FAILED or "retry only failed" in self.without)
            and (first.account, first.amount_minor, first.currency, first.msisdn)
            == (payout.account, payout.amount_minor, payout.currency, payout.msisdn)
            and first.originator_conversation_id != payout.originator_conversation_id
        )
        if not same:
            refuse("payouts_retry_of_failed")

    def update(self, before: Payout, after: Payout) -> None:
        """Change a payout.

        Raises:
            StoreRefusedError: a check or a trigger refuses it.
        """
        check_change(before, after, self.without)
        self._stage(after, before)

    def _stage(self, after: Payout, before: Payout | None) -> None:
        self.changes = True
        self.before.setdefault(after.payout_id, before)
        self.payouts[after.payout_id] = after

    def line(self, payout_id: PayoutId, line: Line) -> None:
        """Add an entry to a payout's timeline."""
        self.changes = True
        self.lines.append((payout_id, line))

    def event(self, row: EventRow, event: Event) -> None:
        """Add an event to the outbox.

        Raises:
            StoreRefusedError: its id is taken, or its payout has a completion event.
        """
        taken = row.event_id in self.tables.events
        if row.type in COMPLETIONS and row.payout_id in self.tables.completions:
            taken = True
        if taken and "unique completion event" not in self.without:
            refuse("events_completion_key")
        self.changes = True
        self.events[row.event_id] = row
        self.said.append(event)

    def completion_event(self, payout: Payout, *, show_msisdn: bool) -> Event:
        """Add the completion event of a payout that ends by this statement."""
        event = event_of(payout, show_msisdn=show_msisdn)
        self.event(EventRow(event.event_id, payout.payout_id, event.type, event.time), event)
        return event

    def incident(self, incident: Incident) -> None:
        """Keep an incident, unless the very same was kept before."""
        key = identity(incident)
        if key not in self.tables.kept:
            self.changes = True
            self.incidents.append(incident)

    def publish_completion_again(self, payout_id: PayoutId) -> None:
        """Have the completion event of an ended payout published once more."""
        event_id = self.tables.completions.get(payout_id)
        if event_id is None:
            return
        row = self.tables.events[event_id]
        self._set(
            self.tables.events, row.event_id, row._replace(published_at=None, hidden_until=None)
        )
        self._set(self.tables.unpublished, row.event_id, None)
        self.unpublished.append(row.event_id)

    def publish(self, row: EventRow) -> None:
        """Take down that an event was published."""
        self._set(self.tables.events, row.event_id, row)
        self._set(self.tables.unpublished, row.event_id, _GONE)
        self.published.append(row.event_id)

    def hide(self, row: EventRow) -> None:
        """Hide an event from other relays for a while."""
        self._set(self.tables.events, row.event_id, row)

    def query(self, row: QueryRow) -> None:
        """Add or change a query."""
        self._set(self.tables.queries, row.query_id, row)

    def worker(self, row: WorkerRow) -> None:
        """Add or change a worker."""
        self._set(self.tables.workers, row.number, row)

    def account(self, row: AccountRow) -> None:
        """Add or change an account."""
        self._set(self.tables.accounts, row.name, row)

    def suspect(self, key: str, begun: tuple[int, datetime] | None) -> None:
        """Count a suspect, or forget it."""
        self._set(self.tables.suspects, key, _GONE if begun is None else begun)

    def run(self, run_id: RunId, reason: str | None) -> None:
        """Pause a run, or resume it."""
        self._set(self.tables.runs_paused, run_id, _GONE if reason is None else reason)

    def note_audit(self, entry: AuditEntry) -> None:
        """Add a line to the audit."""
        self.changes = True
        self.audit.append(entry)

    def _set(self, table: dict[Any, Any], key: object, row: object) -> None:
        self.changes = True
        self.rows.append((table, key, row))

    def apart(self) -> Statement | None:
        """Take the new events out into a statement of their own; None if there are none."""
        if not self.events:
            return None
        other = Statement(self.books, self.by)
        other.events, self.events = self.events, {}
        other.said, self.said = self.said, []
        other.changes = True
        return other

    def told(self) -> Commit:
        """Return what watchers hear of it."""
        return Commit(
            by=self.by,
            before=self.before,
            after=self.payouts,
            events=self.said,
            unpublished=self.unpublished,
            published=self.published,
            incidents=self.incidents,
        )

    def write(self) -> None:
        """Put every staged row into its table and the indexes."""
        tables = self.tables
        if self.payouts:
            self._write_payouts(tables)
        for payout_id, line in self.lines:
            tables.timeline.setdefault(payout_id, []).append(line)
        for event_id, row in self.events.items():
            tables.events[event_id] = row
            tables.unpublished[event_id] = None
            if row.type in COMPLETIONS:
                tables.completions[row.payout_id] = event_id
        for table, key, value in self.rows:
            if value is _GONE:
                table.pop(key, None)
            else:
                table[key] = value
        for incident in self.incidents:
            _write_incident(tables, incident)
        if self.audit:
            tables.audit.extend(self.audit)

    def _write_payouts(self, tables: Tables) -> None:
        for payout_id in self.inserted:
            payout = self.payouts[payout_id]
            tables.numbers.setdefault(payout_id, len(tables.numbers) + 1)
            tables.by_own_id[payout.originator_conversation_id] = payout_id
            if payout.retry_of is not None:
                tables.retried[payout.retry_of] = payout_id
        for payout_id in self.watched:
            payout = self.payouts[payout_id]
            tables.watched.setdefault((payout.msisdn, payout.amount_minor), []).append(payout_id)
        for payout_id, after in self.payouts.items():
            before = tables.payouts.get(payout_id)
            tables.payouts[payout_id] = after
            if before is None or before.state is not after.state:
                if before is not None:
                    tables.came_from[payout_id] = before.state
                    tables.by_state.get(before.state, {}).pop(payout_id, None)
                if after.state in OPEN:
                    tables.by_state[after.state][payout_id] = None
            last = None if before is None else before.conversation_id
            if after.conversation_id != last:
                tables.by_conversation.get(last or "", {}).pop(payout_id, None)
                tables.by_conversation.setdefault(after.conversation_id or "", {})[payout_id] = None


def _write_incident(tables: Tables, incident: Incident) -> None:
    tables.kept[identity(incident)] = None
    tables.incidents.append(incident)
    own_id = incident.originator_conversation_id
    if incident.kind.value == "unmatched" and own_id is not None:
        tables.unmatched.setdefault(own_id, []).append(incident)
