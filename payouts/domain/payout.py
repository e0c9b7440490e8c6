"""A payout, the states of its life and the one table of legal transitions.

The reference page `docs/reference/states.md` is generated from this module.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from payouts.domain.values import (
    AccountName,
    ConversationId,
    OriginatorConversationId,
    PayoutId,
    RunId,
    TransactionId,
    WorkerId,
)


class State(StrEnum):
    """Where a payout stands. Each comment names who moves a payout in and out."""

    # In: intake, while the account is paused or the circuit open. Out: the due sweep; expiry.
    RECEIVED = "received"
    # In: intake and the due sweep, before the POST. Out: the answer; the sweep of dead workers.
    SUBMITTING = "submitting"
    # In: an answer that proves that nothing was taken. Out: the due sweep at `next_action_at`.
    WAITING = "waiting"
    # In: an answer that says it was taken. Out: a Result; the overdue sweep; notifyQueueTimeout.
    ACCEPTED = "accepted"
    # In: whatever leaves it open if it was received. Out: a Result; a query; a person.
    IN_DOUBT = "in_doubt"
    # In: a Result or a query that says the money moved. Out: never.
    SUCCEEDED = "succeeded"
    # In: proof that no money moved, expiry unsent, or cancel. Out: never.
    FAILED = "failed"


ENDED: Final = frozenset({State.SUCCEEDED, State.FAILED})
OPEN: Final = frozenset(State) - ENDED

TRANSITIONS: Final[Mapping[tuple[State, State], str]] = MappingProxyType(
    {
        (State.RECEIVED, State.SUBMITTING): "the due sweep claims it",
        (State.RECEIVED, State.SUCCEEDED): "a Result came for it, sent before a restore",
        (State.RECEIVED, State.FAILED): "it expired, or a person cancelled it, unsent",
        (State.RECEIVED, State.IN_DOUBT): "a Result disagrees; or asked after a restore",
        (State.SUBMITTING, State.ACCEPTED): "the Response says that it was taken or queued",
        (State.SUBMITTING, State.WAITING): "it is certain that this send was not taken",
        (State.SUBMITTING, State.IN_DOUBT): "the outcome of the send is unknown",
        (State.SUBMITTING, State.SUCCEEDED): "the Result came before the Response",
        (State.SUBMITTING, State.FAILED): "a conclusive refusal, or a failed Result",
        (State.WAITING, State.SUBMITTING): "the due sweep claims it again",
        (State.WAITING, State.SUCCEEDED): "a Result came after all",
        (State.WAITING, State.FAILED): "a failed Result, expiry or cancel, unsent",
        (State.WAITING, State.IN_DOUBT): "a Result that settles nothing; or asked after a restore",
        (State.ACCEPTED, State.SUCCEEDED): "the Result says that the money moved",
        (State.ACCEPTED, State.FAILED): "the Result says that it did not",
        (State.ACCEPTED, State.IN_DOUBT): "overdue, expired in the queue, or a mismatch",
        (State.IN_DOUBT, State.ACCEPTED): "a query says that it was taken",
        (State.IN_DOUBT, State.SUBMITTING): "the same id is sent again, by policy and proof",
        (State.IN_DOUBT, State.WAITING): "a query says that the send was refused, retriably",
        (State.IN_DOUBT, State.SUCCEEDED): "a Result or a query says that the money moved",
        (State.IN_DOUBT, State.FAILED): "a Result or a query proves that it did not",
    }
)


# Why a payout is held, where a program holds it; operators' holds name the operator.
HELD_RUN: Final = "its run is paused"
HELD_RETURNED: Final = "a Result came for it before its command"
HELD_CONTRADICTED: Final = "a late Result contradicts the end of an earlier submission"
HELD_REPEAT: Final = "same receiver and amount as"  # ... the payout that follows.


def sources_of(target: State) -> frozenset[State]:
    """Return the states from which `target` may be entered."""
    return frozenset(source for source, entered in TRANSITIONS if entered is target)


class ReasonSource(StrEnum):
    """Who said why a payout stands where it stands (contract.md §2)."""

    RESPONSE = "response"
    RESULT = "result"
    QUERY = "query"
    LOCAL = "local"
    OPERATOR = "operator"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Why a payout stands in its state. `klass` is a class of the code table, or a local one."""

    source: ReasonSource
    code: str
    klass: str
    description: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Payout:
    """One payment to one person, with what is known of its way. Times are aware UTC instants."""

    payout_id: PayoutId
    account: AccountName
    amount_minor: int
    currency: str
    msisdn: str
    command_id: str
    originator_conversation_id: OriginatorConversationId
    state: State
    created_at: datetime
    run_id: RunId | None = None
    remark: str | None = None
    occasion: str | None = None
    not_after: datetime | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    attempts: int = 0
    owner: WorkerId | None = None
    claimed_at: datetime | None = None
    next_action_at: datetime | None = None
    queued: bool = False
    conversation_id: ConversationId | None = None
    transaction_id: TransactionId | None = None
    reason: Reason | None = None
    submitted_at: datetime | None = None
    last_sent_at: datetime | None = None
    doubt_since: datetime | None = None
    queries: int = 0
    not_found_count: int = 0
    first_not_found_at: datetime | None = None
    last_not_found_at: datetime | None = None
    completed_at: datetime | None = None
    retry_of: PayoutId | None = None  # Set: a second submission, asked for by a person.
    held: str | None = None  # Set: why nothing is sent for it; asking and Results go on.
    ask_now: bool = False  # A person wants it asked about, whatever the policy says.
    archived_at: datetime | None = None  # Set: it has left the live books; its story is dropped.

    def __repr__(self) -> str:
        """Name the payout without its receiver, so that no log ever carries a number."""
        return f"Payout({self.payout_id!r}, {self.state.value}, attempts={self.attempts})"

    @property
    def ended(self) -> bool:
        """Tell whether nothing can move this payout any more."""
        return self.state in ENDED


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelineEntry:
    """One line of a payout's story: a transition, or a note that changed no state."""

    at: datetime
    actor: str
    kind: str
    from_state: State | None
    to_state: State | None
    attempt: int
    source: str | None = None
    code: str | None = None
    detail: str | None = None
    originator_conversation_id: str | None = None
    conversation_id: str | None = None
    transaction_id: str | None = None
