"""What is asked about payouts in doubt, what is learnt, and when the same id may go out again."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import text

from payouts.domain.payout import Payout
from payouts.domain.values import (
    AccountName,
    ConversationId,
    OriginatorConversationId,
    PayoutId,
    WorkerId,
)
from payouts.ports import Query
from payouts.storage.parts import Context, Part
from payouts.storage.rows import columns, payout_of
from payouts.storage.steps import PICKED, entering, picked_step, seconds_since

_CLAIM: Final = text(f"""
WITH due AS (
    SELECT p.id FROM payouts p
    WHERE p.state = 'in_doubt' AND p.account = ANY(CAST(:accounts AS text[]))
        AND p.next_action_at <= CAST(:now AS timestamptz)
    ORDER BY p.next_action_at LIMIT :limit FOR UPDATE SKIP LOCKED
)
UPDATE payouts p SET next_action_at = CAST(:until AS timestamptz)
FROM due WHERE p.id = due.id
RETURNING {columns("p")}
""")  # noqa: S608

_KEEP: Final = text("""
UPDATE payouts SET next_action_at = CAST(:until AS timestamptz)
WHERE payout_id = ANY(CAST(:payout_ids AS text[])) AND state = 'in_doubt'
RETURNING payout_id
""")
_RECORD_QUERY: Final = text("""
WITH written AS (
    INSERT INTO queries (query_id, payout_id, asked_at)
    VALUES (:query_id, :payout_id, CAST(:asked_at AS timestamptz))
    ON CONFLICT (query_id) DO NOTHING
    RETURNING payout_id
), counted AS (
    UPDATE payouts p SET queries = p.queries + 1,
        next_action_at = CAST(:next_action_at AS timestamptz), ask_now = false
    FROM written WHERE p.payout_id = written.payout_id AND p.state = 'in_doubt'
)
INSERT INTO timeline (payout, at, actor, kind, attempt, originator_conversation_id)
SELECT p.id, CAST(:asked_at AS timestamptz), :actor, 'query', p.attempts, :query_id
FROM written JOIN payouts p ON p.payout_id = written.payout_id
RETURNING payout
""")
_ATTACH: Final = text("""
UPDATE queries SET conversation_id = :conversation_id
WHERE query_id = :query_id AND conversation_id IS NULL
RETURNING query_id
""")

_GRACE: Final = seconds_since("p.last_sent_at", "grace_s")
# Asked at the same instant as the last one that counted is the same answer, told again.
_COUNTS: Final = f"""p.state = 'in_doubt' AND NOT p.queued
    AND CAST(:asked_at AS timestamptz) >= {_GRACE}
    AND (p.last_not_found_at IS NULL OR (CAST(:asked_at AS timestamptz) > p.last_not_found_at
        AND CAST(:asked_at AS timestamptz) >= {seconds_since("p.last_not_found_at", "interval_s")}))
"""
_NOT_FOUND: Final = text(f"""
WITH counted AS (
    UPDATE payouts p SET not_found_count = p.not_found_count + 1,
        first_not_found_at = coalesce(p.first_not_found_at, CAST(:asked_at AS timestamptz)),
        last_not_found_at = CAST(:asked_at AS timestamptz),
        next_action_at = CAST(:next_action_at AS timestamptz)
    WHERE p.payout_id = :payout_id AND {_COUNTS}
    RETURNING p.id, p.attempts, p.not_found_count
)
INSERT INTO timeline (payout, at, actor, kind, attempt, source, detail, originator_conversation_id)
SELECT p.id, CAST(:asked_at AS timestamptz), :actor, 'not found', p.attempts, 'query',
    CASE WHEN counted.id IS NULL THEN 'does not count'
        ELSE 'counts as ' || counted.not_found_count END,
    CAST(:query_id AS text)
FROM payouts p LEFT JOIN counted ON counted.id = p.id
WHERE p.payout_id = :payout_id AND NOT EXISTS (
    SELECT FROM timeline t
    WHERE t.payout = p.id AND t.kind = 'not found' AND t.at = CAST(:asked_at AS timestamptz)
)
RETURNING payout
""")  # noqa: S608
# What was asked before the gateway showed that it knows the payout counts no more.
_SIGHTED: Final = text("""
WITH forgotten AS (
    UPDATE payouts p SET not_found_count = 0, first_not_found_at = NULL, last_not_found_at = NULL
    WHERE p.payout_id = :payout_id AND p.state = 'in_doubt' AND p.not_found_count > 0
    RETURNING p.id, p.attempts
)
INSERT INTO timeline (payout, at, actor, kind, attempt, source, detail)
SELECT id, CAST(:seen_at AS timestamptz), :actor, 'sighted', attempts, 'query',
    'the gateway knows it: earlier not found count no more'
FROM forgotten
RETURNING payout
""")
_POSTPONE: Final = text("""
UPDATE payouts SET next_action_at = CAST(:next_action_at AS timestamptz)
WHERE payout_id = :payout_id AND state = 'in_doubt'
RETURNING payout_id
""")
_BY_ID: Final = text(
    f"SELECT {columns('p')} FROM payouts p WHERE p.payout_id = :payout_id"  # noqa: S608
)

_RESEND_STEP: Final = picked_step(
    to_state="'submitting'",
    at=":now",
    actor=":actor",
    kind="CASE WHEN CAST(:by_policy AS boolean) THEN 'resend by policy' ELSE 'resend' END",
    owner=":owner",
)
_RESEND: Final = f"""m AS (
    SELECT p.id, {_RESEND_STEP} FROM payouts p WHERE p.payout_id = :payout_id
)"""  # noqa: S608
# Sent once more, what was refused for good is refused again: what is open are earlier sends.
_PROVEN: Final = f"""NOT p.queued AND p.not_found_count >= 2
    AND coalesce(p.reason_class, '') <> 'refused-final'
    AND p.first_not_found_at >= {_GRACE}
    AND p.last_not_found_at >= {seconds_since("p.first_not_found_at", "interval_s")}"""
# Asked of the row as it stands: what the sweep has read may be older than the last answer, which
# may have said that an earlier send arrived.
_BY_POLICY: Final = """CAST(:by_policy AS boolean) AND p.attempts > 0 AND NOT p.ask_now
    AND coalesce(p.reason_source, '') <> 'result'
    AND coalesce(p.reason_class, '') NOT IN ('duplicate', 'refused-final')"""
# Never sent by this database and expired: it is not sent; a Result or a person ends it.
_MAY_RESEND: Final = f"""p.state = 'in_doubt' AND p.held IS NULL
    AND (({_BY_POLICY}) OR ({_PROVEN}))
    AND NOT (p.attempts = 0 AND coalesce(p.not_after <= CAST(:now AS timestamptz), false))
    AND NOT EXISTS (SELECT FROM accounts a WHERE a.name = p.account AND a.paused)
    AND NOT EXISTS (SELECT FROM paused_runs r WHERE r.run_id = p.run_id)"""  # noqa: S608
_RESENT: Final = text(f"""
SELECT {columns("p")} FROM payouts p
WHERE p.payout_id = :payout_id AND p.state = 'submitting' AND p.came_from = 'in_doubt'
    AND p.owner = :owner AND p.claimed_at = CAST(:now AS timestamptz)
""")  # noqa: S608


class Doubts(Part):
    """Keeps the proof by which a payout in doubt may be settled or sent again."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._resend = entering(
            _RESEND, join=PICKED, guard=_MAY_RESEND, progress=context.show_progress
        )

    async def claim_doubts(
        self,
        accounts: Sequence[AccountName],
        *,
        now: datetime,
        until: datetime,
        limit: int,
    ) -> Sequence[Payout]:
        """Take `in_doubt` payouts that are due, pushing `next_action_at` to `until`."""
        rows = await self._database.fetch(
            _CLAIM, {"accounts": list(accounts), "now": now, "until": until, "limit": limit}
        )
        return [payout_of(row) for row in rows]

    async def keep_doubts(
        self, payout_ids: Sequence[PayoutId], *, until: datetime
    ) -> Collection[PayoutId]:
        """Renew claims on doubts until `until`; return those that are still in doubt."""
        rows = await self._database.fetch(_KEEP, {"payout_ids": list(payout_ids), "until": until})
        return {PayoutId(row[0]) for row in rows}

    async def record_query(self, query: Query, *, next_action_at: datetime, actor: str) -> None:
        """Write down, before it is sent, that a query goes out; counts `queries` up."""
        await self._database.fetch(
            _RECORD_QUERY,
            {
                "query_id": query.query_id,
                "payout_id": query.payout_id,
                "asked_at": query.asked_at,
                "next_action_at": next_action_at,
                "actor": actor,
            },
        )

    async def attach_conversation(
        self, query_id: OriginatorConversationId, conversation_id: ConversationId
    ) -> None:
        """Keep the gateway's id of a query, so that a Result that names only it is matched."""
        await self._database.fetch(
            _ATTACH, {"query_id": query_id, "conversation_id": conversation_id}
        )

    async def record_not_found(  # noqa: PLR0913 - the port's.
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
        await self._database.fetch(
            _NOT_FOUND,
            {
                "payout_id": payout_id,
                "asked_at": asked_at,
                "grace_s": grace_s,
                "interval_s": interval_s,
                "next_action_at": next_action_at,
                "actor": actor,
                "query_id": query_id,
            },
        )
        rows = await self._database.fetch(_BY_ID, {"payout_id": payout_id})
        return payout_of(rows[0]) if rows else None

    async def record_sighting(self, payout_id: PayoutId, *, seen_at: datetime, actor: str) -> None:
        """Forget counted *not found*: the gateway has shown that it knows the payout."""
        await self._database.fetch(
            _SIGHTED, {"payout_id": payout_id, "seen_at": seen_at, "actor": actor}
        )

    async def postpone(self, payout_id: PayoutId, *, next_action_at: datetime | None) -> None:
        """Set when an in-doubt payout is looked at again; None leaves it to a person."""
        await self._database.fetch(
            _POSTPONE, {"payout_id": payout_id, "next_action_at": next_action_at}
        )

    async def resend(  # noqa: PLR0913 - the port's.
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
        """Move an in-doubt payout to `submitting` under the same id, if the proof allows it.

        Nothing is sent for a paused account, whatever the proof says (see the port).
        """
        claim: dict[str, object] = {"payout_id": payout_id, "owner": owner, "now": now}
        rows = await self._database.fetch(
            self._resend,
            {
                **claim,
                "grace_s": grace_s,
                "interval_s": interval_s,
                "by_policy": by_policy,
                "actor": actor,
            },
        )
        if not rows:  # Perhaps this very claim was committed without our hearing of it.
            rows = await self._database.fetch(_RESENT, claim)
        return payout_of(rows[0]) if rows else None
