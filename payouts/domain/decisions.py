"""Decide, then do: pure functions from what was said to what has to happen to a payout.

Nothing here acts; the services carry decisions out as guarded transitions in the store.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import assert_never

from payouts.domain.answers import (
    Answer,
    BrokerRecord,
    NotSent,
    NotSentCause,
    OutcomeUnknown,
    Response,
    Result,
    TransactionStatus,
)
from payouts.domain.code_types import Code, CodeClass, Side
from payouts.domain.codes import lookup
from payouts.domain.payout import Payout, Reason, ReasonSource, State
from payouts.domain.values import ConversationId

UNPAID_STATUSES = frozenset(
    {TransactionStatus.CANCELLED, TransactionStatus.DECLINED, TransactionStatus.EXPIRED}
)


class Ambiguous(StrEnum):
    """What to do with a payout in doubt (PAYOUTS_AMBIGUOUS)."""

    QUERY = "query"
    RESEND = "resend"
    HOLD = "hold"


@dataclass(frozen=True, slots=True, kw_only=True)
class Policies:
    """How long to wait for what. Every wait is bounded; names carry their unit."""

    ambiguous: Ambiguous = Ambiguous.QUERY
    retry_first_s: float = 2.0
    retry_cap_s: float = 300.0
    tries_at_once: int = 3
    result_deadline_s: float = 60.0
    query_interval_s: float = 30.0
    query_interval_cap_s: float = 900.0
    not_found_grace_s: float = 60.0
    stuck_after_s: float = 24 * 3600.0
    refusal_limit: int = 3
    circuit_failures: int = 5


Jitter = Callable[[], float]  # A random number in [0, 1).


def growing_s(first_s: float, cap_s: float, step: int, jitter: Jitter) -> float:
    """Return the wait before step `step` (0 = first): doubled each time, capped, jittered ±25 %."""
    wait_s = min(cap_s, first_s * 2.0 ** min(step, 30))
    return wait_s * (0.75 + 0.5 * jitter())


@dataclass(frozen=True, slots=True, kw_only=True)
class Accept:
    """The gateway has it; a Result will come."""

    next_action_at: datetime
    conversation_id: ConversationId | None
    queued: bool
    reason: Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """It was certainly not taken; the same id is sent again later."""

    until: datetime
    reason: Reason
    sent: bool  # False: not even a byte left; the payout counts as never submitted by this try.
    configuration: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubt:
    """It may have been taken; only the gateway or a person can tell."""

    next_action_at: datetime | None
    reason: Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Fail:
    """It is certain that no money moves."""

    reason: Reason


Decision = Accept | Wait | Doubt | Fail


def first_query_at(at: datetime, policies: Policies) -> datetime | None:
    """Return when a payout that has just become doubtful is looked at first; None: by a person."""
    match policies.ambiguous:
        case Ambiguous.HOLD:
            return None
        case Ambiguous.QUERY:
            return at + timedelta(seconds=min(5.0, policies.query_interval_s))
        case Ambiguous.RESEND:
            return at + timedelta(seconds=policies.retry_first_s)
        case _ as never:
            assert_never(never)


def _reason(source: ReasonSource, row: Code, description: str = "") -> Reason:
    return Reason(
        source=source,
        code=row.code,
        klass=row.klass.value,
        description=(description or row.meaning)[:1024],
    )


def is_passing(answer: Answer) -> bool:
    """Tell whether a moment later the same send may work, and surely nothing was taken yet."""
    match answer:
        case NotSent():
            return answer.cause is NotSentCause.CONNECT
        case Response():
            return lookup(Side.RESPONSE, answer.code).klass is CodeClass.REFUSED_RETRY
        case OutcomeUnknown():
            return False
        case _ as never:
            assert_never(never)


def decide_answer(
    payout: Payout, answer: Answer, *, at: datetime, policies: Policies, jitter: Jitter
) -> Decision:
    """Return what the answer to a submission means for the payout.

    Only a code that the table calls conclusive fails a payout (design.md §2, 3), and a refusal
    proves nothing about an earlier send that was left open: the payout stays in doubt. That the
    gateway did not find the earlier send lets its id be sent again; it proves no failure.
    """
    until = at + timedelta(
        seconds=growing_s(policies.retry_first_s, policies.retry_cap_s, payout.attempts - 1, jitter)
    )
    decision = _decide_send(answer, at=at, until=until, policies=policies)
    if payout.state is not State.SUBMITTING or payout.doubt_since is None:
        return decision
    if policies.ambiguous is not Ambiguous.RESEND:
        if isinstance(decision, Fail):
            return Doubt(next_action_at=first_query_at(at, policies), reason=decision.reason)
        return decision
    if isinstance(decision, Wait | Fail):
        return Doubt(next_action_at=until, reason=decision.reason)
    if isinstance(decision, Doubt):  # Each further send is later than the one before.
        return replace(decision, next_action_at=until)
    return decision


def _decide_send(answer: Answer, *, at: datetime, until: datetime, policies: Policies) -> Decision:
    match answer:
        case NotSent():
            reason = Reason(
                source=ReasonSource.LOCAL,
                code=f"not_sent_{answer.cause.value}",
                klass=CodeClass.REFUSED_RETRY.value,
                description=answer.description or "The request was not sent.",
            )
            return Wait(until=until, reason=reason, sent=False)
        case OutcomeUnknown():
            reason = Reason(
                source=ReasonSource.LOCAL,
                code=answer.cause.value,
                klass=CodeClass.AMBIGUOUS.value,
                description=answer.description or "Nobody knows if the request was received.",
            )
            return Doubt(next_action_at=first_query_at(at, policies), reason=reason)
        case Response():
            return _decide_response(answer, at=at, until=until, policies=policies)
        case _ as never:
            assert_never(never)


def _decide_response(
    response: Response, *, at: datetime, until: datetime, policies: Policies
) -> Decision:
    row = lookup(Side.RESPONSE, response.code)
    reason = _reason(ReasonSource.RESPONSE, row, response.description)
    match row.klass:
        case CodeClass.ACCEPTED | CodeClass.QUEUED | CodeClass.COMPLETED:
            return Accept(
                next_action_at=at + timedelta(seconds=policies.result_deadline_s),
                conversation_id=response.conversation_id,
                queued=row.klass is CodeClass.QUEUED,
                reason=reason,
            )
        case CodeClass.REFUSED_RETRY if row.proves_unpaid:
            return Wait(until=until, reason=reason, sent=True)
        case CodeClass.CONFIGURATION if row.proves_unpaid:
            return Wait(until=until, reason=reason, sent=True, configuration=True)
        case CodeClass.REFUSED_FINAL if row.proves_unpaid:
            return Fail(reason=reason)
        case _:
            return Doubt(next_action_at=first_query_at(at, policies), reason=reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """The Result ends the payout, if id, amount and receiver agree."""

    to: State
    reason: Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Unclear:
    """The Result decides nothing; the payout is in doubt."""

    reason: Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """Worth a line in the timeline, nothing else."""

    reason: Reason


Verdict = End | Unclear | Note


def decide_result(result: Result, source: ReasonSource = ReasonSource.RESULT) -> Verdict:
    """Return what a payment's Result means, by its code alone (never by its text or receipt)."""
    row = lookup(Side.RESULT, result.code)
    reason = _reason(source, row, result.description)
    if result.intermediate or row.klass is CodeClass.INTERMEDIATE:
        return Note(reason=reason)
    if row.klass is CodeClass.COMPLETED:
        return End(to=State.SUCCEEDED, reason=reason)
    if row.proves_unpaid:
        return End(to=State.FAILED, reason=reason)
    return Unclear(reason=reason)


class Found(StrEnum):
    """What a query found out."""

    ENDED = "ended"
    UNDER_WAY = "under_way"
    UNDECIDED = "undecided"  # All is answered, by words that leave open what the core has.
    NOT_FOUND = "not_found"
    NO_ANSWER = "no_answer"


def decide_status(result: Result) -> tuple[Found, End | None]:
    """Return what a TransactionStatusQuery's Result says of the payment it asks about."""
    row = lookup(Side.QUERY, result.code)
    if row.klass is CodeClass.NOT_FOUND:
        return Found.NOT_FOUND, None
    if row.klass is not CodeClass.ACCEPTED or result.status is None:
        return Found.NO_ANSWER, None
    reason = Reason(
        source=ReasonSource.QUERY,
        code=result.status.value,
        klass="status",
        description="As a TransactionStatusQuery told.",
    )
    if result.status is TransactionStatus.COMPLETED:
        return Found.ENDED, End(to=State.SUCCEEDED, reason=reason)
    if result.status in UNPAID_STATUSES:
        return Found.ENDED, End(to=State.FAILED, reason=reason)
    return Found.UNDER_WAY, None


def decide_record(
    payout: Payout, record: BrokerRecord, *, at: datetime, policies: Policies, jitter: Jitter
) -> Decision | Found:
    """Return what the broker's log says of a payout that is in doubt; Results are told apart.

    A refusal in the log counts only if every logged request was refused, and if it was asked
    long enough after the last send that none can still be on its way. `UNDER_WAY` speaks against
    sending again, `UNDECIDED` leaves that to what the core says.
    """
    if lookup(Side.RESPONSE, record.response.code).klass is not CodeClass.ACCEPTED:
        return Found.NO_ANSWER
    logged = max(record.answered, len(record.responses)) + record.unreadable_responses
    if record.requests == 0 and logged == 0 and not record.results and not record.queue_timeouts:
        return Found.NOT_FOUND
    decisions = [
        decide_answer(payout, response, at=at, policies=policies, jitter=jitter)
        for response in record.responses
    ]
    for decision in decisions:
        if isinstance(decision, Accept) and not record.queue_timeouts:
            return decision
    settled = payout.last_sent_at is not None and at >= payout.last_sent_at + timedelta(
        seconds=policies.not_found_grace_s
    )
    all_refused = (
        settled
        and decisions
        and not record.unreadable_responses
        and not record.queue_timeouts
        and logged >= max(record.requests, 1)
        and all(isinstance(decision, Wait | Fail) for decision in decisions)
    )
    if all_refused:
        return decisions[-1]
    on_its_way = not settled or record.requests > logged or record.unreadable_responses
    return Found.UNDER_WAY if on_its_way or _core_has_it(record) else Found.UNDECIDED


def _core_has_it(record: BrokerRecord) -> bool:
    """Tell whether a logged answer says that the request was taken, and not dropped later."""
    classes = [lookup(Side.RESPONSE, response.code).klass for response in record.responses]
    taken = {CodeClass.ACCEPTED, CodeClass.QUEUED, CodeClass.COMPLETED}
    others = sum(klass not in taken for klass in classes)
    # Equal Responses are told once: whatever was not said otherwise may have been taken, too.
    at_most = max(record.requests, len(classes)) - others if taken & set(classes) else 0
    return CodeClass.DUPLICATE in classes or at_most > record.queue_timeouts
