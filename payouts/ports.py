"""What the services need from the outside world, named by verbs of the domain.

Adapters (`storage`, `mpesa`, `messaging`, `telemetry`) fulfil these; so do the twins of tests.
Every method may be called concurrently; adapters gather calls into batches (design.md §4).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from payouts.domain.answers import Answer, BrokerAnswer
from payouts.domain.events import Event
from payouts.domain.payout import Payout, Reason, State
from payouts.domain.signals import Signal
from payouts.domain.values import (
    AccountName,
    ConversationId,
    OriginatorConversationId,
    PayoutId,
    TransactionId,
    WorkerId,
)


class Clock(Protocol):
    """Time, handed in. `now` is an aware UTC instant; `monotonic` counts seconds."""

    def now(self) -> datetime: ...

    def monotonic(self) -> float: ...

    async def sleep(self, seconds: float) -> None: ...


class Telemetry(Protocol):
    """Tells subscribers what happened; never raises, never blocks, carries no personal data."""

    def emit(self, signal: Signal, /, **fields: object) -> None: ...


class Gateway(Protocol):
    """The M-PESA gateway. No method raises for what the other side does; answers tell it."""

    async def submit(self, payout: Payout, *, may_send: Callable[[], bool]) -> Answer: ...

    async def ask_core(
        self, payout: Payout, query_id: OriginatorConversationId, *, may_send: Callable[[], bool]
    ) -> Answer: ...

    async def ask_broker(self, payout: Payout) -> BrokerAnswer: ...

    def can_ask_broker(self, account: AccountName) -> bool: ...

    async def probe(self, account: AccountName) -> bool: ...


class EventPublisher(Protocol):
    """Publishes events to downstream.

    Raises:
        UnroutableError: no queue takes it.
        BrokerUnavailableError: it is not certain that it was taken; publish it again.
    """

    async def publish(self, event: Event) -> None: ...


class Recorded(StrEnum):
    """What became of an intent in the database."""

    NEW = "new"  # The payout is durable now, in the state that the intent names.
    SAME = "same"  # The payout exists with the same content; nothing was changed.
    CONFLICT = "conflict"  # The payout exists with other content; nothing was changed.


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """A new payout to be made durable.

    `payout.state` is `submitting` (owner, attempt 1 and claimed_at set: the intent to send),
    `received` (next_action_at set), or `failed` (expired unsent: its event is written too).
    """

    payout: Payout
    actor: str


@dataclass(frozen=True, slots=True, kw_only=True)
class IntentOutcome:
    """`payout` is the row as it stands; `event` the completion event to publish (again), if any."""

    recorded: Recorded
    payout: Payout
    differences: tuple[str, ...] = ()
    event: Event | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """A transition, carried out by compare-and-set: only from `sources`, only for `attempt`.

    Args:
        payout_id: which payout.
        to: the state to enter; `sources` must be legal for it by TRANSITIONS.
        sources: the states it may be in now.
        at: the instant of the transition.
        actor: who moves it, such as `worker 17` or `operator jane`.
        kind: the timeline's word for it, such as `answer`, `result`, `overdue`.
        attempt: if given, only while the payout's `attempts` equals it (a fence).
        reason: why it stands in the new state; None keeps the old one.
        next_action_at: when a sweep acts next; None: no sweep acts.
        sent_at: when bytes may have left first; sets `submitted_at` if unset, and
            `last_sent_at` to `at` (an upper bound of the last send).
        conversation_id, transaction_id: attached if not None.
        queued: the broker keeps it (100000000); None leaves the mark as it is.
        detail: further words for the timeline; no personal data.
    """

    payout_id: PayoutId
    to: State
    sources: frozenset[State]
    at: datetime
    actor: str
    kind: str
    attempt: int | None = None
    reason: Reason | None = None
    next_action_at: datetime | None = None
    sent_at: datetime | None = None
    conversation_id: ConversationId | None = None
    transaction_id: TransactionId | None = None
    queued: bool | None = None
    detail: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """`payout` after the transition and, if it ended, its event; `payout` None: it lost."""

    payout: Payout | None
    event: Event | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """A Result that ends a payout if it agrees with it: matched by id, then compared.

    Matched by `originator_conversation_id`, else by `conversation_id`. Applied only if the
    payout is not ended and `amount_minor` and `receiver`, where given, equal the payout's.
    """

    to: State
    at: datetime
    actor: str
    reason: Reason
    originator_conversation_id: OriginatorConversationId | None
    conversation_id: ConversationId | None
    transaction_id: TransactionId | None = None
    amount_minor: int | None = None
    receiver: str | None = None
    detail: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CompletionOutcome:
    """`payout` as it stands now (None: no payout has this id); `event` to publish if applied."""

    applied: bool
    payout: Payout | None
    event: Event | None = None


class IncidentKind(StrEnum):
    """What an operator has to look at."""

    CONTRADICTION = "contradiction"  # A Result contradicts an ended payout.
    MISMATCH = "mismatch"  # A Result's amount or receiver is not the payout's.
    UNMATCHED = "unmatched"  # A Result for an id that nobody knows.
    STUCK = "stuck"  # In doubt for longer than the gateway can be asked.


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """Something that must not be lost and needs a person. `evidence` may hold personal data."""

    kind: IncidentKind
    at: datetime
    payout_id: PayoutId | None = None
    originator_conversation_id: str | None = None
    conversation_id: str | None = None
    transaction_id: str | None = None
    code: str | None = None
    detail: str = ""
    evidence: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """A TransactionStatusQuery under its own id, about a payout."""

    query_id: OriginatorConversationId
    payout_id: PayoutId
    asked_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """`alive` False: this worker was declared dead; it must stop sending and enlist anew."""

    alive: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountStatus:
    """How an account stands. `refusals` counts configuration refusals in a row."""

    name: AccountName
    paused: bool = False
    paused_reason: str | None = None
    refusals: int = 0
    pace: float | None = None
    utility_balance_minor: int | None = None


class PayoutStore(Protocol):
    """The books. Every write is one durable commit when the method returns.

    Raises (every method):
        StoreUnavailableError: the database is away or the outcome of the commit is not known;
            every write may be called again with the same arguments and has no second effect.
    """

    # Intake.
    async def record_intent(self, intent: Intent) -> IntentOutcome:
        """Insert the payout, or tell how it compares to the one that exists.

        Called again after StoreUnavailableError with the same intent it answers NEW if the row
        is still exactly this intent's (same owner, claimed_at, attempt and state).
        """
        ...

    async def record_rejection(self, event: Event) -> bool:
        """Write a `payout.rejected` event unless a payout with its subject exists."""
        ...

    # Transitions.
    async def move(self, move: Move) -> Moved: ...

    async def complete(self, completion: Completion) -> CompletionOutcome: ...

    async def note(self, move: Move) -> None:
        """Write a timeline entry (kind, reason, ids, detail); `to` and `sources` are ignored.

        A conversation id is attached to the payout if it has none; `queued` is set if given.
        """
        ...

    async def record_incident(self, incident: Incident) -> None: ...

    # Finding.
    async def find(self, payout_id: PayoutId) -> Payout | None: ...

    async def find_by_conversation(
        self,
        originator_conversation_id: OriginatorConversationId | None,
        conversation_id: ConversationId | None,
    ) -> Payout | None: ...

    async def find_query(
        self,
        originator_conversation_id: OriginatorConversationId | None,
        conversation_id: ConversationId | None,
    ) -> Query | None: ...

    # Sweeps. Safe in any number of processes (rows are claimed, locked ones skipped).
    async def claim_due(
        self, owner: WorkerId, accounts: Sequence[AccountName], *, now: datetime, limit: int
    ) -> Sequence[Payout]:
        """Move due `received` and `waiting` payouts of unpaused accounts to `submitting`.

        Sets owner, claimed_at, attempts + 1. Expired unsent ones (`not_after <= now`,
        `submitted_at` null) end as failed, class `expired`, with their event, in the same
        statement; they are not returned.
        """
        ...

    async def mark_overdue(self, *, now: datetime, limit: int, actor: str) -> Sequence[PayoutId]:
        """Move `accepted` payouts whose `next_action_at` has passed to `in_doubt`, due now."""
        ...

    async def mark_abandoned(
        self, *, lease_s: float, now: datetime, limit: int, actor: str
    ) -> Sequence[PayoutId]:
        """Declare silent workers dead (database clock) and move what they had to `in_doubt`.

        `last_sent_at` becomes `now`; the first query is due now.
        """
        ...

    async def mark_orphaned(
        self, owner: WorkerId, in_flight: Sequence[PayoutId], *, before: datetime, now: datetime
    ) -> Sequence[PayoutId]:
        """Move `submitting` payouts of a living owner, claimed before and not in flight."""
        ...

    async def claim_doubts(
        self,
        accounts: Sequence[AccountName],
        *,
        now: datetime,
        until: datetime,
        limit: int,
    ) -> Sequence[Payout]:
        """Take `in_doubt` payouts that are due, pushing `next_action_at` to `until`."""
        ...

    async def record_query(self, query: Query, *, next_action_at: datetime, actor: str) -> None:
        """Write down, before it is sent, that a query goes out; counts `queries` up."""
        ...

    async def attach_conversation(
        self, query_id: OriginatorConversationId, conversation_id: ConversationId
    ) -> None:
        """Keep the gateway's id of a query, so that a Result that names only it is matched."""
        ...

    async def record_not_found(
        self,
        payout_id: PayoutId,
        *,
        asked_at: datetime,
        grace_s: float,
        interval_s: float,
        next_action_at: datetime,
        actor: str,
        query_id: OriginatorConversationId | None,
    ) -> Payout | None:
        """Count a *not found*, if it counts (design.md §3), and tell how the payout stands.

        It counts only if asked at least `grace_s` after `last_sent_at`, at least `interval_s`
        after the last one that counted, and while the payout is in doubt and not queued.
        """
        ...

    async def postpone(self, payout_id: PayoutId, *, next_action_at: datetime | None) -> None:
        """Set when an in-doubt payout is looked at again; None leaves it to a person."""
        ...

    async def resend(
        self,
        payout_id: PayoutId,
        owner: WorkerId,
        *,
        now: datetime,
        grace_s: float,
        interval_s: float,
        by_policy: bool,
        actor: str,
    ) -> Payout | None:
        """Move an in-doubt payout to `submitting` under the same id, if the proof allows it.

        The guard is in the statement: two counted *not found*, each `grace_s` after the last
        send and `interval_s` apart, and not queued; or `by_policy` (PAYOUTS_AMBIGUOUS=resend).
        """
        ...

    # Workers and accounts.
    async def enlist(self, name: str) -> WorkerId: ...

    async def beat(self, owner: WorkerId) -> Heartbeat: ...

    async def retire(self, owner: WorkerId) -> None: ...

    async def account_statuses(
        self, names: Sequence[AccountName]
    ) -> Mapping[AccountName, AccountStatus]:
        """Return each account's status; accounts not seen before are added, unpaused."""
        ...

    async def count_refusal(
        self, name: AccountName, *, limit: int, reason: str, at: datetime
    ) -> AccountStatus:
        """Count a configuration refusal; the `limit`-th in a row pauses the account."""
        ...

    async def clear_refusals(self, name: AccountName) -> None: ...

    async def set_paused(
        self, name: AccountName, *, paused: bool, reason: str, at: datetime
    ) -> AccountStatus: ...

    async def record_balance(self, name: AccountName, *, minor: int, at: datetime) -> None: ...


class Outbox(Protocol):
    """Events that are durable but perhaps not published yet."""

    async def claim_unpublished(
        self, *, older_than: datetime, until: datetime, limit: int
    ) -> Sequence[Event]:
        """Take events written before `older_than`, hidden from other relays until `until`."""
        ...

    async def mark_published(self, event_id: str) -> None: ...


class Pace(Protocol):
    """Keeps requests to one account within its rate, over all workers together."""

    async def turn(self, account: AccountName) -> None:
        """Return when the next request of this account may be sent."""
        ...

    def slow_down(self, account: AccountName) -> None:
        """Tell that the gateway throttled or was overloaded."""
        ...
