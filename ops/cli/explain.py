"""Why a payout stands where it stands, and what happens next, in plain words. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, assert_never

from ops.cli.words import duration, hide_numbers, relative
from payouts.domain.payout import (
    HELD_CONTRADICTED,
    HELD_RETURNED,
    HELD_RUN,
    Payout,
    Reason,
    ReasonSource,
    State,
)
from payouts.domain.values import PayoutId
from payouts.ports import AccountStatus

_OVERDUE: Final = timedelta(seconds=60)

MEANINGS: Final = {
    State.RECEIVED: "It is written down; nothing was sent yet.",
    State.SUBMITTING: "A request is on its way to the gateway, or may be.",
    State.WAITING: "The last request was certainly not taken; it will be sent again.",
    State.ACCEPTED: "The gateway has taken it and owes us the Result.",
    State.IN_DOUBT: "It may have been taken, or not. Nothing is sent until that is known.",
    State.SUCCEEDED: "The money moved.",
    State.FAILED: "It is certain that no money moved.",
}

_ENDED: Final = "Nothing; it has ended. A Result that says otherwise becomes an incident."
_SAID_BY: Final = {
    ReasonSource.RESPONSE: "The gateway answered",
    ReasonSource.RESULT: "The Result said",
    ReasonSource.QUERY: "A query told",
    ReasonSource.LOCAL: "Noted here",
    ReasonSource.OPERATOR: "An operator said",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """What a person wants to know first; `at` is when the next step is due, if one is."""

    meaning: str
    why: str
    next: str
    at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What stands around a payout and decides what happens next.

    Args:
        account: how its account stands.
        run_paused: why its run is paused, if it is.
        later: the submission that followed it, if one did.
        resolved_by: the operator by whose word it failed, if it did.
    """

    account: AccountStatus | None = None
    run_paused: str | None = None
    later: PayoutId | None = None
    resolved_by: str | None = None


def explain(payout: Payout, around: Surroundings, now: datetime) -> Explanation:
    """Return what the state means, why it is so, and what happens next and when."""
    following, at = _next(payout, around, now)
    return Explanation(
        meaning=MEANINGS[payout.state],
        why=_why(payout.reason),
        next=following + _lateness(at, now),
        at=at,
    )


def _why(reason: Reason | None) -> str:
    if reason is None:
        return "Nothing has been said about it yet."
    text = f"{_SAID_BY[reason.source]} {reason.code} ({reason.klass})"
    return f"{text}: {hide_numbers(reason.description)}" if reason.description else f"{text}."


def _lateness(at: datetime | None, now: datetime) -> str:
    if at is None or now - at < _OVERDUE:
        return ""
    return f" That was due {relative(at, now)}: see that a worker runs (`payouts worker`)."


def _next(payout: Payout, around: Surroundings, now: datetime) -> tuple[str, datetime | None]:
    match payout.state:
        case State.RECEIVED | State.WAITING:
            return _next_send(payout, around)
        case State.SUBMITTING:
            text = (
                "The answer decides. If its worker died, a sweep puts it in doubt within the lease"
                " (PAYOUTS_WORKER_LEASE_S) and the gateway is asked."
            )
            return text + _stopped(payout), None
        case State.ACCEPTED:
            queued = "The broker keeps it in its queue. " if payout.queued else ""
            text = (
                f"{queued}The Result ends it. If none has come by then, it is in doubt and the"
                " gateway is asked."
            )
            return text + _stopped(payout), payout.next_action_at
        case State.IN_DOUBT:
            text, at = _next_question(payout, now)
            return text + _stopped(payout), at
        case State.SUCCEEDED:
            return _ENDED, None
        case State.FAILED:
            return f"{_ENDED} {_again(payout, around)}", None
        case _ as never:
            assert_never(never)


def _next_send(payout: Payout, around: Surroundings) -> tuple[str, datetime | None]:
    if payout.held is not None:
        return _while_held(payout, payout.held, around), None
    if around.run_paused is not None:
        return _while_run_paused(payout, around.run_paused), None
    account = around.account
    if account is not None and account.paused:
        why = f" ({account.paused_reason})" if account.paused_reason else ""
        text = (
            f"Nothing while account {account.name} is paused{why}."
            f" `payouts resume {account.name}` lets it go on."
        )
        return text, None
    if payout.ask_now:
        text = "The gateway is asked first: it may have been sent before the restore."
        return text, payout.next_action_at
    ending = ""
    if payout.not_after is not None and payout.submitted_at is None:
        ending = " If it has not been sent by its not_after, it fails unsent."
    return f"It is sent, under the same id.{ending}", payout.next_action_at


def _while_held(payout: Payout, held: str, around: Surroundings) -> str:
    if held == HELD_RUN:
        return _while_run_paused(payout, around.run_paused)
    if held == HELD_CONTRADICTED:
        return (
            f"Nothing: {held}, so this one may pay a second time."
            f" `payouts cancel {payout.payout_id}` ends it."
        )
    if held == HELD_RETURNED:
        return f"Nothing is sent: {held}. That Result ends it, or has it asked about."
    return f"Nothing while it is held ({held}). `payouts release {payout.payout_id}` lets it go on."


def _while_run_paused(payout: Payout, why: str | None) -> str:
    told = f" ({why})" if why else ""
    return (
        f"Nothing while its run {payout.run_id} is paused{told}."
        f" `payouts resume --run {payout.run_id}` lets it go on."
    )


def _stopped(payout: Payout) -> str:
    return (
        "" if payout.held is None else f" Nothing more is sent for it: it is held ({payout.held})."
    )


def _again(payout: Payout, around: Surroundings) -> str:
    if around.later is not None:
        return f"It was submitted again as {around.later}."
    if around.resolved_by is not None:
        return (
            f"To pay it all the same: `payouts retry {payout.payout_id}`, ordered by another"
            f" operator than {around.resolved_by} (four eyes)."
        )
    return f"To pay it all the same: `payouts retry {payout.payout_id}`."


def _next_question(payout: Payout, now: datetime) -> tuple[str, datetime | None]:
    since = payout.doubt_since
    lasting = (
        f" It has been in doubt for {duration((now - since).total_seconds())}." if since else ""
    )
    if payout.next_action_at is None:
        text = (
            "A person decides: look its OriginatorConversationID up in the M-PESA portal, then"
            f" `payouts resolve {payout.payout_id}`; or `payouts reconcile {payout.payout_id}`"
            f" has the gateway asked once more. A late Result still ends it.{lasting}"
        )
        return text, None
    found = ""
    if payout.not_found_count:
        found = (
            f" Not found {payout.not_found_count} of 2 times; then the same id may be sent again."
        )
    text = (
        f"The gateway is asked again ({payout.queries} asked so far).{found}"
        f" A Result ends it at any time.{lasting}"
    )
    return text, payout.next_action_at
