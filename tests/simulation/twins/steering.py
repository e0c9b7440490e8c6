"""The twin's orders about accounts, runs and the whole database, and its audit.

As payouts/storage/steering.py and audit.py have them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, timedelta

from payouts.domain.payout import HELD_RUN, State
from payouts.domain.values import AccountName, RunId
from payouts.ports import Action, AuditCheck, AuditEntry, Order
from payouts.storage.audit import NOTHING_BEFORE, hash_of
from payouts.storage.steps import MAX_DESCRIPTION, storable
from tests.simulation.twins.accounts import set_paused
from tests.simulation.twins.books import Statement
from tests.simulation.twins.constraints import refuse
from tests.simulation.twins.rows import changed
from tests.simulation.twins.session import Session
from tests.simulation.twins.sweeps import RESTING, standing_in


class Steering(Session):
    """Steers accounts and runs; keeps the audit."""

    async def set_account_paused(self, name: AccountName, *, paused: bool, order: Order) -> None:
        """Pause or resume an account; resuming forgets its refusals and its last balance."""

        def work(st: Statement) -> None:
            action = Action.PAUSE_ACCOUNT if paused else Action.RESUME_ACCOUNT
            write_line(st, action, name, order, {})
            set_paused(st, name, paused=paused, reason=_because(order), at=order.at)

        await self._call("set_account_paused", work)

    async def set_run_paused(self, run_id: RunId, *, paused: bool, order: Order) -> None:
        """Pause a run: nothing more is sent of it; what is on its way goes on. Or resume it."""

        def work(st: Statement) -> None:
            action = Action.PAUSE_RUN if paused else Action.RESUME_RUN
            write_line(st, action, run_id, order, {})
            if not paused:
                st.run(run_id, None)
            elif run_id not in st.tables.runs_paused:
                st.run(run_id, _because(order))

        hold = _hold_run if paused else _release_run
        if not paused:  # While the run is still paused, so that nothing is left held.
            await self._call("set_run_paused", lambda st: hold(st, run_id))
        await self._call("set_run_paused", work)
        await self._call("set_run_paused", lambda st: hold(st, run_id))

    async def paused_runs(self) -> Mapping[RunId, str]:
        """Return the runs that are paused, and why."""
        return await self._call(
            "paused_runs", lambda st: dict(sorted(st.tables.runs_paused.items()))
        )

    async def note_order(
        self, action: Action, subject: str, order: Order, details: Mapping[str, str]
    ) -> None:
        """Write an audit line for what is done outside the database, before it is done."""
        await self._call("note_order", lambda st: write_line(st, action, subject, order, details))

    async def restored(self, order: Order, *, ask_first_s: float) -> int:
        """Tell that the database was restored: pause all, ask about all that is open first."""

        def work(st: Statement) -> int:
            until = order.at + timedelta(seconds=ask_first_s)
            reason = f"the database was restored: {_because(order)}"
            for row in st.tables.accounts.values():
                st.account(
                    row._replace(
                        paused=True,
                        paused_reason=reason,
                        paused_at=row.paused_at or order.at,
                        ask_first_until=until,
                    )
                )
            for worker in st.tables.workers.values():
                if worker.lives:
                    st.worker(worker._replace(dead=True))
            opened = standing_in(st.tables, st.tables.by_state)
            forgotten: dict[str, object] = {
                "ask_now": True,
                "not_found_count": 0,
                "first_not_found_at": None,
                "last_not_found_at": None,
            }
            for payout in opened:
                due = None if payout.state is State.SUBMITTING else order.at
                st.update(payout, changed(payout, {**forgotten, "next_action_at": due}))
            details = {"asked about first": str(len(opened)), "new ones until": until.isoformat()}
            write_line(st, Action.RESTORED, "database", order, details)
            return len(opened)

        return await self._call("restored", work)

    async def audit_lines(self, *, before: int | None, limit: int) -> Sequence[AuditEntry]:
        """Return lines of the audit, newest first, older than line `before`."""

        def work(st: Statement) -> list[AuditEntry]:
            lines = reversed(st.tables.audit)
            return [one for one in lines if before is None or one.number < before][:limit]

        return await self._call("audit_lines", work)

    async def check_audit(self) -> AuditCheck:
        """Compute the whole chain anew."""

        def work(st: Statement) -> AuditCheck:
            number, head = 0, NOTHING_BEFORE
            for entry in st.tables.audit:
                if entry.number != number + 1 or entry.hash != hash_of(entry, head):
                    return AuditCheck(entries=number, head=head, broken_at=number + 1)
                number, head = entry.number, entry.hash
            return AuditCheck(entries=number, head=head, broken_at=None)

        return await self._call("check_audit", work)


def write_line(
    st: Statement, action: Action, subject: str, order: Order, details: Mapping[str, str]
) -> None:
    """Add a line to the audit.

    Raises:
        StoreRefusedError: the order names nobody, or no reason.
    """
    audit = st.tables.audit
    previous = audit[-1].hash if audit else NOTHING_BEFORE
    entry = AuditEntry(
        number=len(audit) + 1,
        at=order.at.astimezone(UTC),
        operator=_said(order.operator),
        action=action.value,
        subject=_said(subject),
        reason=_said(order.reason),
        details={_said(key): _said(value) for key, value in details.items()},
    )
    if not entry.operator or not entry.reason:
        refuse("audit_names_somebody")
    st.note_audit(replace(entry, hash=hash_of(entry, previous)))


def _hold_run(st: Statement, run_id: RunId) -> None:
    for payout in standing_in(st.tables, RESTING):
        if payout.run_id == run_id and payout.held is None:
            st.update(payout, changed(payout, {"held": HELD_RUN}))


def _release_run(st: Statement, run_id: RunId) -> None:
    for payout in standing_in(st.tables, st.tables.by_state):
        if payout.run_id == run_id and payout.held == HELD_RUN:
            st.update(payout, changed(payout, {"held": None}))


def _because(order: Order) -> str:
    return f"{order.reason.strip()} ({order.operator})"


def _said(words: str) -> str:
    return storable(words.strip(), MAX_DESCRIPTION) or ""
