"""The checks and triggers of the table of payouts, as migrations/versions has them."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import Final, NoReturn

from payouts.domain.errors import StoreRefusedError
from payouts.domain.payout import TRANSITIONS, Payout, State

_PLANNED: Final = frozenset({State.RECEIVED, State.WAITING, State.ACCEPTED})
_SENT: Final = frozenset({State.ACCEPTED, State.IN_DOUBT})


def refuse(name: str) -> NoReturn:
    """Refuse as PostgreSQL would, by the constraint's name."""
    raise StoreRefusedError(f"({name}, 23000)")


def check_change(before: Payout, after: Payout, without: AbstractSet[str]) -> None:
    """Refuse what the triggers refuse of an update, then what the checks refuse of the row."""
    if before.completed_at is not None and "ended stays" not in without and before != after:
        refuse("payouts_ended_stays")
    if (
        before.state is not after.state
        and (before.state, after.state) not in TRANSITIONS
        and "transition legal" not in without
    ):
        refuse("payouts_transition_legal")
    check_row(after)


def check_insert(payout: Payout, without: AbstractSet[str]) -> None:
    """Refuse what may not begin: sent before it was written down."""
    begins = payout.state in {State.RECEIVED, State.SUBMITTING} or (
        payout.state is State.FAILED and payout.attempts == 0
    )
    if not begins and "begins unsent" not in without:
        refuse("payouts_begins_unsent")
    check_row(payout)


def check_row(payout: Payout) -> None:
    """Refuse a row that contradicts itself."""
    state = payout.state
    ended = payout.completed_at is not None
    if payout.amount_minor <= 0:
        refuse("payouts_amount_positive")
    if ended is not payout.ended:
        refuse("payouts_ended_is_dated")
    if state is State.FAILED and payout.reason is None:
        refuse("payouts_failed_has_reason")
    if ended and (payout.held is not None or payout.ask_now):
        refuse("payouts_ended_is_not_held")
    _check_sending(payout, state)
    if payout.next_action_at is None:
        if state in _PLANNED:
            refuse("payouts_next_action_planned")
    elif state not in _PLANNED and state is not State.IN_DOUBT:
        refuse("payouts_next_action_planned")
    _check_doubt(payout, state)


def _check_sending(payout: Payout, state: State) -> None:
    owned = payout.owner is not None
    if (state is State.SUBMITTING) is not owned or owned is not (payout.claimed_at is not None):
        refuse("payouts_submitting_is_owned")
    if (
        payout.attempts < 0
        or (state is State.SUBMITTING and payout.attempts == 0)
        or (state is State.RECEIVED and (payout.attempts or payout.submitted_at is not None))
    ):
        refuse("payouts_attempts_counted")
    if state in _SENT and (payout.submitted_at is None or payout.last_sent_at is None):
        refuse("payouts_sent_is_dated")


def _check_doubt(payout: Payout, state: State) -> None:
    if state is State.IN_DOUBT and payout.doubt_since is None:
        refuse("payouts_doubt_is_dated")
    counted = payout.not_found_count > 0
    if counted is not (payout.first_not_found_at is not None) or counted is not (
        payout.last_not_found_at is not None
    ):
        refuse("payouts_not_found_counted")
