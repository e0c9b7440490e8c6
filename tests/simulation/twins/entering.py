"""How a payout's row looks after it has entered a state, whoever moved it there."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from datetime import datetime
from typing import Final, NamedTuple

from payouts.domain.payout import ENDED, Payout, Reason, State
from payouts.domain.values import WorkerId
from payouts.storage.steps import MAX_DESCRIPTION, storable
from tests.simulation.twins.rows import changed

_SENT: Final = frozenset({State.ACCEPTED, State.IN_DOUBT})


class Step(NamedTuple):
    """Where a payout goes, when, by whom and why: the columns of a step."""

    to: State
    at: datetime
    actor: str
    kind: str
    owner: WorkerId | None = None
    reason: Reason | None = None
    next_action_at: datetime | None = None
    sent_at: datetime | None = None
    conversation_id: str | None = None
    transaction_id: str | None = None
    queued: bool | None = None
    detail: str | None = None


def storable_reason(reason: Reason | None) -> Reason | None:
    """Return the reason as a row can keep it."""
    if reason is None:
        return None
    code, description = storable(reason.code), storable(reason.description, MAX_DESCRIPTION)
    if code is reason.code and description is reason.description:
        return reason
    return Reason(
        source=reason.source, code=code or "", klass=reason.klass, description=description or ""
    )


def entered(payout: Payout, step: Step, without: AbstractSet[str]) -> Payout:
    """Return the payout after a step, as the statement of payouts/storage/steps.py makes it."""
    to = step.to
    changes: dict[str, object] = {
        "state": to,
        "owner": step.owner,
        "claimed_at": None,
        "next_action_at": step.next_action_at,
    }
    if to is State.SUBMITTING:
        changes["attempts"] = payout.attempts + 1
        changes["claimed_at"] = step.at
    for name in ("queued", "conversation_id", "transaction_id", "reason"):
        told = getattr(step, name)
        if told is not None:
            changes[name] = told
    if payout.ask_now and to is not State.IN_DOUBT:
        changes["ask_now"] = False
    _date_sending(changes, payout, step)
    if to is State.IN_DOUBT:
        if payout.doubt_since is None:
            changes["doubt_since"] = step.at
    elif to is State.WAITING and (
        payout.state is not State.SUBMITTING or "doubt outlasts waiting" in without
    ):
        changes["doubt_since"] = None
    if to in ENDED:
        changes["completed_at"] = step.at
        changes["held"] = None
    elif payout.not_found_count and "not found forgotten" not in without:
        changes.update(not_found_count=0, first_not_found_at=None, last_not_found_at=None)
    return changed(payout, changes)


def _date_sending(changes: dict[str, object], payout: Payout, step: Step) -> None:
    to = step.to
    was_sending = payout.state is State.SUBMITTING
    if payout.submitted_at is None and (
        step.sent_at is not None or to in _SENT or (was_sending and to is State.SUCCEEDED)
    ):
        changes["submitted_at"] = step.sent_at or payout.claimed_at or step.at
    last = payout.last_sent_at
    if step.sent_at is not None or (was_sending and to is State.IN_DOUBT):
        changes["last_sent_at"] = step.at if last is None else max(last, step.at)
    elif to in _SENT and last is None:
        changes["last_sent_at"] = step.at
