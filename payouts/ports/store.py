"""The books and the outbox, as the services need them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

from payouts.domain.events import Event
from payouts.domain.payout import Payout
from payouts.domain.values import (
    AccountName,
    ConversationId,
    OriginatorConversationId,
    PayoutId,
    WorkerId,
)
from payouts.ports.records import (
    AccountStatus,
    Completion,
    CompletionOutcome,
    Heartbeat,
    Incident,
    Intent,
    IntentOutcome,
    Move,
    Moved,
    Query,
)


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
