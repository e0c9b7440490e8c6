"""Keeps what needs a person, and brings back what came before its payout was there."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec
from sqlalchemy import text

from payouts.domain.payout import HELD_CONTRADICTED, HELD_RETURNED, Payout
from payouts.ports import Incident, IncidentKind, Returned
from payouts.storage.parts import Part
from payouts.storage.rows import WIDTH, columns, is_open, payout_of
from payouts.storage.steps import MAX_DESCRIPTION, storable

_INCIDENTS: Final = uuid.UUID("2f0d8f0a-6f5b-5f7e-8c35-0a8d9c1b7e11")
_COLUMNS: Final = (
    "kind, at, payout_id, originator_conversation_id, conversation_id, transaction_id, code,"
    " detail, evidence"
)

_OWN: Final = ", ".join(f"i.{name}" for name in _COLUMNS.split(", "))

_ADD: Final = text("""
INSERT INTO incidents (incident_id, kind, at, payout_id, originator_conversation_id,
    conversation_id, transaction_id, code, detail, evidence)
VALUES (CAST(:incident_id AS uuid), :kind, :at, :payout_id, :originator_conversation_id,
    :conversation_id, :transaction_id, :code, :detail, CAST(CAST(:evidence AS text) AS jsonb))
ON CONFLICT (incident_id) DO NOTHING
RETURNING incident_id
""")
# A retry locks the submission before it, whichever of these that is: it sees the incident, or the
# incident sees what it made.
_LOCKED: Final = text("""
WITH RECURSIVE chain AS (
    SELECT payout_id FROM payouts WHERE payout_id = :payout_id
    UNION ALL
    SELECT p.payout_id FROM chain JOIN payouts p ON p.retry_of = chain.payout_id
)
SELECT 1 FROM payouts p WHERE p.payout_id IN (SELECT payout_id FROM chain)
ORDER BY p.id FOR UPDATE
""")
_STOP_LATER: Final = text("""
WITH RECURSIVE later AS (
    SELECT payout_id FROM payouts WHERE retry_of = :payout_id
    UNION ALL
    SELECT p.payout_id FROM later JOIN payouts p ON p.retry_of = later.payout_id
), stopped AS (
    UPDATE payouts p SET held = :held FROM later
    WHERE p.payout_id = later.payout_id AND p.completed_at IS NULL
        AND p.held IS DISTINCT FROM :held
    RETURNING p.id, p.attempts
)
INSERT INTO timeline (payout, at, actor, kind, attempt, detail)
SELECT id, CAST(:at AS timestamptz), 'incident', 'hold', attempts, :held FROM stopped
""")
# All that came for it, as it came: what settles nothing, the end, what contradicts the end. What
# came while the payout's own insert was under way, neither saw the other: it is looked for later.
_RETURNED: Final = text(f"""
SELECT * FROM (
    SELECT {columns("p")}, {_OWN}, p.id AS number
    FROM payouts p JOIN incidents i ON i.kind = 'unmatched'
        AND i.originator_conversation_id = p.originator_conversation_id
    WHERE p.held = '{HELD_RETURNED}' AND p.state = 'received'
    UNION ALL
    SELECT {columns("p")}, {_OWN}, p.id
    FROM incidents i JOIN payouts p ON p.originator_conversation_id = i.originator_conversation_id
    WHERE i.kind = 'unmatched' AND i.at >= CAST(:since AS timestamptz)
        AND p.held IS DISTINCT FROM '{HELD_RETURNED}' AND p.completed_at IS NULL
        AND NOT EXISTS (
            SELECT FROM timeline t
            WHERE t.payout = p.id AND (t.source = 'result' OR t.kind = 'returned')
        )
) AS came ORDER BY number, at LIMIT :limit
""")  # noqa: S608
# What stands still, or belongs to an account that no living worker serves.
_STUCK: Final = text(f"""
WITH stuck AS (
    SELECT {columns("p")} FROM payouts p
    WHERE {is_open("p")} AND p.created_at < CAST(:before AS timestamptz)
        AND (p.held IS NOT NULL OR p.state = 'waiting'
            OR (p.state = 'in_doubt' AND p.next_action_at IS NULL)
            OR NOT EXISTS (
                SELECT FROM workers w WHERE w.dead_at IS NULL AND w.retired_at IS NULL
                    AND (p.account = ANY(w.accounts) OR w.accounts = '{{}}')
            ))
        AND NOT EXISTS (
            SELECT FROM incidents i WHERE i.payout_id = p.payout_id AND i.kind = 'stuck'
        )
    ORDER BY p.created_at LIMIT :limit
), told AS (
    INSERT INTO incidents (incident_id, kind, at, payout_id, originator_conversation_id,
        conversation_id, detail, evidence)
    SELECT md5('stuck|' || payout_id)::uuid, 'stuck', clock_timestamp(), payout_id,
        originator_conversation_id, conversation_id, coalesce('held: ' || held,
            'it stands still as ' || state || ' since ' || created_at::date), '{{}}'::jsonb
    FROM stuck
    ON CONFLICT (incident_id) DO NOTHING
)
SELECT * FROM stuck
""")  # noqa: S608


class Incidents(Part):
    """Keeps incidents; each is told once, however often the same thing is said."""

    async def record_incident(self, incident: Incident) -> None:
        """Keep what needs a person; the same incident again, at whatever time, is kept once.

        What contradicts the end of a submission stops the later ones in the same commit.
        """
        row = _row_of(incident)
        identity = _identity(row)
        named = {"incident_id": identity, **row}
        if incident.kind is not IncidentKind.CONTRADICTION or incident.payout_id is None:
            await self._database.fetch(_ADD, named)
            return
        async with self._database.transaction() as connection:
            await connection.execute(_LOCKED, {"payout_id": incident.payout_id})
            await connection.execute(_ADD, named)
            await connection.execute(
                _STOP_LATER,
                {
                    "payout_id": incident.payout_id,
                    "held": HELD_CONTRADICTED,
                    "at": incident.at,
                },
            )

    async def find_returned(self, *, since: datetime, limit: int) -> Sequence[Returned]:
        """Return open payouts for which a Result came while nobody knew them (see the port)."""
        rows = await self._database.fetch(_RETURNED, {"since": since, "limit": limit})
        return [
            Returned(payout=payout_of(row[:WIDTH]), incident=incident_of(row[WIDTH:]))
            for row in rows
        ]

    async def record_stuck(self, *, before: datetime, limit: int) -> Sequence[Payout]:
        """Keep one incident for each payout that stands still since `before` (see the port)."""
        rows = await self._database.fetch(_STUCK, {"before": before, "limit": limit})
        return [payout_of(row) for row in rows]


def incident_of(row: Sequence[Any]) -> Incident:
    """Return the incident that a row of the nine columns tells."""
    return Incident(
        kind=IncidentKind(row[0]),
        at=row[1],
        payout_id=row[2],
        originator_conversation_id=row[3],
        conversation_id=row[4],
        transaction_id=row[5],
        code=row[6],
        detail=row[7],
        evidence=row[8],
    )


def _row_of(incident: Incident) -> dict[str, object]:
    return {
        "kind": incident.kind.value,
        "at": incident.at,
        "payout_id": incident.payout_id,
        "originator_conversation_id": storable(incident.originator_conversation_id),
        "conversation_id": storable(incident.conversation_id),
        "transaction_id": storable(incident.transaction_id),
        "code": storable(incident.code),
        "detail": storable(incident.detail, MAX_DESCRIPTION),
        "evidence": msgspec.json.encode(_storable(incident.evidence)).decode(),
    }


def _identity(row: Mapping[str, object]) -> str:
    """Return the id of an incident: of what it says, not of when it was said."""
    said = {name: value for name, value in row.items() if name != "at"}
    return str(uuid.uuid5(_INCIDENTS, msgspec.json.encode(said).decode()))


def _storable(evidence: Mapping[str, str]) -> dict[str | None, str | None]:
    return {storable(key): storable(said, MAX_DESCRIPTION) for key, said in evidence.items()}
