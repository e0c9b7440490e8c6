"""Lists of payouts, newest first, each by an index that stays small or stops at the page's end."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import TextClause, text

from payouts.domain.payout import OPEN, Payout, State
from payouts.domain.values import AccountName, RunId
from payouts.storage.rows import columns, is_open

MAX_LISTED: Final = 10_000
# Which accounts there are, by one step in the index for each: the index by age begins with them,
# as an account with few payouts would be searched for among those of all others.
PAYING: Final = """RECURSIVE paying AS (
    (SELECT p.account FROM payouts p ORDER BY p.account LIMIT 1)
    UNION ALL
    SELECT (
        SELECT p.account FROM payouts p WHERE p.account > paying.account
        ORDER BY p.account LIMIT 1
    ) FROM paying WHERE paying.account IS NOT NULL
)"""
_PAYOUTS: Final = f"SELECT {columns('p')} FROM payouts p"  # noqa: S608
_LISTED: Final = f"SELECT {columns('listed')}"
# In the order of an index, with nothing left to sort: a plan that sorts would read all there is.
_FIRST: Final = "ORDER BY p.created_at DESC FETCH FIRST (CAST(:limit AS bigint)) ROWS WITH TIES"
_NEWEST: Final = (
    "ORDER BY listed.created_at DESC, listed.payout_id DESC LIMIT CAST(:limit AS bigint)"
)
_OPEN: Final = f"{is_open('p')} AND p.state = ANY(CAST(:states AS text[]))"
_FAILED: Final = "p.state = 'failed'"


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """Which payouts to list; None and empty are no limits. Newest first.

    Args:
        older_than: made before this instant.
        newer_than: made at or after this instant.
        held: only what is held.
        after: the last payout of the page before.
    """

    states: Collection[State] = ()
    run_id: RunId | None = None
    account: AccountName | None = None
    older_than: datetime | None = None
    newer_than: datetime | None = None
    limit: int = 100
    held: bool = False
    after: Payout | None = None


def statement_of(listing: Listing) -> tuple[TextClause, dict[str, Any]]:
    """Return the statement with just the conditions asked for, so that an index fits."""
    conditions, parameters = _conditions(listing)
    states = frozenset(listing.states)
    if states and State.SUCCEEDED not in states:
        parts = [_FAILED] if State.FAILED in states else []
        if states & OPEN:
            parts.append(_OPEN)
            parameters["states"] = sorted(states & OPEN)
        arms = " UNION ALL ".join(f"({_arm([part, *conditions])})" for part in parts)
        return text(f"{_LISTED} FROM ({arms}) AS listed {_NEWEST}"), parameters
    if states:
        conditions.append("p.state = ANY(CAST(:states AS text[]))")
        parameters["states"] = sorted(states)
    if listing.account is None and listing.run_id is None and not listing.held:
        arm = _arm(["p.account = paying.account", *conditions])
        of_each = f"WITH {PAYING} {_LISTED} FROM paying, LATERAL ({arm}) AS listed {_NEWEST}"
        return text(of_each), parameters
    return text(f"{_LISTED} FROM ({_arm(conditions)}) AS listed {_NEWEST}"), parameters


def _arm(conditions: Sequence[str]) -> str:
    """Return what a page may be of, in the order of an index; ties are put in order outside."""
    clause = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    return f"{_PAYOUTS}{clause} {_FIRST}"


def _conditions(listing: Listing) -> tuple[list[str], dict[str, Any]]:
    conditions: list[str] = []
    parameters: dict[str, Any] = {"limit": min(listing.limit, MAX_LISTED)}

    def where(condition: str, name: str, value: object) -> None:
        if value is not None:
            conditions.append(condition)
            parameters[name] = value

    if listing.held:
        conditions.append("p.held IS NOT NULL")
    where("p.run_id = :run_id", "run_id", listing.run_id)
    where("p.account = :account", "account", listing.account)
    where("p.created_at < CAST(:older AS timestamptz)", "older", listing.older_than)
    where("p.created_at >= CAST(:newer AS timestamptz)", "newer", listing.newer_than)
    if listing.after is not None:
        where(
            "(p.created_at, p.payout_id) < (CAST(:after_at AS timestamptz), :after_id)",
            "after_at",
            listing.after.created_at,
        )
        parameters["after_id"] = listing.after.payout_id
    return conditions, parameters
