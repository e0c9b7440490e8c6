"""Takes the Results of TransactionStatusQueries: what they say of the payment asked about."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from payouts.domain.answers import Result
from payouts.domain.code_types import Side
from payouts.domain.decisions import End, Found, Policies, decide_status
from payouts.domain.payout import Payout, Reason, ReasonSource, State
from payouts.domain.signals import Signal
from payouts.domain.values import OriginatorConversationId, asked_about
from payouts.ports import (
    Clock,
    Completion,
    IncidentKind,
    PayoutStore,
    Query,
    Telemetry,
)
from payouts.services.endings import Endings
from payouts.services.incidents import Incidents
from payouts.services.pauses import Pauses


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryAnswers:
    """Settles the payout that a question was about, if the answer proves an end.

    Raises (every method):
        StoreUnavailableError: nothing is certain to have been written.
    """

    store: PayoutStore
    clock: Clock
    telemetry: Telemetry
    policies: Policies
    actor: str
    incidents: Incidents
    pauses: Pauses
    endings: Endings

    async def take(self, query: Query, result: Result) -> None:
        """Apply the answer to a TransactionStatusQuery."""
        payout = await self.store.find(query.payout_id)
        if payout is None:
            await self.incidents.record(IncidentKind.UNMATCHED, result, None, "its payout is gone")
            return
        found, end = decide_status(result)
        self.telemetry.emit(
            Signal.PAYOUT_QUERIED,
            payout_id=payout.payout_id,
            account=payout.account,
            by="core",
            found=found.value,
        )
        subject = result.subject_originator_conversation_id
        if subject is not None and subject != payout.originator_conversation_id:
            detail = "the query's answer is about another payment"
            await self.incidents.record(IncidentKind.MISMATCH, result, payout, detail)
        elif found is Found.NOT_FOUND:
            await self.not_found(payout, asked_at=query.asked_at, query=query)
        elif end is not None:
            await self._end(payout, result, end)
        else:
            await self._note(payout, result, found)
        await self.pauses.heed(payout.account, Side.QUERY, result.code)

    async def take_lost(self, result: Result) -> bool:
        """Apply the answer to a question that a restored database has forgotten; tell if it was.

        The question's id names its payout. What it has not found is left alone: a *not found*
        counts only for a question that is in the books.
        """
        asked = asked_about(result.originator_conversation_id or "")
        if asked is None or decide_status(result)[0] is Found.NOT_FOUND:
            return False
        prefix, payout_id, asked_at = asked
        payout = await self.store.find(payout_id)
        own = (f"{prefix}_", f"{prefix}-r")  # Of a first and of a later submission.
        if payout is None or not payout.originator_conversation_id.startswith(own):
            return False
        query_id = OriginatorConversationId(result.originator_conversation_id or "")
        await self.take(Query(query_id=query_id, payout_id=payout_id, asked_at=asked_at), result)
        return True

    async def not_found(self, payout: Payout, *, asked_at: datetime, query: Query | None) -> None:
        """Count a *not found*; two that count let the same id be sent again."""
        await self.store.record_not_found(
            payout.payout_id,
            asked_at=asked_at,
            grace_s=self.policies.not_found_grace_s,
            interval_s=self.policies.query_interval_s,
            next_action_at=self.clock.now() + timedelta(seconds=self.policies.query_interval_s),
            actor=self.actor,
            query_id=query.query_id if query else None,
        )

    async def _note(self, payout: Payout, result: Result, found: Found) -> None:
        reason = Reason(
            source=ReasonSource.QUERY,
            code=result.code,
            klass=found.value,
            description="The question did not settle the payout.",
        )
        await self.endings.note(payout, reason, result, kind="query")
        if found is Found.UNDER_WAY:
            await self.endings.see(payout)

    async def _end(self, payout: Payout, result: Result, end: End) -> None:
        outcome = await self.store.complete(
            Completion(
                to=end.to,
                at=self.clock.now(),
                actor=self.actor,
                reason=end.reason,
                originator_conversation_id=payout.originator_conversation_id,
                conversation_id=None,
                transaction_id=result.transaction_id if end.to is State.SUCCEEDED else None,
                amount_minor=-1 if result.amount_unreadable else result.amount_minor,
                receiver=result.receiver,
                detail="by TransactionStatusQuery",
            )
        )
        if outcome.applied:
            await self.endings.tell(result, end, outcome, side=Side.QUERY)
        elif outcome.payout is not None:
            await self.endings.take(result, end, outcome.payout)
