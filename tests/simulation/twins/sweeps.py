"""The twin's claims and moves by sweeps, as payouts/storage/sweeps.py makes them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final

from payouts.domain.events import Event
from payouts.domain.payout import HELD_RETURNED, Payout, Reason, ReasonSource, State
from payouts.domain.values import AccountName, PayoutId, WorkerId
from payouts.ports import Incident, IncidentKind, Returned
from tests.simulation.twins.books import Statement
from tests.simulation.twins.entering import Step
from tests.simulation.twins.rows import WorkerRow
from tests.simulation.twins.session import Session
from tests.simulation.twins.tables import Tables

RESTING: Final = (State.RECEIVED, State.WAITING)
PROVEN: Final = 2
_WHY: Final = {
    "overdue": "No Result has come within the deadline.",
    "restored": "The database was restored: it is asked about before it is sent (again).",
    "abandoned": "Its worker was lost while it was being sent.",
    "orphaned": "Its worker does not know of having it in flight.",
}
_EXPIRED: Final = Reason(
    source=ReasonSource.LOCAL,
    code="expired",
    klass="expired",
    description="Its not_after had passed before the first submission began; it was never sent.",
)
_DOUBTS: Final = {
    kind: Reason(source=ReasonSource.LOCAL, code=kind, klass="ambiguous", description=why)
    for kind, why in _WHY.items()
}


def standing_in(tables: Tables, states: Iterable[State]) -> list[Payout]:
    """Return the payouts in these states, in the order in which they entered them."""
    payouts = tables.payouts
    return [payouts[one] for state in states for one in tables.by_state[state]]


def paused(st: Statement, payout: Payout) -> bool:
    """Tell whether a payout's account or run is paused."""
    account = st.tables.accounts.get(payout.account)
    return (account is not None and account.paused) or payout.run_id in st.tables.runs_paused


def _due(payouts: Iterable[Payout], now: datetime, limit: int) -> list[Payout]:
    due = [one for one in payouts if one.next_action_at is not None and one.next_action_at <= now]
    due.sort(key=lambda one: one.next_action_at or now)
    return due[:limit]


class Sweeps(Session):
    """What any process may do at any time."""

    async def claim_due(
        self, owner: WorkerId, accounts: Sequence[AccountName], *, now: datetime, limit: int
    ) -> Sequence[Payout]:
        """Move due `received` and `waiting` payouts to `submitting` (see the port)."""

        def work(st: Statement) -> list[Payout]:
            states: tuple[State, ...] = RESTING
            if "claim state" in st.without:
                states = (*RESTING, State.IN_DOUBT)
            claimable = (
                one
                for one in standing_in(st.tables, states)
                if one.account in accounts and _claimable(st, one, now)
            )
            actor = f"worker {owner}"
            step = Step(State.SUBMITTING, now, actor, "claim", owner)
            return [self._enter(st, one, step)[0] for one in _due(claimable, now, limit)]

        return await self._call("claim_due", work)

    async def expire_unsent(self, *, now: datetime, limit: int, actor: str) -> Sequence[Event]:
        """End what expired unsent, of all accounts, paused or not; return the events."""

        def work(st: Statement) -> list[Event]:
            candidates = standing_in(st.tables, (*RESTING, State.IN_DOUBT))
            expired = [one for one in candidates if _expired(st, one, now)]
            expired.sort(key=lambda one: one.not_after or now)
            step = Step(State.FAILED, now, actor, "expired", None, _EXPIRED)
            events = [self._enter(st, one, step)[1] for one in expired[:limit]]
            return [event for event in events if event is not None]

        return await self._call("expire_unsent", work)

    async def find_returned(self, *, since: datetime, limit: int) -> Sequence[Returned]:
        """Return open payouts for which a Result came while nobody knew them (a restore)."""

        def work(st: Statement) -> list[Returned]:
            tables = st.tables
            found = [
                Returned(payout=one, incident=incident)
                for own_id, incidents in tables.unmatched.items()
                if own_id in tables.by_own_id
                for one in (tables.payouts[tables.by_own_id[own_id]],)
                for incident in incidents
                if _comes_back(tables, one, incident, since)
            ]
            numbers = tables.numbers
            found.sort(key=lambda one: (numbers[one.payout.payout_id], one.incident.at))
            return found[:limit]

        return await self._call("find_returned", work)

    async def record_stuck(self, *, before: datetime, limit: int) -> Sequence[Payout]:
        """Keep one incident for each payout that stands still since `before` (see the port)."""

        def work(st: Statement) -> list[Payout]:
            tables = st.tables
            living = [one for one in tables.workers.values() if one.lives]
            told = {one.payout_id for one in tables.incidents if one.kind is IncidentKind.STUCK}
            found = [
                one
                for one in standing_in(tables, tables.by_state)
                if one.created_at < before
                and one.payout_id not in told
                and (_stands_still(one) or not _served(living, one.account))
            ]
            found.sort(key=lambda one: one.created_at)
            for one in found[:limit]:
                st.incident(_stuck(one, self._far.now()))
            return found[:limit]

        return await self._call("record_stuck", work)

    async def mark_overdue(self, *, now: datetime, limit: int, actor: str) -> Sequence[PayoutId]:
        """Move `accepted` payouts whose deadline has passed to `in_doubt`, due now."""

        def work(st: Statement) -> list[PayoutId]:
            overdue = _due(standing_in(st.tables, (State.ACCEPTED,)), now, limit)
            first = _due(
                (
                    one
                    for one in standing_in(st.tables, RESTING)
                    if one.ask_now and one.held != HELD_RETURNED
                ),
                now,
                limit,
            )
            return [
                *self._doubt(st, overdue, "overdue", now, actor),
                *self._doubt(st, first, "restored", now, actor),
            ]

        return await self._call("mark_overdue", work)

    async def mark_abandoned(
        self, *, lease_s: float, now: datetime, limit: int, actor: str
    ) -> Sequence[PayoutId]:
        """Declare silent workers dead (database clock), and doubt what they had (see the port)."""

        def work(st: Statement) -> list[PayoutId]:
            silent_since = self._far.now() - timedelta(seconds=lease_s)
            living = set()
            for worker in st.tables.workers.values():
                if worker.lives and worker.heartbeat_at < silent_since:
                    st.worker(worker._replace(dead=True))
                elif worker.lives:
                    living.add(worker.number)
            if "abandoned only if silent" in st.without:
                living = set()
            left = [
                one
                for one in standing_in(st.tables, (State.SUBMITTING,))
                if one.owner not in living
            ]
            left.sort(key=lambda one: st.tables.numbers[one.payout_id])
            return self._doubt(st, left[:limit], "abandoned", now, actor)

        return await self._call("mark_abandoned", work)

    async def mark_orphaned(
        self, owner: WorkerId, in_flight: Sequence[PayoutId], *, before: datetime, now: datetime
    ) -> Sequence[PayoutId]:
        """Doubt `submitting` payouts of a living owner that it does not have in flight."""
        known = frozenset(in_flight)  # As they are when it is asked.

        def work(st: Statement) -> list[PayoutId]:
            flying: Collection[PayoutId] = () if "orphans in flight" in st.without else known
            orphans = [
                one
                for one in standing_in(st.tables, (State.SUBMITTING,))
                if one.owner == owner
                and one.claimed_at is not None
                and one.claimed_at < before
                and one.payout_id not in flying
            ]
            return self._doubt(st, orphans, "orphaned", now, f"worker {owner}")

        return await self._call("mark_orphaned", work)

    def _doubt(
        self, st: Statement, payouts: Sequence[Payout], kind: str, now: datetime, actor: str
    ) -> list[PayoutId]:
        reason = _DOUBTS[kind]
        for one in payouts:
            sent_at = one.claimed_at if kind in {"abandoned", "orphaned"} else None
            self._enter(st, one, Step(State.IN_DOUBT, now, actor, kind, None, reason, now, sent_at))
        return [one.payout_id for one in payouts]


def _comes_back(tables: Tables, one: Payout, incident: Incident, since: datetime) -> bool:
    if one.held == HELD_RETURNED:
        return one.state is State.RECEIVED
    heard = tables.timeline.get(one.payout_id, ())
    return (
        not one.ended
        and incident.at >= since
        and not any(line.source == "result" or line.kind == "returned" for line in heard)
    )


def _claimable(st: Statement, one: Payout, now: datetime) -> bool:
    without = st.without
    expired = one.submitted_at is None and one.not_after is not None and one.not_after <= now
    return (
        (one.held is None or "claim held" in without)
        and (not one.ask_now or "claim ask first" in without)
        and (not expired or "claim expired" in without)
        and ("claim paused" in without or not paused(st, one))
    )


def _expired(st: Statement, one: Payout, now: datetime) -> bool:
    if one.not_after is None or one.not_after > now:
        return False
    if one.state is State.IN_DOUBT:
        unknown = one.attempts == 0 and one.not_found_count >= PROVEN and not one.queued
        return unknown and "expired doubt" in st.without
    unsent = one.submitted_at is None or "expired unsent only" in st.without
    asked_first = one.ask_now and "expired ask first" not in st.without
    return unsent and not asked_first and one.held != HELD_RETURNED


def _served(living: Sequence[WorkerRow], account: AccountName) -> bool:
    return any(account in one.accounts or not one.accounts for one in living)


def _stands_still(one: Payout) -> bool:
    return (
        one.held is not None
        or one.state is State.WAITING
        or (one.state is State.IN_DOUBT and one.next_action_at is None)
    )


def _stuck(one: Payout, at: datetime) -> Incident:
    return Incident(
        kind=IncidentKind.STUCK,
        at=at,
        payout_id=one.payout_id,
        originator_conversation_id=one.originator_conversation_id,
        conversation_id=one.conversation_id,
        detail=f"held: {one.held}"
        if one.held is not None
        else f"it stands still as {one.state.value} since {one.created_at:%Y-%m-%d}",
    )
