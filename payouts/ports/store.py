"""The books and the outbox, as the services need them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
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
    Exposure,
    Heartbeat,
    Incident,
    Intent,
    IntentOutcome,
    Move,
    Moved,
    Query,
    Returned,
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

        An intent to send is written down as `received` instead, in the same statement, while
        its account or its run is paused, and held (`payout.held` says why) if a Result has come
        for its id already (a restore) or if it looks like a repeat of another payout; the
        outcome's payout tells. A payout that has ended gets its event unpublished again.
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
        """Move due `received` and `waiting` payouts to `submitting`.

        Sets owner, claimed_at, attempts + 1. Left alone is what is held, what expired unsent,
        and what belongs to a paused account or a paused run.
        """
        ...

    async def expire_unsent(self, *, now: datetime, limit: int, actor: str) -> Sequence[Event]:
        """End what expired unsent, of all accounts, paused or not; return the events.

        Expired unsent: `received` or `waiting`, `not_after <= now`, `submitted_at` null.
        """
        ...

    async def find_returned(self, *, since: datetime, limit: int) -> Sequence[Returned]:
        """Return open payouts for which a Result came while nobody knew them (a restore).

        One whose Result came while its insert was under way is not held for it: it is found if
        that was since `since`, until a Result has been applied.
        """
        ...

    async def record_stuck(self, *, before: datetime, limit: int) -> Sequence[Payout]:
        """Keep one incident for each payout that stands still since `before`, and return those.

        Standing still: created before, and held, `waiting`, or `in_doubt` with nothing planned;
        or of an account that no living worker serves. Each payout is told once.
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

    async def keep_doubts(
        self, payout_ids: Sequence[PayoutId], *, until: datetime
    ) -> Collection[PayoutId]:
        """Renew claims on doubts until `until`; return those that are still in doubt."""
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

    async def record_sighting(self, payout_id: PayoutId, *, seen_at: datetime, actor: str) -> None:
        """Forget counted *not found*: the gateway has shown that it knows the payout in doubt."""
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
        Never while it is held, or its account or run is paused.
        """
        ...

    # Workers and accounts.
    async def enlist(self, name: str, *, accounts: Sequence[AccountName] = ()) -> WorkerId:
        """Return a number that no other worker has had; `accounts` are those that it serves."""
        ...

    async def beat(self, owner: WorkerId, *, cut_off: Sequence[AccountName] = ()) -> Heartbeat:
        """Tell that the worker lives, and of which accounts its circuit is open."""
        ...

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

    async def exposures(self, names: Sequence[AccountName]) -> Sequence[Exposure]:
        """Return for each account what its balance was last, and the sum that is on its way."""
        ...

    # Suspects: commands that came back so often that one of them may be poison.
    async def begin_suspect(self, key: str, *, at: datetime) -> int:
        """Write down that this command is tried alone, and how often it had been begun before."""
        ...

    async def clear_suspect(self, key: str) -> None:
        """Forget a suspect: it was handled to the end."""
        ...


class Outbox(Protocol):
    """Events that are durable but perhaps not published yet."""

    async def claim_unpublished(
        self, *, older_than: datetime, until: datetime, limit: int
    ) -> Sequence[Event]:
        """Take events written before `older_than`, hidden from other relays until `until`."""
        ...

    async def mark_published(self, event_id: str) -> None: ...
