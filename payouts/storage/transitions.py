"""Moves payouts by compare-and-set, and writes notes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy import text

from payouts.domain.errors import StoreRefusedError
from payouts.domain.payout import Payout, sources_of
from payouts.ports import Move, Moved
from payouts.storage.batch import AWAITED, BatchWriter
from payouts.storage.parts import Context, Part
from payouts.storage.rows import WIDTH, columns, payout_of
from payouts.storage.steps import (
    MAX_DESCRIPTION,
    NAMED,
    STEP_TYPES,
    arrays_of,
    end_event_id,
    entering,
    joined,
    reason_columns,
    storable,
    unnested,
)

_MOVE_TYPES: Final = {**STEP_TYPES, "sources": "text", "attempt": "integer"}
MOVE_STEPS: Final = f"m AS (SELECT * FROM {unnested(_MOVE_TYPES)})"  # noqa: S608
MOVE_GUARD: Final = (
    "p.state = ANY (string_to_array(m.sources, ','))"
    " AND (m.attempt IS NULL OR p.attempts = m.attempt)"
)
MOVE_NAMES: Final = tuple(_MOVE_TYPES)

# A move that was committed without our hearing of it is found by the entry that it left.
_LOST_TYPES: Final = {
    "payout_id": "text",
    "to_state": "text",
    "at": "timestamptz",
    "actor": "text",
    "kind": "text",
}
_LOST: Final = text(f"""
SELECT {columns("p")} FROM {unnested(_LOST_TYPES)}
JOIN payouts p ON p.payout_id = g.payout_id AND p.state = g.to_state
WHERE EXISTS (
    SELECT FROM timeline t WHERE t.payout = p.id AND t.to_state = g.to_state AND t.at = g.at
        AND t.actor = g.actor AND t.kind = g.kind
)
""")  # noqa: S608

_NOTE_TYPES: Final = {
    "payout_id": "text",
    "at": "timestamptz",
    "actor": "text",
    "kind": "text",
    "reason_source": "text",
    "reason_code": "text",
    "detail": "text",
    "conversation_id": "text",
    "transaction_id": "text",
    "queued": "boolean",
}
_NOTE: Final = text(f"""
WITH g AS (
    SELECT * FROM {unnested(_NOTE_TYPES)}
), attached AS (
    UPDATE payouts p SET
        conversation_id = coalesce(p.conversation_id, g.conversation_id),
        queued = coalesce(g.queued, p.queued)
    FROM g
    WHERE p.payout_id = g.payout_id AND p.completed_at IS NULL
        AND ((p.conversation_id IS NULL AND g.conversation_id IS NOT NULL)
            OR g.queued <> p.queued)
)
INSERT INTO timeline (payout, at, actor, kind, attempt, source, code, detail,
    conversation_id, transaction_id)
SELECT p.id, g.at, g.actor, g.kind, p.attempts, g.reason_source, g.reason_code, g.detail,
    g.conversation_id, g.transaction_id
FROM g JOIN payouts p ON p.payout_id = g.payout_id
WHERE NOT EXISTS (
    SELECT FROM timeline t WHERE t.payout = p.id AND t.to_state IS NULL AND t.at = g.at
        AND t.actor = g.actor AND t.kind = g.kind
)
RETURNING payout
""")  # noqa: S608


class Transitions(Part):
    """Carries moves and notes out, many to a commit; each row tells for itself who won."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._enter = entering(
            MOVE_STEPS, join=NAMED, guard=MOVE_GUARD, progress=context.show_progress
        )
        self._moves: BatchWriter[Move, Moved] = BatchWriter(
            "moves", self._write_moves, key=lambda move: move.payout_id, gap=AWAITED
        )
        self._notes: BatchWriter[Move, None] = BatchWriter(
            "notes", self._write_notes, key=lambda move: move.payout_id
        )
        self._writers += [self._moves, self._notes]

    async def move(self, move: Move) -> Moved:
        """Enter a state, if the payout still stands as the move says (see the port).

        A move that was made already, word for word, answers as it did then.

        Raises:
            StoreRefusedError: the transition is not in the table, or its facts are not whole.
        """
        if not move.sources or not move.sources <= sources_of(move.to):
            raise StoreRefusedError(f"(no transition to {move.to.value} from each source)")
        return await self._moves.submit(move)

    async def note(self, move: Move) -> None:
        """Write a timeline entry; attach the conversation id if there is none.

        `queued`, where given, is marked too. A payout that has ended gets the entry only.
        """
        await self._notes.submit(move)

    async def _write_moves(self, moves: Sequence[Move]) -> list[Moved]:
        rows = [move_row(move) for move in _in_lock_order(moves)]
        entered = await self._batches.fetch(self._enter, arrays_of(MOVE_NAMES, rows))
        moved = {row[0]: payout_of(row) for row in entered}
        lost = [row for row in rows if row["payout_id"] not in moved]
        if lost:
            again = await self._database.fetch(_LOST, arrays_of(tuple(_LOST_TYPES), lost))
            moved |= {row[0]: payout_of(row[:WIDTH]) for row in again}
        return [self._moved(moved.get(move.payout_id)) for move in moves]

    def _moved(self, payout: Payout | None) -> Moved:
        event = None if payout is None else self._completion_event(payout)
        return Moved(payout=payout, event=event)

    async def _write_notes(self, moves: Sequence[Move]) -> list[None]:
        rows = [move_row(move) for move in _in_lock_order(moves)]
        await self._batches.fetch(_NOTE, arrays_of(tuple(_NOTE_TYPES), rows))
        return [None] * len(moves)


def _in_lock_order(moves: Sequence[Move]) -> list[Move]:
    """Return the moves in one order for all processes, so that few batches meet crosswise."""
    return sorted(moves, key=lambda move: move.payout_id)


def move_row(move: Move) -> dict[str, object]:
    """Return the step that a move is, by MOVE_NAMES."""
    return {
        "payout_id": move.payout_id,
        "to_state": move.to.value,
        "at": move.at,
        "actor": move.actor,
        "kind": move.kind,
        "next_action_at": move.next_action_at,
        "sent_at": move.sent_at,
        "conversation_id": storable(move.conversation_id),
        "transaction_id": storable(move.transaction_id),
        "queued": move.queued,
        "detail": storable(move.detail, MAX_DESCRIPTION),
        "event_id": end_event_id(move.payout_id, move.to),
        "sources": joined(move.sources),
        "attempt": move.attempt,
        **reason_columns(move.reason),
    }
