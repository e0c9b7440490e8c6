"""Carries out what people order: each order, its guard and its audit line are one commit.

The payout's row is locked first, so that what the guard sees is what the order changes; the
statements and the triggers guard once more.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Final

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection

from payouts.domain.payout import (
    HELD_CONTRADICTED,
    HELD_RETURNED,
    HELD_RUN,
    Payout,
    Reason,
    ReasonSource,
    State,
)
from payouts.domain.values import PayoutId, TransactionId
from payouts.ports import Action, Carried, Move, Order
from payouts.storage import audit
from payouts.storage.archive import TELL_AGAIN, archived
from payouts.storage.parts import Context
from payouts.storage.retries import RESOLVED_NOT_PAID, submit_again
from payouts.storage.rows import columns, completion_event_of, payout_of
from payouts.storage.steering import Steering
from payouts.storage.steps import NAMED, arrays_of, entering
from payouts.storage.transitions import MOVE_GUARD, MOVE_NAMES, MOVE_STEPS, move_row

_LOCKED: Final = text(
    f"SELECT {columns('p')} FROM payouts p WHERE p.payout_id = :payout_id FOR UPDATE"  # noqa: S608
)
_CHANGED: Final = f"RETURNING {columns('p')}"
_HOLD: Final = text(
    "UPDATE payouts p SET held = :held"  # noqa: S608
    f" WHERE p.payout_id = :payout_id AND p.completed_at IS NULL {_CHANGED}"
)
# `received` and `waiting` go on at once.
_RELEASE: Final = text(f"""
UPDATE payouts p SET held = NULL, next_action_at = CASE WHEN p.state IN ('received', 'waiting')
    THEN CAST(:at AS timestamptz) ELSE p.next_action_at END
WHERE p.payout_id = :payout_id AND p.held IS NOT NULL {_CHANGED}
""")  # noqa: S608
_ASK: Final = text(f"""
UPDATE payouts p SET ask_now = true, next_action_at = CAST(:at AS timestamptz)
WHERE p.payout_id = :payout_id AND p.state IN ('accepted', 'in_doubt') {_CHANGED}
""")  # noqa: S608
_REPUBLISH: Final = text("""
UPDATE events SET published_at = NULL, hidden_until = NULL
WHERE payout_id = :payout_id AND type IN ('payout.succeeded', 'payout.failed')
""")
_NOTE: Final = text("""
INSERT INTO timeline (payout, at, actor, kind, attempt, source, detail)
SELECT p.id, CAST(:at AS timestamptz), :actor, :kind, p.attempts, 'operator', :detail
FROM payouts p WHERE p.payout_id = :payout_id
""")
# Two people who read the same line of a statement for two payouts come one after the other.
_ONE_RECEIPT_AT_A_TIME: Final = text("SELECT pg_advisory_xact_lock(727003)")
_RECEIPT_OF: Final = text("""
SELECT payout_id FROM payouts WHERE transaction_id = :receipt
UNION ALL
SELECT payout_id FROM archive WHERE transaction_id = :receipt
LIMIT 1
""")

_Act = Callable[[AsyncConnection, Payout], Awaitable[Carried]]


class PostgresOrders(Steering):
    """Fulfils `Orders` on the books."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._end = entering(MOVE_STEPS, join=NAMED, guard=MOVE_GUARD, progress=False)

    async def retry(self, payout_id: PayoutId, order: Order) -> Carried:
        """Make a second submission of a payout that has conclusively failed (see the port)."""

        async def act(connection: AsyncConnection, payout: Payout) -> Carried:
            made = await submit_again(connection, payout, order, actor=_actor(order))
            if isinstance(made, str):
                return Carried(payout=payout, refusal=made)
            return Carried(payout=made)

        return await self._carry(Action.RETRY, payout_id, order, act)

    async def cancel(self, payout_id: PayoutId, order: Order) -> Carried:
        """End a payout of which nothing is on its way, as failed."""

        async def act(connection: AsyncConnection, payout: Payout) -> Carried:
            refusal = _why_not_cancelled(payout)
            if refusal is not None:
                return Carried(payout=payout, refusal=refusal)
            reason = Reason(
                source=ReasonSource.OPERATOR,
                code="cancelled",
                klass="cancelled",
                description="An operator cancelled it; nothing of it was on its way.",
            )
            return await self._ended(connection, payout, State.FAILED, order, reason)

        return await self._carry(Action.CANCEL, payout_id, order, act)

    async def resolve_paid(self, payout_id: PayoutId, receipt: str, order: Order) -> Carried:
        """End a payout in doubt as succeeded, by the receipt that a person has seen."""

        async def act(connection: AsyncConnection, payout: Payout) -> Carried:
            refusal = _why_not_resolved(payout)
            await connection.execute(_ONE_RECEIPT_AT_A_TIME)
            found = await connection.execute(_RECEIPT_OF, {"receipt": receipt})
            other = found.scalar_one_or_none()
            if refusal is None and other is not None:
                refusal = f"The receipt belongs to payout {other}; look at the statement again."
            if refusal is not None:
                return Carried(payout=payout, refusal=refusal)
            reason = Reason(
                source=ReasonSource.OPERATOR,
                code="resolved_paid",
                klass="completed",
                description="An operator has seen its receipt.",
            )
            return await self._ended(
                connection, payout, State.SUCCEEDED, order, reason, receipt=receipt
            )

        return await self._carry(
            Action.RESOLVE_PAID, payout_id, order, act, details={"receipt": receipt}
        )

    async def resolve_not_paid(
        self, payout_id: PayoutId, order: Order, *, settled_s: float
    ) -> Carried:
        """End a payout in doubt as failed, by the evidence that `order.reason` is."""

        async def act(connection: AsyncConnection, payout: Payout) -> Carried:
            refusal = _why_not_resolved(payout)
            settled_at = (payout.last_sent_at or order.at) + timedelta(seconds=settled_s)
            if refusal is None and order.at < settled_at:
                refusal = (
                    "It was sent too short a time ago to say that it was not paid; not before"
                    f" {settled_at:%Y-%m-%d %H:%M:%S} UTC."
                )
            if refusal is not None:
                return Carried(payout=payout, refusal=refusal)
            reason = Reason(
                source=ReasonSource.OPERATOR,
                code=RESOLVED_NOT_PAID,
                klass="resolved",
                description="An operator has evidence that it was not paid; see the audit.",
            )
            return await self._ended(connection, payout, State.FAILED, order, reason)

        return await self._carry(Action.RESOLVE_NOT_PAID, payout_id, order, act)

    async def hold(self, payout_id: PayoutId, order: Order) -> Carried:
        """Send nothing (more) for an open payout until it is released."""

        async def act(connection: AsyncConnection, payout: Payout) -> Carried:
            if payout.ended:
                return Carried(payout=payout, refusal="It has ended; nothing more is sent for it.")
            if payout.held is not None:
                return Carried(payout=payout, refusal=f"It is held already: {payout.held}.")
            held = f"held by operator {order.operator.strip()}"
            named = {"payout_id": payout_id, "held": held}
            return await self._changed(connection, _HOLD, named, order, kind="hold")

        return await self._carry(Action.HOLD, payout_id, order, act)

    async def release(self, payout_id: PayoutId, order: Order) -> Carried:
        """Let a held payout go on, where nothing else forbids it."""

        async def act(connection: AsyncConnection, payout: Payout) -> Carried:
            refusal = _why_not_released(payout)
            if refusal is not None:
                return Carried(payout=payout, refusal=refusal)
            named = {"payout_id": payout_id, "at": order.at}
            return await self._changed(connection, _RELEASE, named, order, kind="release")

        return await self._carry(Action.RELEASE, payout_id, order, act)

    async def ask_now(self, payout_id: PayoutId, order: Order) -> Carried:
        """Have the gateway asked about a payout that is accepted or in doubt, at once."""

        async def act(connection: AsyncConnection, payout: Payout) -> Carried:
            if payout.state not in {State.ACCEPTED, State.IN_DOUBT}:
                refusal = _NOTHING_TO_ASK.get(payout.state, "It has ended.")
                return Carried(payout=payout, refusal=refusal)
            named = {"payout_id": payout_id, "at": order.at}
            return await self._changed(connection, _ASK, named, order, kind="ask now")

        return await self._carry(Action.RECONCILE, payout_id, order, act)

    async def republish(self, payout_id: PayoutId, order: Order) -> Carried:
        """Have the completion event of an ended payout published again, with the same id."""

        async def act(connection: AsyncConnection, payout: Payout) -> Carried:
            if not payout.ended:
                return Carried(payout=payout, refusal="It has not ended; it has no event yet.")
            if payout.archived_at is None:
                await connection.execute(_REPUBLISH, {"payout_id": payout_id})
            else:
                await connection.execute(TELL_AGAIN, {"payout_ids": [payout_id]})
            event = completion_event_of(payout, show_msisdn=self._context.show_msisdn)
            return Carried(payout=payout, event=event)

        return await self._carry(Action.REPUBLISH, payout_id, order, act)

    async def _carry(
        self,
        action: Action,
        payout_id: PayoutId,
        order: Order,
        act: _Act,
        *,
        details: dict[str, str] | None = None,
    ) -> Carried:
        """Lock the payout, act, and write the audit's line, in one commit."""
        async with self._database.transaction() as connection:
            row = (await connection.execute(_LOCKED, {"payout_id": payout_id})).first()
            if row is None:
                payout = (await archived(self._database, [payout_id])).get(payout_id)
            else:
                payout = payout_of(row)
            if payout is None:
                return Carried(payout=None, refusal=f"No payout has the id {payout_id}.")
            carried = await act(connection, payout)
            if carried.done and carried.payout is not None:
                stands = {"state": carried.payout.state.value}
                if carried.payout.payout_id != payout_id:
                    stands["submission"] = carried.payout.payout_id
                facts = {**(details or {}), **stands}
                await audit.write_line(connection, action, payout_id, order, facts)
            return carried

    async def _ended(
        self,
        connection: AsyncConnection,
        payout: Payout,
        to: State,
        order: Order,
        reason: Reason,
        *,
        receipt: str | None = None,
    ) -> Carried:
        move = Move(
            payout_id=payout.payout_id,
            to=to,
            sources=frozenset({payout.state}),
            at=order.at,
            actor=_actor(order),
            kind="operator",
            attempt=payout.attempts,
            reason=reason,
            transaction_id=None if receipt is None else TransactionId(receipt),
        )
        rows = await connection.execute(self._end, arrays_of(MOVE_NAMES, [move_row(move)]))
        ended = payout_of(rows.one())
        event = completion_event_of(ended, show_msisdn=self._context.show_msisdn)
        return Carried(payout=ended, event=event)

    async def _changed(
        self,
        connection: AsyncConnection,
        statement: TextClause,
        named: Mapping[str, object],
        order: Order,
        *,
        kind: str,
    ) -> Carried:
        row = (await connection.execute(statement, named)).one()
        await connection.execute(
            _NOTE,
            {
                "payout_id": named["payout_id"],
                "at": order.at,
                "actor": _actor(order),
                "kind": kind,
                "detail": named.get("held"),
            },
        )
        return Carried(payout=payout_of(row))


def _actor(order: Order) -> str:
    return f"operator {order.operator.strip()}"


def _why_not_cancelled(payout: Payout) -> str | None:
    if payout.state in {State.RECEIVED, State.WAITING}:
        if payout.ask_now or payout.held == HELD_RETURNED:
            return "It may have been sent before the database was restored; it is asked about."
        return None
    return _NOT_CANCELLED[payout.state]


def _why_not_resolved(payout: Payout) -> str | None:
    if payout.state is State.IN_DOUBT:
        return None
    if payout.ended:
        return f"It has ended as {payout.state.value}, which nothing overwrites."
    return f"It is {payout.state.value}, not in doubt; nobody needs to say how it ended."


def _why_not_released(payout: Payout) -> str | None:
    match payout.held:
        case None:
            return "It is not held."
        case str() as why if why == HELD_RUN:
            return "Its run is paused; `payouts resume --run` lets the whole run go on."
        case str() as why if why == HELD_CONTRADICTED:
            return "An earlier submission may have been paid after all; cancel this one."
        case str() as why if why == HELD_RETURNED and payout.state is State.RECEIVED:
            return "A Result came for it; that Result is applied by itself within seconds."
        case _:
            return None


_NOTHING_TO_ASK: Final = {
    State.RECEIVED: "It was not sent yet; there is nothing to ask about.",
    State.SUBMITTING: "It is being sent at this moment; its answer comes first.",
    State.WAITING: "Its last send was surely not taken; there is nothing to ask about.",
}
_NOT_CANCELLED: Final = {
    State.SUBMITTING: "It is being sent at this moment.",
    State.ACCEPTED: "The gateway has taken it; its Result is to come.",
    State.IN_DOUBT: "It may have been paid; `payouts reconcile` asks the gateway now.",
    State.SUCCEEDED: "It was paid.",
    State.FAILED: "It has failed already.",
}
