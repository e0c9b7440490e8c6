"""What any process may do at any time: claim what is due, doubt what was left behind.

Rows are claimed with `FOR UPDATE SKIP LOCKED`, so that any number of sweeps share the work.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import text

from payouts.domain.events import Event
from payouts.domain.payout import HELD_RETURNED, Payout, State
from payouts.domain.values import AccountName, PayoutId, WorkerId
from payouts.storage.engine import Rows
from payouts.storage.parts import Context, Part
from payouts.storage.rows import payout_of
from payouts.storage.steps import (
    NAMED,
    PICKED,
    STEP_TYPES,
    arrays_of,
    end_event_id,
    entering,
    picked_step,
    unnested,
)

_NOW: Final = "CAST(:now AS timestamptz)"
# What a restore wants asked about may have been sent in another life. It does not expire, whatever
# the gateway does not find: that allows the same id to be sent again, it proves no failure.
_EXPIRED: Final = f"""p.not_after <= {_NOW} AND p.state IN ('received', 'waiting')
    AND p.submitted_at IS NULL AND NOT p.ask_now AND p.held IS DISTINCT FROM '{HELD_RETURNED}'"""
_NOT_PAUSED: Final = """NOT EXISTS (SELECT FROM accounts a WHERE a.name = p.account AND a.paused)
        AND NOT EXISTS (SELECT FROM paused_runs r WHERE r.run_id = p.run_id)"""

_CLAIM: Final = f"""due AS (
    SELECT p.id FROM payouts p
    WHERE p.state IN ('received', 'waiting') AND p.account = ANY(CAST(:accounts AS text[]))
        AND p.next_action_at <= {_NOW} AND p.held IS NULL AND NOT p.ask_now
        AND NOT (p.submitted_at IS NULL AND coalesce(p.not_after <= {_NOW}, false))
        AND {_NOT_PAUSED}
    ORDER BY p.next_action_at LIMIT :limit FOR UPDATE OF p SKIP LOCKED
), m AS (
    SELECT due.id, {
    picked_step(to_state="'submitting'", at=":now", actor=":actor", kind="'claim'", owner=":owner")
} FROM due
)"""  # noqa: S608

_FIND_EXPIRED: Final = text(f"""
SELECT p.payout_id FROM payouts p WHERE p.not_after IS NOT NULL AND {_EXPIRED}
ORDER BY p.not_after LIMIT :limit
""")  # noqa: S608
_EXPIRE_STEPS: Final = f"""m AS (
    SELECT * FROM {unnested(STEP_TYPES)}
)"""  # noqa: S608


_WHY: Final = {
    "expired": "Its not_after had passed before the first submission began; it was never sent.",
    "overdue": "No Result has come within the deadline.",
    "restored": "The database was restored: it is asked about before it is sent (again).",
    "abandoned": "Its worker was lost while it was being sent.",
    "orphaned": "Its worker does not know of having it in flight.",
}


def _doubt(picked: str, *, kind: str, sent: bool) -> str:
    """Return the steps by which picked payouts fall into doubt, to be asked about now."""
    step = picked_step(
        to_state="'in_doubt'",
        at=":now",
        actor=":actor",
        kind=f"'{kind}'",
        next_action_at=":now",
        sent_at="picked.claimed_at" if sent else "NULL",
        reason_source="'local'",
        reason_code=f"'{kind}'",
        reason_class="'ambiguous'",
        reason_description=f"'{_WHY[kind]}'",
    )
    return f"{picked}, m AS (SELECT picked.id, {step} FROM picked)"  # noqa: S608


_OVERDUE: Final = _doubt(
    f"""picked AS (
    SELECT p.id FROM payouts p WHERE p.state = 'accepted' AND p.next_action_at <= {_NOW}
    ORDER BY p.next_action_at LIMIT :limit FOR UPDATE SKIP LOCKED
)""",  # noqa: S608
    kind="overdue",
    sent=False,
)
_ASK_FIRST: Final = _doubt(
    f"""picked AS (
    SELECT p.id FROM payouts p
    WHERE p.state IN ('received', 'waiting') AND p.ask_now AND p.next_action_at <= {_NOW}
        AND p.held IS DISTINCT FROM '{HELD_RETURNED}'
    ORDER BY p.next_action_at LIMIT :limit FOR UPDATE SKIP LOCKED
)""",  # noqa: S608
    kind="restored",
    sent=False,
)
# Whoever beats at this moment wins or loses by the lock of its row; nobody is half dead.
_ABANDONED: Final = _doubt(
    """silent AS (
    UPDATE workers SET dead_at = clock_timestamp()
    WHERE dead_at IS NULL AND retired_at IS NULL
        AND heartbeat_at < clock_timestamp()
            - make_interval(secs => CAST(:lease_s AS double precision))
    RETURNING id
), picked AS (
    SELECT p.id, p.claimed_at FROM payouts p
    WHERE p.state = 'submitting' AND (
        p.owner IN (SELECT id FROM silent)
        OR NOT EXISTS (
            SELECT FROM workers w
            WHERE w.id = p.owner AND w.dead_at IS NULL AND w.retired_at IS NULL
        )
    )
    ORDER BY p.id LIMIT :limit FOR UPDATE OF p SKIP LOCKED
)""",
    kind="abandoned",
    sent=True,
)
_ORPHANED: Final = _doubt(
    """picked AS (
    SELECT p.id, p.claimed_at FROM payouts p
    WHERE p.state = 'submitting' AND p.owner = :owner
        AND p.claimed_at < CAST(:before AS timestamptz)
        AND p.payout_id <> ALL(CAST(:in_flight AS text[]))
    ORDER BY p.id FOR UPDATE SKIP LOCKED
)""",
    kind="orphaned",
    sent=True,
)


class Sweeps(Part):
    """Claims and moves by sweeps, each move one statement."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        progress = context.show_progress
        self._claim = entering(
            _CLAIM,
            join=PICKED,
            guard="p.state IN ('received', 'waiting') AND p.held IS NULL",
            progress=progress,
        )
        self._expire = entering(_EXPIRE_STEPS, join=NAMED, guard=_EXPIRED, progress=progress)
        self._overdue = entering(
            _OVERDUE, join=PICKED, guard="p.state = 'accepted'", progress=progress
        )
        self._ask_first = entering(
            _ASK_FIRST, join=PICKED, guard="p.state IN ('received', 'waiting')", progress=progress
        )
        self._abandoned = entering(
            _ABANDONED, join=PICKED, guard="p.state = 'submitting'", progress=progress
        )
        self._orphaned = entering(
            _ORPHANED, join=PICKED, guard="p.state = 'submitting'", progress=progress
        )

    async def claim_due(
        self, owner: WorkerId, accounts: Sequence[AccountName], *, now: datetime, limit: int
    ) -> Sequence[Payout]:
        """Move due `received` and `waiting` payouts to `submitting` (see the port)."""
        rows = await self._database.fetch(
            self._claim,
            {
                "owner": owner,
                "actor": f"worker {owner}",
                "accounts": list(accounts),
                "now": now,
                "limit": limit,
            },
        )
        return [payout_of(row) for row in rows]

    async def mark_overdue(self, *, now: datetime, limit: int, actor: str) -> Sequence[PayoutId]:
        """Move `accepted` payouts whose deadline has passed to `in_doubt`, due now.

        So too what is to be asked about before it is sent, after a restore.
        """
        named = {"now": now, "limit": limit, "actor": actor}
        overdue = await self._database.fetch(self._overdue, named)
        first = await self._database.fetch(self._ask_first, named)
        return _ids([*overdue, *first])

    async def mark_abandoned(
        self, *, lease_s: float, now: datetime, limit: int, actor: str
    ) -> Sequence[PayoutId]:
        """Declare silent workers dead, and doubt what dead or retired ones left (see the port)."""
        return _ids(
            await self._database.fetch(
                self._abandoned,
                {"lease_s": lease_s, "now": now, "limit": limit, "actor": actor},
            )
        )

    async def mark_orphaned(
        self, owner: WorkerId, in_flight: Sequence[PayoutId], *, before: datetime, now: datetime
    ) -> Sequence[PayoutId]:
        """Doubt `submitting` payouts of a living owner that it does not have in flight."""
        return _ids(
            await self._database.fetch(
                self._orphaned,
                {
                    "owner": owner,
                    "in_flight": list(in_flight),
                    "before": before,
                    "now": now,
                    "actor": f"worker {owner}",
                },
            )
        )

    async def expire_unsent(self, *, now: datetime, limit: int, actor: str) -> Sequence[Event]:
        """End what expired unsent (see the port); its ids are derived, its guard is the SQL's."""
        found = await self._database.fetch(_FIND_EXPIRED, {"now": now, "limit": limit})
        if not found:
            return []
        rows = [
            {
                "payout_id": payout_id,
                "to_state": State.FAILED.value,
                "at": now,
                "actor": actor,
                "kind": "expired",
                "reason_source": "local",
                "reason_code": "expired",
                "reason_class": "expired",
                "reason_description": _WHY["expired"],
                "event_id": end_event_id(payout_id, State.FAILED),
            }
            for payout_id in sorted(row[0] for row in found)
        ]
        named = {**arrays_of(tuple(STEP_TYPES), rows), "now": now}
        ended = await self._database.fetch(self._expire, named)
        events = (self._completion_event(payout_of(row)) for row in ended)
        return [event for event in events if event is not None]


def _ids(rows: Rows) -> list[PayoutId]:
    return [row[0] for row in rows]
