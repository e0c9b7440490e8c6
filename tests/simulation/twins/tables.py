"""The tables of the twin's database and the indexes over them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from payouts.domain.payout import OPEN, Payout, State
from payouts.domain.values import AccountName, PayoutId, RunId, WorkerId
from payouts.ports import AuditEntry, Incident
from tests.simulation.twins.rows import AccountRow, EventRow, Line, QueryRow, WorkerRow

_OPEN: Final = tuple(state for state in State if state in OPEN)


@dataclass(slots=True)
class Tables:
    """The rows of every table and the indexes over them; insertion order is row order."""

    payouts: dict[PayoutId, Payout] = field(default_factory=dict)
    numbers: dict[PayoutId, int] = field(default_factory=dict)
    came_from: dict[PayoutId, State] = field(default_factory=dict)
    timeline: dict[PayoutId, list[Line]] = field(default_factory=dict)
    events: dict[str, EventRow] = field(default_factory=dict)
    queries: dict[str, QueryRow] = field(default_factory=dict)
    incidents: list[Incident] = field(default_factory=list)
    workers: dict[WorkerId, WorkerRow] = field(default_factory=dict)
    accounts: dict[AccountName, AccountRow] = field(default_factory=dict)
    runs_paused: dict[RunId, str] = field(default_factory=dict)
    suspects: dict[str, tuple[int, datetime]] = field(default_factory=dict)
    audit: list[AuditEntry] = field(default_factory=list)
    by_own_id: dict[str, PayoutId] = field(default_factory=dict)
    by_conversation: dict[str, dict[PayoutId, None]] = field(default_factory=dict)
    by_state: dict[State, dict[PayoutId, None]] = field(
        default_factory=lambda: {state: {} for state in _OPEN}
    )
    retried: dict[PayoutId, PayoutId] = field(default_factory=dict)
    watched: dict[tuple[str, int], list[PayoutId]] = field(default_factory=dict)
    completions: dict[PayoutId, str] = field(default_factory=dict)
    unpublished: dict[str, None] = field(default_factory=dict)
    unmatched: dict[str, list[Incident]] = field(default_factory=dict)
    kept: dict[object, None] = field(default_factory=dict)

    def copy(self) -> Tables:
        """Return tables that further changes of these leave alone."""
        other = Tables()
        for name in Tables.__dataclass_fields__:
            setattr(other, name, _copied(getattr(self, name)))
        return other


def _copied(table: object) -> object:
    if isinstance(table, dict):
        return {
            key: value.copy() if isinstance(value, dict | list) else value
            for key, value in table.items()
        }
    return list(table) if isinstance(table, list) else table


def identity(incident: Incident) -> object:
    """Return what tells an incident from another: what it says, not when it was said."""
    return (
        incident.kind,
        incident.payout_id,
        incident.originator_conversation_id,
        incident.conversation_id,
        incident.transaction_id,
        incident.code,
        incident.detail,
        tuple(sorted(incident.evidence.items())),
    )
