"""Applies what a Result says to the payout that it names: once, and never over an earlier end."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import assert_never

from payouts.domain.answers import Result
from payouts.domain.code_types import Side
from payouts.domain.decisions import End, Note, Policies, Unclear, Verdict, first_query_at
from payouts.domain.payout import OPEN, TRANSITIONS, Payout, Reason, State
from payouts.domain.signals import Signal
from payouts.domain.values import AccountName
from payouts.ports import (
    Clock,
    CompletionOutcome,
    IncidentKind,
    Move,
    PayoutStore,
    Telemetry,
)
from payouts.services.incidents import Incidents
from payouts.services.pauses import Pauses
from payouts.services.relay import Relay

DISAGREES = "mismatch"


@dataclass(frozen=True, slots=True, kw_only=True)
class Endings:
    """Carries a verdict about a payout out; what it cannot carry out it keeps as an incident.

    Raises (every coroutine):
        StoreUnavailableError: nothing is certain to have been written.
    """

    store: PayoutStore
    relay: Relay
    clock: Clock
    telemetry: Telemetry
    policies: Policies
    actor: str
    incidents: Incidents
    pauses: Pauses
    balances: dict[AccountName, tuple[int, datetime]]

    async def tell(
        self, result: Result, end: End, outcome: CompletionOutcome, *, side: Side
    ) -> None:
        """Publish and tell an end that the store has applied; heed what its code blames."""
        self.relay.offer(outcome.event)
        payout = outcome.payout
        if payout is None:
            return
        if result.utility_balance_minor is not None:
            self.balances[payout.account] = (result.utility_balance_minor, self.clock.now())
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
        await self.pauses.heed(payout.account, side, result.code)

    async def take(self, result: Result, verdict: Verdict, payout: Payout) -> None:
        """Handle a Result that did not end the payout that it names."""
        if isinstance(verdict, Note):
            await self.note(payout, verdict.reason, result)
            await self.see(payout)
        elif payout.ended:
            await self._compare(result, verdict, payout)
        elif isinstance(verdict, Unclear):
            await self.doubt(payout, verdict.reason, kind="result", result=result)
            await self.see(payout)
        elif isinstance(verdict, End):
            await self._disagree(result, verdict, payout)
        else:
            assert_never(verdict)

    async def see(self, payout: Payout) -> None:
        """Forget *not found* of a payout in doubt: the gateway has shown that it knows it."""
        if payout.state is State.IN_DOUBT:
            await self.store.record_sighting(
                payout.payout_id, seen_at=self.clock.now(), actor=self.actor
            )

    async def note(
        self, payout: Payout, reason: Reason, result: Result, *, kind: str = "result"
    ) -> None:
        """Write a line into the timeline; nothing moves."""
        await self.store.note(self._move(payout, payout.state, reason, result, kind=kind))

    async def doubt(
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
        await self.incidents.record(IncidentKind.CONTRADICTION, result, payout, detail)

    async def _disagree(self, result: Result, verdict: End, payout: Payout) -> None:
        """Doubt a payout whose Result carries another amount or receiver."""
        reason = Reason(
            source=verdict.reason.source,
            code=result.code,
            klass=DISAGREES,
            description="The Result's amount or receiver is not the payout's; it is asked about.",
        )
        await self.incidents.record(
            IncidentKind.MISMATCH, result, payout, "the Result's amount or receiver differs"
        )
        await self.doubt(payout, reason, kind="result", result=result)
        await self.see(payout)

    def _move(
        self,
        payout: Payout,
        to: State,
        reason: Reason,
        result: Result | None,
        *,
        kind: str,
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


def _disagrees(result: Result, payout: Payout) -> bool:
    return (
        result.amount_unreadable
        or (result.amount_minor is not None and result.amount_minor != payout.amount_minor)
        or (result.receiver is not None and result.receiver != payout.msisdn)
    )
