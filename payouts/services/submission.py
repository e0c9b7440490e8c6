"""Sends a payout whose intent is durable, and writes down what the gateway said."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import assert_never

from tenacity import AsyncRetrying, RetryCallState, retry_if_result, stop_after_attempt
from tenacity import wait_random_exponential as wait_growing

from payouts.domain.answers import Answer, NotSent, NotSentCause, OutcomeUnknown, Response
from payouts.domain.code_types import CodeClass, Side
from payouts.domain.codes import lookup
from payouts.domain.decisions import (
    Accept,
    Decision,
    Doubt,
    Fail,
    Jitter,
    Policies,
    Wait,
    decide_answer,
    is_passing,
)
from payouts.domain.errors import StoreUnavailableError
from payouts.domain.payout import Payout, State
from payouts.domain.signals import Signal
from payouts.ports import Clock, Gateway, Move, Pace, PayoutStore, Telemetry
from payouts.services.accounts import Accounts
from payouts.services.lease import Lease
from payouts.services.patience import Patience
from payouts.services.relay import Relay


def move_of(
    payout: Payout, decision: Decision, *, at: datetime, actor: str, kind: str, detail: str | None
) -> Move:
    """Return the transition that carries a decision about the present attempt out."""
    move = Move(
        payout_id=payout.payout_id,
        to=payout.state,
        sources=frozenset({payout.state}),
        at=at,
        actor=actor,
        kind=kind,
        attempt=payout.attempts,
        reason=decision.reason,
        sent_at=payout.claimed_at if payout.state is State.SUBMITTING else None,
        detail=detail,
    )
    match decision:
        case Accept():
            return replace(
                move,
                to=State.ACCEPTED,
                next_action_at=decision.next_action_at,
                conversation_id=decision.conversation_id,
                queued=decision.queued,
            )
        case Wait():
            return replace(
                move,
                to=State.WAITING,
                next_action_at=decision.until,
                sent_at=move.sent_at if decision.sent else None,
            )
        case Doubt():
            return replace(move, to=State.IN_DOUBT, next_action_at=decision.next_action_at)
        case Fail():
            return replace(move, to=State.FAILED)
        case _ as never:
            assert_never(never)


def name_of(answer: Answer) -> tuple[str, str]:
    """Return the kind and code of an answer, for telemetry."""
    match answer:
        case Response():
            return "response", answer.code
        case NotSent():
            return "not_sent", answer.cause.value
        case OutcomeUnknown():
            return "unknown", answer.cause.value
        case _ as never:
            assert_never(never)


@dataclass(slots=True)
class _Sending:
    """What became of the tries of one attempt: how many, and whether any left this machine."""

    tries: int = 0
    left_once: bool = False

    def tell(self, answer: Answer) -> Answer:
        self.left_once = self.left_once or not isinstance(answer, NotSent)
        self.tries += 1
        return answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """Sends one payout at a time per call; any number of calls may be under way."""

    store: PayoutStore
    gateway: Gateway
    pace: Pace
    accounts: Accounts
    relay: Relay
    lease: Lease
    clock: Clock
    telemetry: Telemetry
    policies: Policies
    jitter: Jitter
    patience: Patience

    async def submit(self, payout: Payout, *, may_send: Callable[[], bool]) -> None:
        """Send a payout in state `submitting` that this worker owns, until it is written down.

        The intent must be durable already. Passing refusals are tried again at once, a bounded
        number of times; everything else is decided by what the answer proves. `may_send`, the
        lease, the account and, before the first send, `not_after` are asked at the last instant
        before each request's first byte.
        """
        began = self.clock.monotonic()
        waited = (self.clock.now() - payout.created_at).total_seconds()
        owner = payout.owner
        sending = _Sending()

        def still_may() -> bool:
            # A pause holds back what waited for its turn, too: it saves a lock of the initiator.
            mine = owner == self.lease.owner and self.lease.holds()
            late = not sending.left_once and self._is_late(payout)
            return mine and not late and not self.accounts.is_paused(payout.account) and may_send()

        answer = await self._hold_back(payout) or await self._send(payout, still_may, sending)
        at = self.clock.now()
        kind, code = name_of(answer)
        self.telemetry.emit(
            Signal.PAYOUT_SUBMITTED,
            payout_id=payout.payout_id,
            account=payout.account,
            attempt=payout.attempts,
            answer=kind,
            code=code,
            seconds=self.clock.monotonic() - began,
            waited=waited if payout.attempts == 1 else None,
            originator_conversation_id=payout.originator_conversation_id,
        )
        decision = decide_answer(payout, answer, at=at, policies=self.policies, jitter=self.jitter)
        if isinstance(decision, Wait) and sending.left_once:
            decision = replace(decision, sent=True)
        move = move_of(
            payout,
            decision,
            at=at,
            actor=self.lease.actor,
            kind="answer",
            detail=f"{sending.tries} tries" if sending.tries > 1 else None,
        )
        # First, so that an account is paused before its refused payouts are seen at rest.
        await self.accounts.heed(payout.account, answer)
        await self._write_down(payout, move)

    async def _hold_back(self, payout: Payout) -> NotSent | None:
        """Look once more whether a later submission is stopped by what the first one's Result says.

        It may have waited for its turn meanwhile. What is held rests until a person decides.
        """
        if payout.retry_of is None:
            return None
        standing = await self.patience.until_durable(
            "look at a second submission", lambda: self.store.find(payout.payout_id)
        )
        if standing is not None and standing.held is None:
            return None
        return NotSent(cause=NotSentCause.FENCED, description="It is held; it was not sent.")

    def _is_late(self, payout: Payout) -> bool:
        """Tell whether its `not_after` has passed before its first submission began."""
        if payout.submitted_at is not None or payout.not_after is None:
            return False
        return payout.not_after <= self.clock.now()

    async def _send(
        self, payout: Payout, may_send: Callable[[], bool], sending: _Sending
    ) -> Answer:
        answer = sending.tell(await self._send_once(payout, may_send))
        left = self.policies.tries_at_once - 1
        if left < 1 or not self._worth_another(answer):
            return answer

        async def another() -> Answer:
            nonlocal answer
            await self.pace.turn(payout.account)
            answer = sending.tell(await self._send_once(payout, may_send))
            return answer

        retrying = AsyncRetrying(
            retry=retry_if_result(self._worth_another),
            stop=stop_after_attempt(left),
            wait=wait_growing(multiplier=0.2, max=2.0),
            sleep=self.clock.sleep,
            retry_error_callback=_last_outcome,
        )
        await self.clock.sleep(0.1 + 0.2 * self.jitter())
        with suppress(StoreUnavailableError):  # No pace is kept: what was said stands.
            await retrying(another)
        return answer

    def _worth_another(self, answer: Answer) -> bool:
        return is_passing(answer) and self.lease.holds()

    async def _send_once(self, payout: Payout, may_send: Callable[[], bool]) -> Answer:
        answer = await self.gateway.submit(payout, may_send=may_send)
        if isinstance(answer, Response):
            klass = lookup(Side.RESPONSE, answer.code).klass
            if klass is CodeClass.REFUSED_RETRY:
                self.pace.slow_down(payout.account)
        return answer

    async def _write_down(self, payout: Payout, move: Move) -> None:
        moved = await self.patience.until_durable("record an answer", lambda: self.store.move(move))
        if moved.payout is None:
            # A Result or the sweep was faster; what was said stays visible all the same.
            await self.patience.until_durable("note an answer", lambda: self.store.note(move))
            return
        self.telemetry.emit(
            Signal.PAYOUT_MOVED,
            payout_id=payout.payout_id,
            account=payout.account,
            state=move.to.value,
            kind=move.kind,
            code=move.reason.code if move.reason else "",
        )
        if moved.event is not None:
            if moved.payout.ended:
                self.telemetry.emit(
                    Signal.PAYOUT_ENDED,
                    payout_id=payout.payout_id,
                    account=payout.account,
                    state=move.to.value,
                    code=move.reason.code if move.reason else "",
                    seconds=(move.at - payout.created_at).total_seconds(),
                    conversation_id=moved.payout.conversation_id,
                )
            self.relay.offer(moved.event)


def _last_outcome(state: RetryCallState) -> Answer:
    if state.outcome is None:
        raise RuntimeError("A retry ended without an outcome.")
    answer: Answer = state.outcome.result()
    return answer
