"""Orders about accounts, runs, the whole database, and what is done outside of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Final

from sqlalchemy import text

from payouts.domain.payout import HELD_RUN
from payouts.domain.values import AccountName, RunId
from payouts.ports import Action, AuditCheck, AuditEntry, Order
from payouts.storage import audit
from payouts.storage.accounts import PAUSE
from payouts.storage.parts import Part
from payouts.storage.rows import is_open

MAX_LINES: Final = 10_000
_BATCH: Final = 5000

_PAUSE_RUN: Final = text("""
INSERT INTO paused_runs (run_id, reason, paused_at)
VALUES (:run_id, :reason, CAST(:at AS timestamptz)) ON CONFLICT (run_id) DO NOTHING
""")
_RESUME_RUN: Final = text("DELETE FROM paused_runs WHERE run_id = :run_id")
_PAUSED_RUNS: Final = text("SELECT run_id, reason FROM paused_runs ORDER BY run_id LIMIT :limit")
# What is not on its way is held row by row, so that no sweep looks at it again and again.
_HOLD_RUN: Final = text("""
WITH picked AS (
    SELECT id FROM payouts WHERE run_id = :run_id AND state IN ('received', 'waiting')
        AND held IS NULL ORDER BY id LIMIT :limit FOR UPDATE
)
UPDATE payouts p SET held = :held FROM picked WHERE p.id = picked.id RETURNING p.id
""")
_RELEASE_RUN: Final = text("""
WITH picked AS (
    SELECT id FROM payouts WHERE run_id = :run_id AND held = :held
    ORDER BY id LIMIT :limit FOR UPDATE
)
UPDATE payouts p SET held = NULL FROM picked WHERE p.id = picked.id RETURNING p.id
""")
_PAUSE_ALL: Final = text("""
UPDATE accounts SET paused = true, paused_reason = :reason,
    paused_at = coalesce(paused_at, CAST(:at AS timestamptz)),
    ask_first_until = CAST(:until AS timestamptz)
""")
_DOUBT_ALL: Final = text(f"""
WITH asked AS (
    UPDATE payouts p SET ask_now = true,
        next_action_at = CASE WHEN state <> 'submitting' THEN CAST(:at AS timestamptz) END,
        not_found_count = 0, first_not_found_at = NULL, last_not_found_at = NULL
    WHERE {is_open("p")}
    RETURNING id
), dead AS (
    UPDATE workers SET dead_at = clock_timestamp() WHERE dead_at IS NULL AND retired_at IS NULL
)
SELECT count(*) FROM asked
""")  # noqa: S608


class Steering(Part):
    """Steers accounts and runs; keeps the audit."""

    async def set_account_paused(self, name: AccountName, *, paused: bool, order: Order) -> None:
        """Pause or resume an account; resuming forgets its refusals and its last balance."""
        action = Action.PAUSE_ACCOUNT if paused else Action.RESUME_ACCOUNT
        async with self._database.transaction() as connection:
            await audit.write_line(connection, action, name, order, {})
            reason = f"{order.reason.strip()} ({order.operator})"
            await connection.execute(
                PAUSE, {"name": name, "paused": paused, "reason": reason, "at": order.at}
            )

    async def set_run_paused(self, run_id: RunId, *, paused: bool, order: Order) -> None:
        """Pause a run: nothing more is sent of it; what is on its way goes on. Or resume it."""
        named = {"run_id": run_id, "held": HELD_RUN, "limit": _BATCH}
        if not paused:  # While the run is still paused, so that nothing is left held.
            while await self._database.fetch(_RELEASE_RUN, named):
                continue
        async with self._database.transaction() as connection:
            if paused:
                await audit.write_line(connection, Action.PAUSE_RUN, run_id, order, {})
                reason = f"{order.reason.strip()} ({order.operator})"
                await connection.execute(
                    _PAUSE_RUN, {"run_id": run_id, "reason": reason, "at": order.at}
                )
            else:
                await audit.write_line(connection, Action.RESUME_RUN, run_id, order, {})
                await connection.execute(_RESUME_RUN, {"run_id": run_id})
        statement = _HOLD_RUN if paused else _RELEASE_RUN
        while await self._database.fetch(statement, named):
            continue

    async def paused_runs(self) -> Mapping[RunId, str]:
        """Return the runs that are paused, and why."""
        rows = await self._database.fetch(_PAUSED_RUNS, {"limit": MAX_LINES})
        return {row[0]: row[1] for row in rows}

    async def note_order(
        self, action: Action, subject: str, order: Order, details: Mapping[str, str]
    ) -> None:
        """Write an audit line for what is done outside the database, before it is done."""
        async with self._database.transaction() as connection:
            await audit.write_line(connection, action, subject, order, details)

    async def restored(self, order: Order, *, ask_first_s: float) -> int:
        """Tell that the database was restored: pause all, ask about all that is open first."""
        until = order.at + timedelta(seconds=ask_first_s)
        reason = f"the database was restored: {order.reason.strip()} ({order.operator})"
        async with self._database.transaction() as connection:
            await connection.execute(_PAUSE_ALL, {"reason": reason, "at": order.at, "until": until})
            found = await connection.execute(_DOUBT_ALL, {"at": order.at})
            count = int(found.scalar_one())
            details = {"asked about first": str(count), "new ones until": until.isoformat()}
            await audit.write_line(connection, Action.RESTORED, "database", order, details)
        return count

    async def audit_lines(self, *, before: int | None, limit: int) -> Sequence[AuditEntry]:
        """Return lines of the audit, newest first, older than line `before`."""
        async with self._database.snapshot() as connection:
            return await audit.lines(connection, before=before, limit=min(limit, MAX_LINES))

    async def audit_about(self, subject: str) -> Sequence[AuditEntry]:
        """Return the lines about a payout, run, account or dead letter, oldest first."""
        async with self._database.snapshot() as connection:
            return await audit.lines_about(connection, subject, limit=MAX_LINES)

    async def check_audit(self) -> AuditCheck:
        """Compute the whole chain anew."""
        async with self._database.snapshot() as connection:
            return await audit.check(connection)
