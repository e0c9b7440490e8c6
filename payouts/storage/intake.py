"""Makes new payouts durable, before anything is sent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, cast

import msgspec
from sqlalchemy import text

from payouts.domain.commands import Command, differences
from payouts.domain.errors import StoreRefusedError
from payouts.domain.events import Event
from payouts.domain.payout import Payout
from payouts.ports import Intent, IntentOutcome, Recorded
from payouts.storage.batch import BatchWriter
from payouts.storage.parts import Context, Part
from payouts.storage.rows import columns, payout_of
from payouts.storage.steps import arrays_of, end_event_id, reason_columns, unnested

_TYPES: Final = {
    "payout_id": "text",
    "account": "text",
    "run_id": "text",
    "amount_minor": "bigint",
    "currency": "text",
    "msisdn": "text",
    "command_id": "text",
    "remark": "text",
    "occasion": "text",
    "not_after": "timestamptz",
    "metadata": "text",
    "originator_conversation_id": "text",
    "created_at": "timestamptz",
    "state": "text",
    "attempts": "integer",
    "owner": "bigint",
    "claimed_at": "timestamptz",
    "next_action_at": "timestamptz",
    "reason_source": "text",
    "reason_code": "text",
    "reason_class": "text",
    "reason_description": "text",
    "completed_at": "timestamptz",
}
_INSERTED: Final = ", ".join(_TYPES)
_SELECTED: Final = _INSERTED.replace("metadata", "metadata::jsonb")

# A conflict of any other key than the payout's own is not swallowed: it is refused.
_INSERT: Final = text(f"""
WITH g AS (
    SELECT * FROM {unnested({**_TYPES, "actor": "text", "kind": "text", "event_id": "uuid"})}
), written AS (
    INSERT INTO payouts ({_INSERTED}) SELECT {_SELECTED} FROM g
    ON CONFLICT (payout_id) DO NOTHING
    RETURNING id, payout_id
), told AS (
    INSERT INTO timeline (payout, at, actor, kind, to_state, attempt, source, code)
    SELECT w.id, g.created_at, g.actor, g.kind, g.state, g.attempts, g.reason_source, g.reason_code
    FROM written w JOIN g USING (payout_id)
), announced AS (
    INSERT INTO events (event_id, payout_id, type, created_at)
    SELECT g.event_id, payout_id, 'payout.' || g.state, g.completed_at
    FROM written w JOIN g USING (payout_id) WHERE g.completed_at IS NOT NULL
)
SELECT payout_id FROM written
""")  # noqa: S608 - made of the constants above.
_EXISTING: Final = text(
    f"SELECT {columns('p')} FROM payouts p"  # noqa: S608
    " WHERE p.payout_id = ANY(CAST(:payout_ids AS text[]))"
)
_REJECT: Final = text("""
WITH known AS (
    SELECT FROM payouts WHERE payout_id = :payout_id
), written AS (
    INSERT INTO events (event_id, payout_id, type, created_at, data)
    SELECT CAST(:event_id AS uuid), :payout_id, :type, CAST(:at AS timestamptz),
        CAST(CAST(:data AS text) AS jsonb)
    WHERE NOT EXISTS (SELECT FROM known)
    ON CONFLICT (event_id) DO NOTHING
)
SELECT NOT EXISTS (SELECT FROM known)
""")


class Intake(Part):
    """Records intents, many to a commit."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._intents: BatchWriter[Intent, IntentOutcome] = BatchWriter(
            "intents", self._write_intents, key=lambda intent: intent.payout.payout_id
        )
        self._writers.append(self._intents)

    async def record_intent(self, intent: Intent) -> IntentOutcome:
        """Insert the payout, or tell how it compares to the one that exists (see the port)."""
        return await self._intents.submit(intent)

    async def record_rejection(self, event: Event) -> bool:
        """Write a `payout.rejected` event unless a payout with its subject exists."""
        rows = await self._database.fetch(
            _REJECT,
            {
                "event_id": event.event_id,
                "payout_id": event.subject,
                "type": event.type,
                "at": event.time,
                "data": msgspec.json.encode(event.data).decode(),
            },
        )
        return bool(rows[0][0])

    async def _write_intents(self, intents: Sequence[Intent]) -> list[IntentOutcome]:
        # In one order for all processes: batches that meet crosswise would wait for each other.
        rows = sorted(map(_row_of, intents), key=lambda row: str(row["payout_id"]))
        names = (*_TYPES, "actor", "kind", "event_id")
        inserted = await self._database.fetch(_INSERT, arrays_of(names, rows))
        new = {row[0] for row in inserted}
        repeated = [i.payout.payout_id for i in intents if i.payout.payout_id not in new]
        standing: dict[str, Payout] = {}
        if repeated:
            found = await self._database.fetch(_EXISTING, {"payout_ids": repeated})
            standing = {row[0]: payout_of(row) for row in found}
        return [
            self._outcome(intent.payout, standing.get(intent.payout.payout_id))
            for intent in intents
        ]

    def _outcome(self, wanted: Payout, standing: Payout | None) -> IntentOutcome:
        payout = standing or wanted
        event = self._completion_event(payout)
        if standing is None or _is_own(wanted, standing):
            return IntentOutcome(recorded=Recorded.NEW, payout=payout, event=event)
        # Both have the content's fields, and only these are compared.
        found = differences(cast("Command", wanted), standing)
        if found:
            return IntentOutcome(recorded=Recorded.CONFLICT, payout=payout, differences=found)
        return IntentOutcome(recorded=Recorded.SAME, payout=payout, event=event)


def _is_own(wanted: Payout, standing: Payout) -> bool:
    """Tell whether the row is this very intent's, from a commit whose outcome was not heard."""
    return (
        standing.state is wanted.state
        and standing.owner == wanted.owner
        and standing.claimed_at == wanted.claimed_at
        and standing.attempts == wanted.attempts
        and standing.created_at == wanted.created_at
        and not differences(cast("Command", wanted), standing)
    )


def _row_of(intent: Intent) -> dict[str, object]:
    payout = intent.payout
    if payout.submitted_at is not None or payout.conversation_id is not None:
        raise StoreRefusedError("(an intent was sent already)")
    return {
        "payout_id": payout.payout_id,
        "account": payout.account,
        "run_id": payout.run_id,
        "amount_minor": payout.amount_minor,
        "currency": payout.currency,
        "msisdn": payout.msisdn,
        "command_id": payout.command_id,
        "remark": payout.remark,
        "occasion": payout.occasion,
        "not_after": payout.not_after,
        "metadata": msgspec.json.encode(payout.metadata).decode() if payout.metadata else "{}",
        "originator_conversation_id": payout.originator_conversation_id,
        "created_at": payout.created_at,
        "state": payout.state.value,
        "attempts": payout.attempts,
        "owner": payout.owner,
        "claimed_at": payout.claimed_at,
        "next_action_at": payout.next_action_at,
        "completed_at": payout.completed_at,
        "actor": intent.actor,
        "kind": "intent",
        "event_id": end_event_id(payout.payout_id, payout.state),
        **reason_columns(payout.reason),
    }
