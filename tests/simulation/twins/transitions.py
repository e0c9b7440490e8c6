"""The twin's moves, notes and incidents, as payouts/storage/transitions.py makes them."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from payouts.domain.errors import StoreRefusedError
from payouts.domain.payout import HELD_CONTRADICTED, Payout, State, sources_of
from payouts.ports import Incident, IncidentKind, Move, Moved
from payouts.storage.steps import MAX_DESCRIPTION, storable
from tests.simulation.twins.books import Statement
from tests.simulation.twins.entering import Step, storable_reason
from tests.simulation.twins.rows import Line, changed
from tests.simulation.twins.session import Session

_SOURCES: Final = {state: sources_of(state) for state in State}


class Transitions(Session):
    """Moves by compare-and-set, notes, and incidents."""

    async def move(self, move: Move) -> Moved:
        """Enter a state, if the payout still stands as the move says (see the port)."""
        if not move.sources or not move.sources <= _SOURCES[move.to]:
            raise StoreRefusedError(f"(no transition to {move.to.value} from each source)")
        return await self._call("move", lambda st: self._move(st, move))

    async def note(self, move: Move) -> None:
        """Write a timeline entry; attach the conversation id if there is none."""
        await self._call("note", lambda st: _note(st, move))

    async def record_incident(self, incident: Incident) -> None:
        """Keep what needs a person; the same incident again is kept once."""
        kept = replace(
            incident,
            originator_conversation_id=storable(incident.originator_conversation_id),
            conversation_id=storable(incident.conversation_id),
            transaction_id=storable(incident.transaction_id),
            code=storable(incident.code),
            detail=storable(incident.detail, MAX_DESCRIPTION) or "",
            evidence={
                storable(key) or "": storable(said, MAX_DESCRIPTION) or ""
                for key, said in incident.evidence.items()
            },
        )
        await self._call("record_incident", lambda st: _record_incident(st, kept))

    def _move(self, st: Statement, move: Move) -> Moved:
        payout = st.tables.payouts.get(move.payout_id)
        if payout is None:
            return Moved(payout=None)
        without = st.without
        stands = payout.state in move.sources or "move sources" in without
        fenced = move.attempt is not None and move.attempt != payout.attempts
        if stands and not (fenced and "move attempt" not in without):
            moved, event = self._enter(st, payout, _step_of(move))
            return Moved(payout=moved, event=event if moved.ended else None)
        if "move heard" not in without and _was_made(st, move, payout):
            return Moved(payout=payout, event=self._completion_event(payout))
        return Moved(payout=None)


def _step_of(move: Move) -> Step:
    return Step(
        move.to,
        move.at,
        move.actor,
        move.kind,
        None,
        storable_reason(move.reason),
        move.next_action_at,
        move.sent_at,
        storable(move.conversation_id),
        storable(move.transaction_id),
        move.queued,
        storable(move.detail, MAX_DESCRIPTION),
    )


def _was_made(st: Statement, move: Move, payout: Payout) -> bool:
    """Tell whether this very move was committed before, without anybody's hearing of it."""
    return payout.state is move.to and any(
        line.to_state is move.to
        and line.at == move.at
        and line.actor == move.actor
        and line.kind == move.kind
        for line in st.tables.timeline.get(move.payout_id, ())
    )


def _note(st: Statement, move: Move) -> None:
    payout = st.tables.payouts.get(move.payout_id)
    if payout is None:
        return
    conversation_id = storable(move.conversation_id)
    changes: dict[str, object] = {}
    if payout.conversation_id is None and conversation_id is not None:
        changes["conversation_id"] = conversation_id
    if move.queued is not None and move.queued is not payout.queued:
        changes["queued"] = move.queued
    if changes and not payout.ended:
        st.update(payout, changed(payout, changes))
    for line in st.tables.timeline.get(move.payout_id, ()):
        if (
            line.to_state is None
            and line.at == move.at
            and line.actor == move.actor
            and line.kind == move.kind
        ):
            return
    reason = storable_reason(move.reason)
    st.line(
        move.payout_id,
        Line(
            at=move.at,
            actor=move.actor,
            kind=move.kind,
            attempt=payout.attempts,
            source=None if reason is None else reason.source.value,
            code=None if reason is None else reason.code,
            detail=storable(move.detail, MAX_DESCRIPTION),
            conversation_id=conversation_id,
            transaction_id=storable(move.transaction_id),
        ),
    )


def _record_incident(st: Statement, incident: Incident) -> None:
    st.incident(incident)
    if incident.kind is IncidentKind.CONTRADICTION and incident.payout_id is not None:
        _hold_later(st, incident)


def _hold_later(st: Statement, incident: Incident) -> None:
    """Hold the open submissions after one whose end is contradicted."""
    if "contradiction holds" in st.without:
        return
    later = incident.payout_id
    while later is not None and (later := st.tables.retried.get(later)) is not None:
        payout = st.tables.payouts[later]
        if not payout.ended and payout.held != HELD_CONTRADICTED:
            st.update(payout, changed(payout, {"held": HELD_CONTRADICTED}))
            st.line(
                payout.payout_id,
                Line(
                    at=incident.at,
                    actor="incident",
                    kind="hold",
                    attempt=payout.attempts,
                    detail=HELD_CONTRADICTED,
                ),
            )
