"""Why a payout stands where it stands, and what happens next, in plain words. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, assert_never

from ops.cli.words import duration, hide_numbers, relative
from payouts.domain.payout import Payout, Reason, ReasonSource, State
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


def explain(payout: Payout, account: AccountStatus | None, now: datetime) -> Explanation:
    """Return what the state means, why it is so, and what happens next and when."""
    following, at = _next(payout, account, now)
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


def _next(
    payout: Payout, account: AccountStatus | None, now: datetime
) -> tuple[str, datetime | None]:
    match payout.state:
        case State.RECEIVED | State.WAITING:
            return _next_send(payout, account)
        case State.SUBMITTING:
            text = (
                "The answer decides. If its worker died, a sweep puts it in doubt within the lease"
                " (PAYOUTS_WORKER_LEASE_S) and the gateway is asked."
            )
            return text, None
        case State.ACCEPTED:
            queued = "The broker keeps it in its queue. " if payout.queued else ""
            text = (
                f"{queued}The Result ends it. If none has come by then, it is in doubt and the"
                " gateway is asked."
            )
            return text, payout.next_action_at
        case State.IN_DOUBT:
            return _next_question(payout, now)
        case State.SUCCEEDED | State.FAILED:
            return "Nothing; it has ended. A Result that says otherwise becomes an incident.", None
        case _ as never:
            assert_never(never)


def _next_send(payout: Payout, account: AccountStatus | None) -> tuple[str, datetime | None]:
    if account is not None and account.paused:
        why = f" ({account.paused_reason})" if account.paused_reason else ""
        text = (
            f"Nothing while account {account.name} is paused{why}."
            f" `payouts resume {account.name}` lets it go on."
        )
        return text, None
    ending = ""
    if payout.not_after is not None and payout.submitted_at is None:
        ending = " If it has not been sent by its not_after, it fails unsent."
    return f"It is sent, under the same id.{ending}", payout.next_action_at


def _next_question(payout: Payout, now: datetime) -> tuple[str, datetime | None]:
    since = payout.doubt_since
    lasting = (
        f" It has been in doubt for {duration((now - since).total_seconds())}." if since else ""
    )
    if payout.next_action_at is None:
        text = (
            "A person decides: look its OriginatorConversationID up in the M-PESA portal."
            f" A late Result still ends it.{lasting}"
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
