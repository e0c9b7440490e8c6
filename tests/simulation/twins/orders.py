"""The twin's orders about payouts, as payouts/storage/orders.py and retries.py carry them out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Final

from payouts.domain.payout import (
    HELD_CONTRADICTED,
    HELD_RETURNED,
    HELD_RUN,
    Payout,
    Reason,
    ReasonSource,
    State,
)
from payouts.domain.values import OriginatorConversationId, PayoutId, TransactionId, retry_ids_for
from payouts.ports import Action, Carried, IncidentKind, Order
from tests.simulation.twins.books import Statement
from tests.simulation.twins.entering import Step
from tests.simulation.twins.rows import Line, changed
from tests.simulation.twins.steering import Steering, write_line

RESOLVED_NOT_PAID: Final = "resolved_not_paid"
MOST_SUBMISSIONS: Final = 99
_RESTING: Final = frozenset({State.RECEIVED, State.WAITING})
_ASKABLE: Final = frozenset({State.ACCEPTED, State.IN_DOUBT})
_AGAINST: Final = frozenset({IncidentKind.CONTRADICTION, IncidentKind.MISMATCH})
_CANCELLED: Final = Reason(
    source=ReasonSource.OPERATOR,
    code="cancelled",
    klass="cancelled",
    description="An operator cancelled it; nothing of it was on its way.",
)
_SEEN_PAID: Final = Reason(
    source=ReasonSource.OPERATOR,
    code="resolved_paid",
    klass="completed",
    description="An operator has seen its receipt.",
)
_NOT_PAID: Final = Reason(
    source=ReasonSource.OPERATOR,
    code=RESOLVED_NOT_PAID,
    klass="resolved",
    description="An operator has evidence that it was not paid; see the audit.",
)

_Act = Callable[[Statement, Payout], Carried]


class Orders(Steering):
    """Carries out what people order about one payout: guard, change and audit in one commit."""

    async def retry(self, payout_id: PayoutId, order: Order) -> Carried:
        """Make a second submission of a payout that has conclusively failed (see the port)."""

        def act(st: Statement, payout: Payout) -> Carried:
            refusal = _why_not_retried(st, payout, order)
            if refusal is not None:
                return Carried(payout=payout, refusal=refusal)
            return _submit_again(st, payout, order)

        return await self._carry(Action.RETRY, payout_id, order, act)

    async def cancel(self, payout_id: PayoutId, order: Order) -> Carried:
        """End a payout of which nothing is on its way, as failed."""

        def act(st: Statement, payout: Payout) -> Carried:
            unsent = payout.state in _RESTING and not (
                payout.ask_now or payout.held == HELD_RETURNED
            )
            if payout.ended or not (unsent or "cancel unsent only" in st.without):
                return Carried(payout=payout, refusal="It may be on its way, or has ended.")
            return self._ended(st, payout, State.FAILED, order, _CANCELLED)

        return await self._carry(Action.CANCEL, payout_id, order, act)

    async def resolve_paid(self, payout_id: PayoutId, receipt: str, order: Order) -> Carried:
        """End a payout in doubt as succeeded, by the receipt that a person has seen."""

        def act(st: Statement, payout: Payout) -> Carried:
            refusal = _why_not_resolved(st, payout)
            if refusal is None and any(
                one.transaction_id == receipt for one in st.tables.payouts.values()
            ):
                refusal = "The receipt belongs to another payout; look at the statement again."
            if refusal is not None:
                return Carried(payout=payout, refusal=refusal)
            return self._ended(
                st, payout, State.SUCCEEDED, order, _SEEN_PAID, TransactionId(receipt)
            )

        return await self._carry(Action.RESOLVE_PAID, payout_id, order, act, {"receipt": receipt})

    async def resolve_not_paid(
        self, payout_id: PayoutId, order: Order, *, settled_s: float
    ) -> Carried:
        """End a payout in doubt as failed, by the evidence that `order.reason` is."""

        def act(st: Statement, payout: Payout) -> Carried:
            refusal = _why_not_resolved(st, payout)
            settled_at = (payout.last_sent_at or order.at) + timedelta(seconds=settled_s)
            early = order.at < settled_at and "resolve settled" not in st.without
            if refusal is None and early:
                refusal = f"It was sent too short a time ago; not before {settled_at}."
            if refusal is not None:
                return Carried(payout=payout, refusal=refusal)
            return self._ended(st, payout, State.FAILED, order, _NOT_PAID)

        return await self._carry(Action.RESOLVE_NOT_PAID, payout_id, order, act)

    async def hold(self, payout_id: PayoutId, order: Order) -> Carried:
        """Send nothing (more) for an open payout until it is released."""

        def act(st: Statement, payout: Payout) -> Carried:
            if payout.ended or payout.held is not None:
                return Carried(payout=payout, refusal="It has ended, or is held already.")
            held = f"held by operator {order.operator.strip()}"
            return _changed(st, payout, order, "hold", {"held": held})

        return await self._carry(Action.HOLD, payout_id, order, act)

    async def release(self, payout_id: PayoutId, order: Order) -> Carried:
        """Let a held payout go on, where nothing else forbids it."""

        def act(st: Statement, payout: Payout) -> Carried:
            fast = payout.held in {None, HELD_RUN, HELD_CONTRADICTED} or (
                payout.held == HELD_RETURNED and payout.state is State.RECEIVED
            )
            if fast:
                return Carried(payout=payout, refusal="It is not held, or by what stays.")
            changes: dict[str, object] = {"held": None}
            if payout.state in _RESTING:
                changes["next_action_at"] = order.at
            return _changed(st, payout, order, "release", changes)

        return await self._carry(Action.RELEASE, payout_id, order, act)

    async def ask_now(self, payout_id: PayoutId, order: Order) -> Carried:
        """Have the gateway asked about a payout that is accepted or in doubt, at once."""

        def act(st: Statement, payout: Payout) -> Carried:
            if payout.state not in _ASKABLE:
                return Carried(payout=payout, refusal="There is nothing to ask about.")
            changes: dict[str, object] = {"ask_now": True, "next_action_at": order.at}
            return _changed(st, payout, order, "ask now", changes)

        return await self._carry(Action.RECONCILE, payout_id, order, act)

    async def republish(self, payout_id: PayoutId, order: Order) -> Carried:
        """Have the completion event of an ended payout published again, with the same id."""

        def act(st: Statement, payout: Payout) -> Carried:
            if not payout.ended:
                return Carried(payout=payout, refusal="It has not ended; it has no event yet.")
            st.publish_completion_again(payout_id)
            return Carried(payout=payout, event=self._completion_event(payout))

        return await self._carry(Action.REPUBLISH, payout_id, order, act)

    async def _carry(
        self,
        action: Action,
        payout_id: PayoutId,
        order: Order,
        act: _Act,
        details: Mapping[str, str] | None = None,
    ) -> Carried:
        def work(st: Statement) -> Carried:
            payout = st.tables.payouts.get(payout_id)
            if payout is None:
                return Carried(payout=None, refusal=f"No payout has the id {payout_id}.")
            carried = act(st, payout)
            if carried.done and carried.payout is not None:
                facts = {**(details or {}), "state": carried.payout.state.value}
                if carried.payout.payout_id != payout_id:
                    facts["submission"] = carried.payout.payout_id
                write_line(st, action, payout_id, order, facts)
            return carried

        by = "ask_now" if action is Action.RECONCILE else action.value.replace("-", "_")
        return await self._call(by, work)

    def _ended(
        self,
        st: Statement,
        payout: Payout,
        to: State,
        order: Order,
        reason: Reason,
        receipt: TransactionId | None = None,
    ) -> Carried:
        step = Step(to, order.at, _actor(order), "operator", reason=reason, transaction_id=receipt)
        ended, event = self._enter(st, payout, step)
        return Carried(payout=ended, event=event)


def _actor(order: Order) -> str:
    return f"operator {order.operator.strip()}"


def _changed(
    st: Statement, payout: Payout, order: Order, kind: str, changes: Mapping[str, object]
) -> Carried:
    after = changed(payout, changes)
    st.update(payout, after)
    st.line(payout.payout_id, _line(order, kind, payout, after.held if kind == "hold" else None))
    return Carried(payout=after)


def _line(order: Order, kind: str, payout: Payout, detail: str | None) -> Line:
    return Line(order.at, _actor(order), kind, payout.attempts, source="operator", detail=detail)


def _why_not_resolved(st: Statement, payout: Payout) -> str | None:
    if payout.state is State.IN_DOUBT:
        return None
    if not payout.ended and "resolve in doubt only" in st.without:
        return None
    return "It is not in doubt; nobody needs to say how it ended."


def _root_of(st: Statement, payout: Payout) -> tuple[Payout, list[PayoutId]]:
    """Return the first submission, and the ids of all from this one back to it."""
    chain = [payout.payout_id]
    while payout.retry_of is not None:
        payout = st.tables.payouts[payout.retry_of]
        chain.append(payout.payout_id)
    return payout, chain


def _why_not_retried(st: Statement, payout: Payout, order: Order) -> str | None:
    without = st.without
    if payout.state is not State.FAILED and "retry only failed" not in without:
        return "It is not known to have failed."
    if payout.payout_id in st.tables.retried and "retry once" not in without:
        return "It was submitted again; look at that one."
    chain = _root_of(st, payout)[1]
    against = any(one.payout_id in chain and one.kind in _AGAINST for one in st.tables.incidents)
    if against and "retry contradicted" not in without:
        return "An incident contradicts that it was not paid."
    if payout.reason is None or payout.reason.code != RESOLVED_NOT_PAID:
        return None
    by = next(
        (
            entry.operator
            for entry in reversed(st.tables.audit)
            if entry.subject == payout.payout_id and entry.action == Action.RESOLVE_NOT_PAID.value
        ),
        None,
    )
    same = by is None or by.casefold() == order.operator.strip().casefold()
    if same and "retry four eyes" not in without:
        return "Another operator has to order the retry (four eyes)."
    return None


def _asked_first(st: Statement, payout: Payout, order: Order) -> bool:
    account = st.tables.accounts.get(payout.account)
    until = None if account is None else account.ask_first_until
    return until is not None and order.at < until


def _submit_again(st: Statement, payout: Payout, order: Order) -> Carried:
    root, chain = _root_of(st, payout)
    for number in range(len(chain) + 1, MOST_SUBMISSIONS + 1):
        second_id, own_id = retry_ids_for(
            OriginatorConversationId(root.originator_conversation_id), root.payout_id, number
        )
        if second_id not in st.tables.payouts:
            break
    else:
        return Carried(payout=payout, refusal="It was submitted too often; publish a new command.")
    second = Payout(
        payout_id=second_id,
        account=payout.account,
        amount_minor=payout.amount_minor,
        currency=payout.currency,
        msisdn=payout.msisdn,
        command_id=payout.command_id,
        originator_conversation_id=own_id,
        state=State.RECEIVED,
        created_at=order.at,
        run_id=payout.run_id,
        remark=payout.remark,
        occasion=payout.occasion,
        metadata=payout.metadata,
        next_action_at=order.at,
        retry_of=payout.payout_id,
        held=HELD_RETURNED if own_id in st.tables.unmatched else None,
        ask_now=_asked_first(st, payout, order),
    )
    st.insert(second)
    first_line = _line(order, "retry", second, f"submitted again after {payout.payout_id}")
    st.line(second_id, first_line._replace(to_state=State.RECEIVED))
    st.line(payout.payout_id, _line(order, "retry", payout, f"submitted again as {second_id}"))
    return Carried(payout=second)
