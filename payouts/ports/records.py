"""What goes into the books and what comes out of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from payouts.domain.events import Event
from payouts.domain.payout import Payout, Reason, State
from payouts.domain.values import (
    AccountName,
    ConversationId,
    OriginatorConversationId,
    PayoutId,
    TransactionId,
)


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
    STUCK = "stuck"  # Open for too long: nothing that runs by itself will settle it.


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
    """How an account stands. `refusals` counts configuration refusals in a row.

    `pace` is what throttling has lowered it to, in requests per second, as of the last request;
    None: it was not lowered, or has risen again.
    """

    name: AccountName
    paused: bool = False
    paused_reason: str | None = None
    refusals: int = 0
    pace: float | None = None
    lowered_at: datetime | None = None
    utility_balance_minor: int | None = None
    balance_at: datetime | None = None
    cut_off_workers: int = 0  # How many living workers have their circuit open.


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposure:
    """What an account may still lose: its last known balance, and what is sent but not ended."""

    name: AccountName
    utility_balance_minor: int | None
    at_risk_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Returned:
    """A payout that came back after a restore, with a Result that had come while it was gone."""

    payout: Payout
    incident: Incident
