"""Makes new payouts durable, before anything is sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, cast

import msgspec
from sqlalchemy import TextClause, text

from payouts.domain.commands import Command, differences
from payouts.domain.errors import StoreRefusedError
from payouts.domain.events import Event
from payouts.domain.payout import HELD_REPEAT, HELD_RETURNED, HELD_RUN, Payout, State
from payouts.ports import Intent, IntentOutcome, Recorded
from payouts.storage.archive import TELL_AGAIN, archived, standing
from payouts.storage.batch import AWAITED, BatchWriter
from payouts.storage.engine import Rows
from payouts.storage.parts import Context, Part
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
_SENDING: Final = ("attempts", "owner", "claimed_at")
_ENDING: Final = (
    "reason_source",
    "reason_code",
    "reason_class",
    "reason_description",
    "completed_at",
)
_STANDING: Final = ("state", "next_action_at", *_SENDING, *_ENDING)
_CONTENT: Final = tuple(name for name in _TYPES if name not in _STANDING)
_INSERTED: Final = ", ".join((*_CONTENT, *_STANDING, "held", "ask_now", "repeat_watched"))
_SELECTED: Final = ", ".join(
    (
        *(f"c.{name}::jsonb" if name == "metadata" else f"c.{name}" for name in _CONTENT),
        "CASE WHEN c.rests THEN 'received' ELSE c.state END",
        "CASE WHEN c.rests THEN coalesce(c.next_action_at, c.created_at) ELSE c.next_action_at END",
        "CASE WHEN c.rests THEN 0 ELSE c.attempts END",
        *(f"CASE WHEN NOT c.rests THEN c.{name} END" for name in (*_SENDING[1:], *_ENDING)),
        "c.held",
        "c.asks",
        "CAST(:watched AS boolean)",
    )
)
_REPEATED: Final = """
    SELECT coalesce(
        lag(g.payout_id) OVER (
            PARTITION BY g.msisdn, g.amount_minor, g.currency ORDER BY g.payout_id
        ), (
            SELECT o.payout_id FROM payouts o
            WHERE o.repeat_watched AND o.msisdn = g.msisdn AND o.amount_minor = g.amount_minor
                AND o.currency = g.currency AND o.payout_id <> g.payout_id
                AND o.state <> 'failed' AND o.created_at > g.created_at
                    - make_interval(secs => CAST(:window_s AS double precision))
            ORDER BY o.created_at DESC LIMIT 1
        )
    ) AS repeat_of, g.* FROM g"""
_UNWATCHED: Final = "SELECT NULL AS repeat_of, g.* FROM g"


def _insert(repeats: str) -> TextClause:
    """Return the statement that makes new payouts durable and tells which it made.

    A conflict of any other key than the payout's own is not swallowed: it is refused. What may
    not go out, or may have gone out in another life, rests as `received`, whatever its intent.
    """
    return text(f"""
WITH g AS (
    SELECT * FROM {unnested({**_TYPES, "actor": "text", "kind": "text", "event_id": "uuid"})}
), looked AS ({repeats}
), known AS (
    SELECT l.*, coalesce(l.created_at < a.ask_first_until, false) AS asks,
        coalesce(a.paused, false) AS paused,
        CASE WHEN EXISTS (
            SELECT FROM incidents i WHERE i.kind = 'unmatched'
                AND i.originator_conversation_id = l.originator_conversation_id
        ) THEN '{HELD_RETURNED}'
        WHEN l.state <> 'failed' AND r.run_id IS NOT NULL THEN '{HELD_RUN}'
        WHEN l.state <> 'failed' AND l.repeat_of IS NOT NULL
            THEN '{HELD_REPEAT} ' || l.repeat_of END AS held
    FROM looked l LEFT JOIN accounts a ON a.name = l.account
        LEFT JOIN paused_runs r ON r.run_id = l.run_id
), c AS (
    SELECT k.*, k.held IS NOT NULL OR k.asks OR (k.paused AND k.state = 'submitting') AS rests
    FROM known k
), written AS (
    INSERT INTO payouts ({_INSERTED}) SELECT {_SELECTED} FROM c
    ON CONFLICT (payout_id) DO NOTHING
    RETURNING id, payout_id, state, attempts, reason_source, reason_code, completed_at, held,
        ask_now
), told AS (
    INSERT INTO timeline (payout, at, actor, kind, to_state, attempt, source, code, detail)
    SELECT w.id, g.created_at, g.actor, g.kind, w.state, w.attempts, w.reason_source,
        w.reason_code, w.held
    FROM written w JOIN g USING (payout_id)
), announced AS (
    INSERT INTO events (event_id, payout_id, type, created_at)
    SELECT g.event_id, payout_id, 'payout.' || w.state, w.completed_at
    FROM written w JOIN g USING (payout_id) WHERE w.completed_at IS NOT NULL
)
SELECT payout_id, state, held, ask_now FROM written
""")  # noqa: S608 - made of the constants above.


_INSERT: Final = _insert(_UNWATCHED)
_INSERT_WATCHED: Final = _insert(_REPEATED)
# Two batches that hold repeats of each other must not pass each other unseen.
_ONE_AT_A_TIME: Final = text("SELECT pg_advisory_xact_lock(727001)")
_AGAIN: Final = text("""
UPDATE events SET published_at = NULL, hidden_until = NULL
WHERE payout_id = ANY(CAST(:payout_ids AS text[]))
    AND type IN ('payout.succeeded', 'payout.failed')
RETURNING event_id
""")
_REJECT: Final = text("""
WITH known AS (
    SELECT FROM payouts WHERE payout_id = :payout_id
    UNION ALL
    SELECT FROM archive WHERE payout_id = :payout_id
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
            "intents",
            self._write_intents,
            key=lambda intent: intent.payout.payout_id,
            gap=AWAITED,
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
        new = {row[0]: row for row in await self._insert_new(rows)}
        repeated = [i.payout.payout_id for i in intents if i.payout.payout_id not in new]
        known = await standing(self._database, repeated) if repeated else {}
        outcomes = [
            self._new(intent.payout, new[intent.payout.payout_id])
            if intent.payout.payout_id in new
            else self._outcome(intent.payout, known[intent.payout.payout_id])
            for intent in intents
        ]
        again = [
            outcome.payout.payout_id
            for outcome in outcomes
            if outcome.recorded is Recorded.SAME and outcome.event is not None
        ]
        if again:
            await self._tell_again(sorted(again))
        return outcomes

    async def _insert_new(self, rows: Sequence[Mapping[str, object]]) -> Rows:
        """Insert what is new; ids of the archive are looked for only where they were refused."""
        names = (*_TYPES, "actor", "kind", "event_id")
        try:
            return await self._insert(arrays_of(names, rows))
        except StoreRefusedError:
            ended = await archived(self._database, [str(row["payout_id"]) for row in rows])
            if not ended:
                raise
            rest = [row for row in rows if row["payout_id"] not in ended]
            return await self._insert(arrays_of(names, rest)) if rest else ()

    async def _tell_again(self, payout_ids: Sequence[str]) -> None:
        """Have completion events told once more, also if this process dies before it can."""
        told = await self._database.fetch(_AGAIN, {"payout_ids": payout_ids})
        if len(told) < len(payout_ids):
            await self._database.fetch(TELL_AGAIN, {"payout_ids": payout_ids})

    async def _insert(self, arrays: Mapping[str, object]) -> Rows:
        window_s = self._context.repeat_window_s
        if not window_s:
            return await self._batches.fetch(_INSERT, {**arrays, "watched": False})
        named = {**arrays, "watched": True, "window_s": window_s}
        async with self._database.transaction() as connection:
            await connection.execute(_ONE_AT_A_TIME)
            return (await connection.execute(_INSERT_WATCHED, named)).all()

    def _new(self, wanted: Payout, row: Sequence[Any]) -> IntentOutcome:
        """Return the outcome of a payout that is durable now, as wanted or at rest."""
        _, state, held, ask_now = row
        payout = wanted
        if state == State.RECEIVED.value:
            payout = replace(
                wanted,
                state=State.RECEIVED,
                attempts=0,
                owner=None,
                claimed_at=None,
                next_action_at=wanted.next_action_at or wanted.created_at,
                reason=None,
                completed_at=None,
                held=held,
                ask_now=ask_now,
            )
        return IntentOutcome(
            recorded=Recorded.NEW, payout=payout, event=self._completion_event(payout)
        )

    def _outcome(self, wanted: Payout, standing: Payout) -> IntentOutcome:
        event = self._completion_event(standing)
        if _is_own(wanted, standing):
            return IntentOutcome(recorded=Recorded.NEW, payout=standing, event=event)
        # Both have the content's fields, and only these are compared.
        found = differences(cast("Command", wanted), standing)
        if found:
            return IntentOutcome(recorded=Recorded.CONFLICT, payout=standing, differences=found)
        return IntentOutcome(recorded=Recorded.SAME, payout=standing, event=event)


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
