"""Takes what M-PESA says later: Results, queue time-outs, and answers to questions."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import assert_never

from payouts.domain.answers import QueueTimeout, Result
from payouts.domain.code_types import CodeClass
from payouts.domain.decisions import (
    End,
    Found,
    Note,
    Policies,
    Unclear,
    Verdict,
    decide_result,
    decide_status,
    first_query_at,
)
from payouts.domain.payout import OPEN, TRANSITIONS, Payout, Reason, ReasonSource, State
from payouts.domain.signals import Signal
from payouts.domain.values import AccountName, is_query_id
from payouts.ports import (
    Clock,
    Completion,
    CompletionOutcome,
    Incident,
    IncidentKind,
    Move,
    PayoutStore,
    Query,
    Telemetry,
)
from payouts.services.relay import Relay

DISAGREES = "mismatch"


@dataclass(frozen=True, slots=True, kw_only=True)
class Completions:
    """Ends payouts by proof, once; keeps as incidents what contradicts (design.md §2, 3 and 5).

    Every method returns when its effect is durable, so that the caller may acknowledge.

    Raises (every method):
        StoreUnavailableError: nothing is certain to have been written; the caller must not
            acknowledge. Doing it again has no second effect.
    """

    store: PayoutStore
    relay: Relay
    clock: Clock
    telemetry: Telemetry
    policies: Policies
    actor: str
    balances: dict[AccountName, int]
    refusals: dict[AccountName, int]

    async def write_balances(self) -> int:
        """Write down the last utility balance heard of each account; return how many."""
        heard = list(self.balances.items())
        self.balances.clear()
        for name, minor in heard:
            await self.store.record_balance(name, minor=minor, at=self.clock.now())
        return len(heard)

    async def take_result(
        self, result: Result, *, source: ReasonSource = ReasonSource.RESULT
    ) -> None:
        """Apply a Result to the payout or the query that it names, whenever it comes."""
        own = result.originator_conversation_id
        if own is not None and is_query_id(own):
            # Its code is about the question, whatever payment its ConversationID may name.
            await self._take_answer(result)
            return
        verdict = decide_result(result, source)
        if isinstance(verdict, End) and not result.amount_unreadable:
            outcome = await self.store.complete(self._completion(result, verdict))
            if outcome.applied:
                await self._tell_ended(result, verdict, outcome)
                return
            payout = outcome.payout
        else:
            payout = await self.store.find_by_conversation(
                result.originator_conversation_id, result.conversation_id
            )
        if payout is not None:
            await self._take_other(result, verdict, payout)
            return
        await self._take_answer(result)

    async def _take_answer(self, result: Result) -> None:
        """Apply a Result that names no payout: of a query, or of nothing that is known."""
        query = await self.store.find_query(
            result.originator_conversation_id, result.conversation_id
        )
        if query is not None:
            await self._take_query_result(query, result)
            return
        await self._record_incident(IncidentKind.UNMATCHED, result, None, "no payout has this id")

    async def take_queue_timeout(self, notice: QueueTimeout) -> None:
        """Note that the broker dropped a request that it had kept: ask before sending again."""
        now = self.clock.now()
        payout = await self.store.find_by_conversation(notice.originator_conversation_id, None)
        if payout is None:
            await self.store.record_incident(
                Incident(
                    kind=IncidentKind.UNMATCHED,
                    at=now,
                    originator_conversation_id=notice.originator_conversation_id,
                    detail="a queue time-out for an id that no payout has",
                )
            )
            return
        if payout.ended:
            return
        reason = Reason(
            source=ReasonSource.RESPONSE,
            code="queue_timeout",
            klass="ambiguous",
            description="The broker dropped the request from its queue (notifyQueueTimeout).",
        )
        await self._doubt(payout, reason, kind="queue time-out", queued=False)

    async def _take_other(self, result: Result, verdict: Verdict, payout: Payout) -> None:
        """Handle a Result that did not end the payout that it names."""
        if isinstance(verdict, Note):
            await self.store.note(self._move(payout, payout.state, verdict.reason, result))
        elif payout.ended:
            await self._compare(result, verdict, payout)
        elif isinstance(verdict, Unclear):
            await self._doubt(payout, verdict.reason, kind="result", result=result)
        elif isinstance(verdict, End):
            await self._disagree(result, verdict, payout)
        else:
            assert_never(verdict)

    async def _compare(self, result: Result, verdict: Verdict, payout: Payout) -> None:
        same_end = isinstance(verdict, End) and verdict.to is payout.state
        same_receipt = (
            payout.state is State.FAILED
            or payout.transaction_id is None
            or result.transaction_id is None
            or payout.transaction_id == result.transaction_id
        )
        if same_end and same_receipt and not _disagrees(result, payout):
            self.telemetry.emit(
                Signal.RESULT_REPEATED, payout_id=payout.payout_id, code=result.code
            )
            return
        detail = f"the payout had ended as {payout.state.value}; this Result says otherwise"
        if same_end and not same_receipt:
            detail = "the payout had succeeded under another receipt: it may have been paid twice"
        await self._record_incident(IncidentKind.CONTRADICTION, result, payout, detail)

    async def _disagree(self, result: Result, verdict: End, payout: Payout) -> None:
        """Doubt a payout whose Result carries another amount or receiver."""
        reason = Reason(
            source=verdict.reason.source,
            code=result.code,
            klass=DISAGREES,
            description="The Result's amount or receiver is not the payout's; it is asked about.",
        )
        await self._record_incident(
            IncidentKind.MISMATCH, result, payout, "the Result's amount or receiver differs"
        )
        await self._doubt(payout, reason, kind="result", result=result)

    async def _take_query_result(self, query: Query, result: Result) -> None:
        """Apply the answer to a TransactionStatusQuery."""
        payout = await self.store.find(query.payout_id)
        if payout is None:
            await self._record_incident(IncidentKind.UNMATCHED, result, None, "its payout is gone")
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
            await self._record_incident(
                IncidentKind.MISMATCH, result, payout, "the query's answer is about another payment"
            )
            return
        if found is Found.NOT_FOUND:
            await self.not_found(payout, asked_at=query.asked_at, query=query)
        elif end is not None:
            await self._end_by_query(payout, result, end)
        else:
            reason = Reason(
                source=ReasonSource.QUERY,
                code=result.code,
                klass=found.value,
                description="The question did not settle the payout.",
            )
            await self.store.note(self._move(payout, payout.state, reason, result, kind="query"))

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

    async def _end_by_query(self, payout: Payout, result: Result, end: End) -> None:
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
            await self._tell_ended(result, end, outcome)
        elif outcome.payout is not None:
            await self._take_other(result, end, outcome.payout)

    def _completion(self, result: Result, verdict: End) -> Completion:
        return Completion(
            to=verdict.to,
            at=self.clock.now(),
            actor=self.actor,
            reason=verdict.reason,
            originator_conversation_id=result.originator_conversation_id,
            conversation_id=result.conversation_id,
            transaction_id=result.transaction_id,
            amount_minor=result.amount_minor,
            receiver=result.receiver,
        )

    async def _doubt(
        self,
        payout: Payout,
        reason: Reason,
        *,
        kind: str,
        result: Result | None = None,
        queued: bool | None = None,
    ) -> None:
        """Move an open payout to `in_doubt`; where it stands there already, note it."""
        sources = frozenset(one for one in OPEN if (one, State.IN_DOUBT) in TRANSITIONS)
        move = self._move(payout, State.IN_DOUBT, reason, result, kind=kind, queued=queued)
        if payout.state in sources:
            moved = await self.store.move(move)
            if moved.payout is not None:
                self.relay.offer(moved.event)
                self.telemetry.emit(
                    Signal.PAYOUT_MOVED,
                    payout_id=payout.payout_id,
                    account=payout.account,
                    state=State.IN_DOUBT.value,
                    kind=kind,
                    code=reason.code,
                )
                return
        await self.store.note(move)

    def _move(
        self,
        payout: Payout,
        to: State,
        reason: Reason,
        result: Result | None,
        *,
        kind: str = "result",
        queued: bool | None = None,
    ) -> Move:
        now = self.clock.now()
        return Move(
            payout_id=payout.payout_id,
            to=to,
            sources=frozenset(one for one in OPEN if (one, to) in TRANSITIONS),
            at=now,
            actor=self.actor,
            kind=kind,
            reason=reason,
            next_action_at=first_query_at(now, self.policies),
            # A Result proves that it was sent, whatever our own books say (a restore).
            sent_at=None if payout.submitted_at else payout.claimed_at or now,
            conversation_id=result.conversation_id if result else None,
            queued=queued,
        )

    async def _tell_ended(self, result: Result, end: End, outcome: CompletionOutcome) -> None:
        self.relay.offer(outcome.event)
        payout = outcome.payout
        if payout is None:
            return
        await self._heed(payout.account, end)
        if result.utility_balance_minor is not None:
            self.balances[payout.account] = result.utility_balance_minor
        self.telemetry.emit(
            Signal.RESULT_RECEIVED,
            payout_id=payout.payout_id,
            code=result.code,
            originator_conversation_id=payout.originator_conversation_id,
        )
        self.telemetry.emit(
            Signal.PAYOUT_ENDED,
            payout_id=payout.payout_id,
            account=payout.account,
            state=end.to.value,
            code=end.reason.code,
            seconds=(
                (payout.completed_at or payout.created_at) - payout.created_at
            ).total_seconds(),
            conversation_id=payout.conversation_id,
        )

    async def _heed(self, account: AccountName, end: End) -> None:
        """Pause an account whose Results blame its configuration several times in a row.

        Such a Result has failed its payout; without a pause a whole run would follow it.
        """
        if end.reason.klass != CodeClass.CONFIGURATION.value:
            self.refusals.pop(account, None)
            return
        self.refusals[account] = self.refusals.get(account, 0) + 1
        if self.refusals[account] != self.policies.refusal_limit:
            return
        reason = (
            f"{self.policies.refusal_limit} Results in a row blame the configuration,"
            f" the last with code {end.reason.code}"
        )
        await self.store.set_paused(account, paused=True, reason=reason, at=self.clock.now())
        self.telemetry.emit(Signal.ACCOUNT_PAUSED, account=account, reason=reason)

    async def _record_incident(
        self, kind: IncidentKind, result: Result, payout: Payout | None, detail: str
    ) -> None:
        await self.store.record_incident(
            Incident(
                kind=kind,
                at=self.clock.now(),
                payout_id=payout.payout_id if payout else None,
                originator_conversation_id=result.originator_conversation_id,
                conversation_id=result.conversation_id,
                transaction_id=result.transaction_id,
                code=result.code,
                detail=detail,
                evidence=result.parameters,
            )
        )
        self.telemetry.emit(
            Signal.INCIDENT_RECORDED,
            kind=kind.value,
            payout_id=payout.payout_id if payout else None,
            originator_conversation_id=result.originator_conversation_id,
            code=result.code,
        )


def _disagrees(result: Result, payout: Payout) -> bool:
    return (
        result.amount_unreadable
        or (result.amount_minor is not None and result.amount_minor != payout.amount_minor)
        or (result.receiver is not None and result.receiver != payout.msisdn)
    )
