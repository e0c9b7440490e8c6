"""The books in figures: counts and sums by state, and whether they balance.

Every function reads within one snapshot, so that its figures belong together.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from payouts.domain.payout import ENDED, State
from payouts.domain.values import RunId

_PAGE: Final = 1000
_RATE_OVER_S: Final = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class StateTotal:
    """How many payouts of a currency stand in a state, and what they come to."""

    state: State
    currency: str
    count: int
    amount_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReasonTotal:
    """As StateTotal, by the reason's class and code too; both None where nobody said any."""

    state: State
    currency: str
    klass: str | None
    code: str | None
    count: int
    amount_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary:
    """How a run stands; `ended_per_s` is over the last minute, or since it began."""

    run_id: RunId
    states: tuple[StateTotal, ...]
    reasons: tuple[ReasonTotal, ...]
    first_created_at: datetime
    last_created_at: datetime
    last_completed_at: datetime | None
    ended_per_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BookTotals:
    """The books of one instant, counted on several ways that must agree.

    Args:
        received: all payouts, live and archived, by currency: count and sum.
        states: the same payouts by state.
        archived: those of them that are in the archive, by state.
        moved: what orders have archived, by their own count; None where only a run is asked for.
        intents: timeline entries by which a payout began, of live ones.
        endings: timeline entries by which one ended, of live ones.
        ended_without_event: ended payouts that lack their completion event.
        events_without_end: completion events whose payout did not end so.
        unpublished: events that the broker has not confirmed yet.
        incidents: what waits for a person.
    """

    received: Mapping[str, tuple[int, int]]
    states: tuple[StateTotal, ...]
    archived: tuple[StateTotal, ...] = ()
    moved: tuple[StateTotal, ...] | None = None
    intents: int
    endings: int
    ended_without_event: int
    events_without_end: int
    unpublished: int
    incidents: int

    @property
    def problems(self) -> tuple[str, ...]:
        """Say what does not add up; empty while the books balance."""
        archived = sum(one.count for one in self.archived)
        count = sum(one for one, _ in self.received.values()) - archived
        ended = sum(one.count for one in self.states if one.state in ENDED) - archived
        moved = self.archived if self.moved is None else self.moved
        ordered = sum(one.count for one in moved)
        checks = {
            "payouts by state do not add up to all payouts": self._by_state() != self.received,
            f"{archived} payouts in the archive, {ordered} moved there": moved != self.archived,
            f"{self.intents} intents for {count} payouts": self.intents != count,
            f"{self.endings} endings for {ended} ended payouts": self.endings != ended,
            f"{self.ended_without_event} ended payouts without their event": bool(
                self.ended_without_event
            ),
            f"{self.events_without_end} completion events without that end": bool(
                self.events_without_end
            ),
        }
        return tuple(problem for problem, found in checks.items() if found)

    @property
    def balanced(self) -> bool:
        """Tell whether received = succeeded + failed + open, and each end has its one event."""
        return not self.problems

    def _by_state(self) -> dict[str, tuple[int, int]]:
        sums: dict[str, tuple[int, int]] = {}
        for one in self.states:
            count, minor = sums.get(one.currency, (0, 0))
            sums[one.currency] = (count + one.count, minor + one.amount_minor)
        return sums


@dataclass(frozen=True, slots=True, kw_only=True)
class PaidEntry:
    """One payment that succeeded, to be compared with the other side's ledger."""

    originator_conversation_id: str
    transaction_id: str | None
    amount_minor: int


_FACTS: Final = (
    "payout_id, run_id, state, currency, amount_minor, reason_class, reason_code, created_at,"
    " completed_at, originator_conversation_id, transaction_id"
)
_ALL: Final = f"(SELECT {_FACTS} FROM payouts UNION ALL SELECT {_FACTS} FROM archive) p"  # noqa: S608
_RUN: Final = text(f"""
SELECT state, currency, reason_class, reason_code, count(*) AS number,
    sum(amount_minor)::bigint AS minor, min(created_at) AS first_created_at,
    max(created_at) AS last_created_at, max(completed_at) AS last_completed_at,
    count(*) FILTER (WHERE completed_at
        > clock_timestamp() - make_interval(secs => :over_s)) AS ended_lately,
    extract(epoch FROM clock_timestamp() - min(created_at))::double precision AS age_s
FROM {_ALL} WHERE run_id = :run_id GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 5 DESC, 3, 4
""")  # noqa: S608
_ARCHIVED: Final = "archive p"
_MOVED: Final = """(
    SELECT state, currency, payouts AS many, amount_minor FROM archive_sums
) p"""


def _of(run_id: RunId | None) -> tuple[str, dict[str, Any]]:
    """Return the condition on `payouts p` and its parameter."""
    return ("true", {}) if run_id is None else ("p.run_id = :run_id", {"run_id": run_id})


async def run_summary_of(connection: AsyncConnection, run_id: RunId) -> RunSummary | None:
    """Return how a run stands, in one pass over it; None if no payout belongs to it."""
    found = await connection.execute(_RUN, {"run_id": run_id, "over_s": _RATE_OVER_S})
    rows = found.all()
    if not rows:
        return None
    reasons = tuple(
        ReasonTotal(
            state=State(row.state),
            currency=row.currency,
            klass=row.reason_class,
            code=row.reason_code,
            count=row.number,
            amount_minor=row.minor,
        )
        for row in rows
    )
    age_s = max(row.age_s for row in rows)
    return RunSummary(
        run_id=run_id,
        states=_by_state(reasons),
        reasons=reasons,
        first_created_at=min(row.first_created_at for row in rows),
        last_created_at=max(row.last_created_at for row in rows),
        last_completed_at=max(
            (row.last_completed_at for row in rows if row.last_completed_at is not None),
            default=None,
        ),
        ended_per_s=sum(row.ended_lately for row in rows) / max(1.0, min(_RATE_OVER_S, age_s)),
    )


def _by_state(reasons: Sequence[ReasonTotal]) -> tuple[StateTotal, ...]:
    sums: dict[tuple[State, str], tuple[int, int]] = {}
    for one in reasons:
        count, minor = sums.get((one.state, one.currency), (0, 0))
        sums[one.state, one.currency] = (count + one.count, minor + one.amount_minor)
    return _in_order(
        StateTotal(state=state, currency=currency, count=count, amount_minor=minor)
        for (state, currency), (count, minor) in sums.items()
    )


def _in_order(totals: Iterable[StateTotal]) -> tuple[StateTotal, ...]:
    order = list(State)
    return tuple(sorted(totals, key=lambda one: (order.index(one.state), one.currency)))


async def books_of(connection: AsyncConnection, run_id: RunId | None) -> BookTotals:
    """Return the totals of one run, or of all."""
    which, named = _of(run_id)

    async def count(statement: str) -> int:
        found = await connection.execute(text(statement.format(which=which)), named)
        return int(found.scalar_one())

    received = await connection.execute(
        text(
            "SELECT currency, count(*), sum(amount_minor)::bigint"  # noqa: S608
            f" FROM {_ALL} WHERE {which} GROUP BY 1"
        ),
        named,
    )
    return BookTotals(
        received={currency: (number, minor) for currency, number, minor in received},
        states=await _states(connection, run_id),
        archived=await _states(connection, run_id, _ARCHIVED),
        moved=await _states(connection, None, _MOVED) if run_id is None else None,
        intents=await count(_INTENTS),
        endings=await count(_ENDINGS),
        ended_without_event=await count(_ENDED_WITHOUT_EVENT),
        events_without_end=await count(_EVENTS_WITHOUT_END),
        unpublished=await count(_UNPUBLISHED),
        incidents=await count(_INCIDENTS),
    )


async def paid_entries_of(
    connection: AsyncConnection, run_id: RunId | None
) -> AsyncIterator[PaidEntry]:
    """Give every payout that succeeded, a page in memory at a time."""
    which, named = _of(run_id)
    statement = text(
        "SELECT originator_conversation_id, transaction_id, amount_minor"  # noqa: S608
        f" FROM {_ALL} WHERE p.state = 'succeeded' AND {which}"
    )
    result = await connection.stream(statement, named, execution_options={"yield_per": _PAGE})
    async for own_id, transaction_id, minor in result:
        yield PaidEntry(
            originator_conversation_id=own_id, transaction_id=transaction_id, amount_minor=minor
        )


async def _states(
    connection: AsyncConnection, run_id: RunId | None, among: str = _ALL
) -> tuple[StateTotal, ...]:
    which, named = _of(run_id)
    many = "sum(many)::bigint" if among is _MOVED else "count(*)"
    rows = await connection.execute(
        text(
            f"SELECT state, currency, {many}, sum(amount_minor)::bigint"  # noqa: S608
            f" FROM {among} WHERE {which} GROUP BY 1, 2"
        ),
        named,
    )
    return _in_order(
        StateTotal(state=State(state), currency=currency, count=count, amount_minor=minor)
        for state, currency, count, minor in rows
    )


_COMPLETION: Final = "e.type IN ('payout.succeeded', 'payout.failed')"
_INTENTS: Final = (
    "SELECT count(*) FROM timeline t JOIN payouts p ON p.id = t.payout"
    " WHERE t.from_state IS NULL AND t.to_state IS NOT NULL AND {which}"
)
_ENDINGS: Final = (
    "SELECT count(*) FROM timeline t JOIN payouts p ON p.id = t.payout"
    " WHERE t.to_state IN ('succeeded', 'failed') AND {which}"
)
_ENDED_WITHOUT_EVENT: Final = (
    "SELECT count(*) FROM payouts p WHERE p.completed_at IS NOT NULL AND {which}"  # noqa: S608
    " AND NOT EXISTS (SELECT FROM events e WHERE e.payout_id = p.payout_id"
    f" AND {_COMPLETION} AND e.type = 'payout.' || p.state)"
)
_EVENTS_WITHOUT_END: Final = (
    f"SELECT count(*) FROM events e LEFT JOIN {_ALL}"  # noqa: S608
    " ON p.payout_id = e.payout_id"
    f" WHERE {_COMPLETION} AND e.type IS DISTINCT FROM 'payout.' || p.state"
    " AND (p.payout_id IS NULL OR {which})"
)
_UNPUBLISHED: Final = (
    f"SELECT count(*) FROM events e LEFT JOIN {_ALL} ON p.payout_id = e.payout_id"  # noqa: S608
    " WHERE e.published_at IS NULL AND {which}"
)
_INCIDENTS: Final = (
    f"SELECT count(*) FROM incidents i LEFT JOIN {_ALL} ON p.payout_id = i.payout_id"  # noqa: S608
    " WHERE {which}"
)
