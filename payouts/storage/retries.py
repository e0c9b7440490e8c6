"""A second submission: what has conclusively failed is submitted again, under an id of its own.

The row of the first submission stays as it ended, with its id and its event, so that a late
Result still finds it; the second is a row of its own that names it (`retry_of`).
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from payouts.domain.payout import HELD_RETURNED, Payout, State
from payouts.domain.values import OriginatorConversationId, PayoutId, retry_ids_for
from payouts.ports import Action, Order
from payouts.storage.rows import CONTENT_COLUMNS, columns, payout_of

RESOLVED_NOT_PAID: Final = "resolved_not_paid"
MOST_SUBMISSIONS: Final = 99

# From the last submission back to the first; its depth is its number.
_CHAIN: Final = text("""
WITH RECURSIVE chain AS (
    SELECT p.payout_id, p.originator_conversation_id, p.retry_of, 1 AS steps
    FROM payouts p WHERE p.payout_id = :payout_id
    UNION ALL
    SELECT p.payout_id, p.originator_conversation_id, p.retry_of, c.steps + 1
    FROM chain c JOIN payouts p ON p.payout_id = c.retry_of
)
SELECT c.payout_id, c.originator_conversation_id, c.steps, (
    SELECT count(*) FROM chain k JOIN incidents i ON i.payout_id = k.payout_id
    WHERE i.kind IN ('contradiction', 'mismatch')
)
FROM chain c WHERE c.retry_of IS NULL
""")
_NEXT: Final = text("SELECT payout_id FROM payouts WHERE retry_of = :payout_id")
_TAKEN: Final = text("""
SELECT 1 FROM payouts WHERE payout_id = :payout_id
UNION ALL
SELECT 1 FROM archive WHERE payout_id = :payout_id
""")
_RESOLVED_BY: Final = text("""
SELECT operator FROM audit WHERE subject = :payout_id AND action = :action
ORDER BY number DESC LIMIT 1
""")
_OWN: Final = {"payout_id", "not_after", "originator_conversation_id", "created_at"}
_SAME: Final = tuple(name for name in CONTENT_COLUMNS if name not in _OWN)
# A restore may have lost this very submission, and M-PESA may have paid it: as for new commands,
# it is asked about first, and rests where its Result has come already.
_SUBMIT: Final = text(f"""
WITH written AS (
    INSERT INTO payouts AS p ({", ".join(_SAME)}, payout_id, originator_conversation_id,
        created_at, state, next_action_at, retry_of, ask_now, held)
    SELECT {columns("f", _SAME)}, :second_id, :second_own_id, CAST(:at AS timestamptz),
        'received', CAST(:at AS timestamptz), f.payout_id,
        coalesce(CAST(:at AS timestamptz) < a.ask_first_until, false),
        CASE WHEN EXISTS (
            SELECT FROM incidents i WHERE i.kind = 'unmatched'
                AND i.originator_conversation_id = :second_own_id
        ) THEN '{HELD_RETURNED}' END
    FROM payouts f LEFT JOIN accounts a ON a.name = f.account
    WHERE f.payout_id = :payout_id AND f.state = 'failed'
    RETURNING p.id, {columns("p")}
), told AS (
    INSERT INTO timeline (payout, at, actor, kind, to_state, attempt, source, detail)
    SELECT id, CAST(:at AS timestamptz), :actor, 'retry', state, 0, 'operator',
        'submitted again after ' || retry_of FROM written
), noted AS (
    INSERT INTO timeline (payout, at, actor, kind, attempt, source, detail)
    SELECT f.id, CAST(:at AS timestamptz), :actor, 'retry', f.attempts, 'operator',
        'submitted again as ' || w.payout_id
    FROM payouts f JOIN written w ON w.retry_of = f.payout_id
)
SELECT {columns("written")} FROM written
""")  # noqa: S608


async def submit_again(
    connection: AsyncConnection, payout: Payout, order: Order, *, actor: str
) -> Payout | str:
    """Return the new submission of a payout whose row is locked, or why there may be none."""
    if payout.state is not State.FAILED:
        return _NOT_FAILED[payout.state]
    if payout.archived_at is not None:
        return "It was archived; publish a new command, with a payout_id of its own."
    named = {"payout_id": payout.payout_id}
    later = (await connection.execute(_NEXT, named)).scalar_one_or_none()
    if later is not None:
        return f"It was submitted again as {later}; look at that one."
    root_id, root_own_id, steps, contradictions = (await connection.execute(_CHAIN, named)).one()
    if contradictions:
        return (
            "An incident contradicts that it was not paid; look it up in the M-PESA portal."
            " It cannot be submitted again."
        )
    if payout.reason is not None and payout.reason.code == RESOLVED_NOT_PAID:
        resolved = {**named, "action": Action.RESOLVE_NOT_PAID.value}
        by = (await connection.execute(_RESOLVED_BY, resolved)).scalar_one_or_none()
        if by is None or by.casefold() == order.operator.strip().casefold():
            return (
                f"It failed by the word of operator {by or 'unknown'}: another operator has to"
                " order the retry (four eyes)."
            )
    ids = await _free_ids(connection, root_id, root_own_id, first=steps + 1)
    if ids is None:
        return f"It was submitted {MOST_SUBMISSIONS} times already; publish a new command."
    return await _submit(connection, payout, ids, at=order.at, actor=actor)


async def _free_ids(
    connection: AsyncConnection, root_id: str, root_own_id: str, *, first: int
) -> tuple[PayoutId, OriginatorConversationId] | None:
    """Return the next ids that nobody has: a caller may have named a payout of its own so."""
    for number in range(first, MOST_SUBMISSIONS + 1):
        ids = retry_ids_for(OriginatorConversationId(root_own_id), PayoutId(root_id), number)
        taken = await connection.execute(_TAKEN, {"payout_id": ids[0]})
        if taken.first() is None:
            return ids
    return None


async def _submit(
    connection: AsyncConnection,
    payout: Payout,
    ids: tuple[PayoutId, OriginatorConversationId],
    *,
    at: datetime,
    actor: str,
) -> Payout:
    rows = await connection.execute(
        _SUBMIT,
        {
            "payout_id": payout.payout_id,
            "second_id": ids[0],
            "second_own_id": ids[1],
            "at": at,
            "actor": actor,
        },
    )
    return payout_of(rows.one())


_ASK: Final = "It is not known to have failed; `payouts reconcile` asks the gateway now."
_NOT_FAILED: Final = {
    State.RECEIVED: "It was not sent yet; it goes out by itself, or `payouts cancel` ends it.",
    State.SUBMITTING: "It is being sent at this moment; wait for its answer.",
    State.WAITING: "It is sent again by itself, or `payouts cancel` ends it.",
    State.ACCEPTED: f"The gateway has taken it, its Result is to come. {_ASK}",
    State.IN_DOUBT: f"It may have been paid. {_ASK}",
    State.SUCCEEDED: "It was paid.",
}
