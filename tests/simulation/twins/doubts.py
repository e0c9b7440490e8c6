"""The twin's questions, proofs and second sends, as payouts/storage/doubts.py keeps them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

from payouts.domain.payout import Payout, ReasonSource, State
from payouts.domain.values import (
    AccountName,
    ConversationId,
    OriginatorConversationId,
    PayoutId,
    WorkerId,
)
from payouts.ports import Query
from tests.simulation.twins.books import Statement
from tests.simulation.twins.entering import Step
from tests.simulation.twins.rows import Line, QueryRow, changed
from tests.simulation.twins.session import Session
from tests.simulation.twins.sweeps import PROVEN, paused, standing_in


class Doubts(Session):
    """Keeps the proof by which a payout in doubt may be settled or sent again."""

    async def claim_doubts(
        self,
        accounts: Sequence[AccountName],
        *,
        now: datetime,
        until: datetime,
        limit: int,
    ) -> Sequence[Payout]:
        """Take `in_doubt` payouts that are due, pushing `next_action_at` to `until`."""

        def work(st: Statement) -> list[Payout]:
            due = [
                one
                for one in standing_in(st.tables, (State.IN_DOUBT,))
                if one.next_action_at is not None
                and one.next_action_at <= now
                and one.account in accounts
            ]
            due.sort(key=lambda one: one.next_action_at or now)
            claimed = [changed(one, {"next_action_at": until}) for one in due[:limit]]
            for before, after in zip(due, claimed, strict=False):
                st.update(before, after)
            return claimed

        return await self._call("claim_doubts", work)

    async def keep_doubts(
        self, payout_ids: Sequence[PayoutId], *, until: datetime
    ) -> Collection[PayoutId]:
        """Renew claims on doubts until `until`; return those that are still in doubt."""

        def work(st: Statement) -> set[PayoutId]:
            kept = set()
            for payout_id in payout_ids:
                payout = st.tables.payouts.get(payout_id)
                if payout is not None and payout.state is State.IN_DOUBT:
                    st.update(payout, changed(payout, {"next_action_at": until}))
                    kept.add(payout_id)
            return kept

        return await self._call("keep_doubts", work)

    async def record_query(self, query: Query, *, next_action_at: datetime, actor: str) -> None:
        """Write down, before it is sent, that a query goes out; counts `queries` up."""

        def work(st: Statement) -> None:
            if query.query_id in st.tables.queries:
                return
            st.query(QueryRow(query.query_id, query.payout_id, query.asked_at))
            payout = st.tables.payouts.get(query.payout_id)
            if payout is None:
                return
            if payout.state is State.IN_DOUBT:
                counted = {
                    "queries": payout.queries + 1,
                    "next_action_at": next_action_at,
                    "ask_now": False,
                }
                st.update(payout, changed(payout, counted))
            st.line(
                payout.payout_id,
                Line(
                    query.asked_at,
                    actor,
                    "query",
                    payout.attempts,
                    originator_conversation_id=query.query_id,
                ),
            )

        await self._call("record_query", work)

    async def attach_conversation(
        self, query_id: OriginatorConversationId, conversation_id: ConversationId
    ) -> None:
        """Keep the gateway's id of a query, so that a Result that names only it is matched."""

        def work(st: Statement) -> None:
            row = st.tables.queries.get(query_id)
            if row is not None and row.conversation_id is None:
                st.query(row._replace(conversation_id=conversation_id))

        await self._call("attach_conversation", work)

    async def record_not_found(
        self,
        payout_id: PayoutId,
        *,
        asked_at: datetime,
        grace_s: float,
        interval_s: float,
        next_action_at: datetime,
        actor: str,
        query_id: OriginatorConversationId | None,
    ) -> Payout | None:
        """Count a *not found*, if it counts, and tell how the payout stands (see the port)."""

        def work(st: Statement) -> Payout | None:
            payout = st.tables.payouts.get(payout_id)
            if payout is None:
                return None
            counts = _counts(st, payout, asked_at, grace_s, interval_s)
            after = payout
            if counts:
                after = changed(
                    payout,
                    {
                        "not_found_count": payout.not_found_count + 1,
                        "first_not_found_at": payout.first_not_found_at or asked_at,
                        "last_not_found_at": asked_at,
                        "next_action_at": next_action_at,
                    },
                )
                st.update(payout, after)
            told = f"counts as {after.not_found_count}" if counts else "does not count"
            line = Line(
                asked_at,
                actor,
                "not found",
                payout.attempts,
                source="query",
                detail=told,
                originator_conversation_id=query_id,
            )
            known = st.tables.timeline.get(payout_id, ())
            if not any(one.kind == "not found" and one.at == asked_at for one in known):
                st.line(payout_id, line)
            return after

        return await self._call("record_not_found", work)

    async def record_sighting(self, payout_id: PayoutId, *, seen_at: datetime, actor: str) -> None:
        """Forget counted *not found*: the gateway has shown that it knows the payout."""

        def work(st: Statement) -> None:
            payout = st.tables.payouts.get(payout_id)
            if payout is None or payout.state is not State.IN_DOUBT or not payout.not_found_count:
                return
            forgotten: dict[str, object] = {
                "not_found_count": 0,
                "first_not_found_at": None,
                "last_not_found_at": None,
            }
            st.update(payout, changed(payout, forgotten))
            line = Line(
                seen_at,
                actor,
                "sighted",
                payout.attempts,
                source="query",
                detail="the gateway knows it: earlier not found count no more",
            )
            st.line(payout_id, line)

        await self._call("record_sighting", work)

    async def postpone(self, payout_id: PayoutId, *, next_action_at: datetime | None) -> None:
        """Set when an in-doubt payout is looked at again; None leaves it to a person."""

        def work(st: Statement) -> None:
            payout = st.tables.payouts.get(payout_id)
            if payout is not None and payout.state is State.IN_DOUBT:
                st.update(payout, changed(payout, {"next_action_at": next_action_at}))

        await self._call("postpone", work)

    async def resend(
        self,
        payout_id: PayoutId,
        owner: WorkerId,
        *,
        now: datetime,
        grace_s: float,
        interval_s: float,
        by_policy: bool,
        actor: str,
    ) -> Payout | None:
        """Move an in-doubt payout to `submitting` under the same id, if the proof allows it."""

        def work(st: Statement) -> Payout | None:
            payout = st.tables.payouts.get(payout_id)
            if payout is None:
                return None
            proven = _proven(st, payout, grace_s, interval_s)
            if (proven or (by_policy and _by_policy(st, payout))) and _may_go(st, payout, now):
                kind = "resend by policy" if by_policy else "resend"
                return self._enter(st, payout, Step(State.SUBMITTING, now, actor, kind, owner))[0]
            if (
                payout.state is State.SUBMITTING
                and st.tables.came_from.get(payout_id) is State.IN_DOUBT
                and payout.owner == owner
                and payout.claimed_at == now
            ):
                return payout  # This very claim was committed without our hearing of it.
            return None

        return await self._call("resend", work)


def _counts(
    st: Statement, payout: Payout, asked_at: datetime, grace_s: float, interval_s: float
) -> bool:
    without = st.without
    if payout.state is not State.IN_DOUBT:
        return False
    if payout.queued and "not found queued" not in without:
        return False
    sent, last = payout.last_sent_at, payout.last_not_found_at
    early = sent is None or asked_at < sent + timedelta(seconds=grace_s)
    if early and "not found grace" not in without:
        return False
    if last is None:
        return True
    if asked_at <= last:
        return False  # The same answer, told again.
    return asked_at >= last + timedelta(seconds=interval_s) or "not found interval" in without


def _by_policy(st: Statement, payout: Payout) -> bool:
    """Tell whether the policy may send again: not what an answer says to have arrived."""
    reason = payout.reason
    arrived = reason is not None and (
        reason.source is ReasonSource.RESULT or reason.klass in {"duplicate", "refused-final"}
    )
    asked_first = payout.attempts == 0 or payout.ask_now
    return not asked_first and ("resend by policy" in st.without or not arrived)


def _proven(st: Statement, payout: Payout, grace_s: float, interval_s: float) -> bool:
    without = st.without
    first, last = payout.first_not_found_at, payout.last_not_found_at
    sent = payout.last_sent_at
    if first is None or last is None or sent is None:
        return False
    if payout.reason is not None and payout.reason.klass == "refused-final":
        return False
    return (
        (not payout.queued or "resend queued" in without)
        and (payout.not_found_count >= PROVEN or "resend proof count" in without)
        and (first >= sent + timedelta(seconds=grace_s) or "resend grace" in without)
        and (last >= first + timedelta(seconds=interval_s) or "resend interval" in without)
    )


def _may_go(st: Statement, payout: Payout, now: datetime) -> bool:
    without = st.without
    in_doubt = payout.state is State.IN_DOUBT or (
        "resend state" in without and not payout.ended and payout.state is not State.SUBMITTING
    )
    expired = payout.attempts == 0 and payout.not_after is not None and payout.not_after <= now
    return (
        in_doubt
        and (payout.held is None or "resend held" in without)
        and not expired
        and ("resend paused" in without or not paused(st, payout))
    )
