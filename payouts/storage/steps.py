"""The one statement by which payouts enter a state, whoever moves them there.

A step is a row of the CTE `m`: which payout, where to, when, by whom, why. The statement updates
the payouts, adds the timeline's entries, and writes the events of those that end, in one commit.
What may be stepped on stands in the guard that each caller adds; what may follow what is kept by
a trigger on top of that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final

from sqlalchemy import TextClause, text

from payouts.domain.events import TYPE_OF_STATE, event_id_for
from payouts.domain.payout import ENDED, Reason, State
from payouts.storage.rows import columns

MAX_ID: Final = 256
MAX_DESCRIPTION: Final = 2000
STEP_TYPES: Final[Mapping[str, str]] = {
    "payout_id": "text",
    "to_state": "text",
    "at": "timestamptz",
    "actor": "text",
    "kind": "text",
    "owner": "bigint",
    "reason_source": "text",
    "reason_code": "text",
    "reason_class": "text",
    "reason_description": "text",
    "next_action_at": "timestamptz",
    "sent_at": "timestamptz",
    "conversation_id": "text",
    "transaction_id": "text",
    "queued": "boolean",
    "detail": "text",
    "event_id": "uuid",
}

# The guard judges the row that the join has found, and stands behind a comparison with `m` so that
# it is no way to find rows: where nothing was open when the statistics were made, the planner would
# read all that is open for each step.
_ENTER: Final = """
, moved AS (
    UPDATE payouts p SET
        came_from = p.state,
        state = m.to_state,
        attempts = p.attempts + (m.to_state = 'submitting')::int,
        owner = m.owner,
        claimed_at = CASE WHEN m.to_state = 'submitting' THEN m.at END,
        next_action_at = m.next_action_at,
        queued = coalesce(m.queued, p.queued),
        conversation_id = coalesce(m.conversation_id, p.conversation_id),
        transaction_id = coalesce(m.transaction_id, p.transaction_id),
        reason_source = CASE WHEN m.reason_code IS NULL
            THEN p.reason_source ELSE m.reason_source END,
        reason_code = coalesce(m.reason_code, p.reason_code),
        reason_class = CASE WHEN m.reason_code IS NULL
            THEN p.reason_class ELSE m.reason_class END,
        reason_description = CASE WHEN m.reason_code IS NULL
            THEN p.reason_description ELSE m.reason_description END,
        submitted_at = CASE
            WHEN m.sent_at IS NOT NULL OR m.to_state IN ('accepted', 'in_doubt')
                OR (p.state = 'submitting' AND m.to_state = 'succeeded')
            THEN coalesce(p.submitted_at, m.sent_at, p.claimed_at, m.at)
            ELSE p.submitted_at END,
        last_sent_at = CASE
            WHEN m.sent_at IS NOT NULL OR (p.state = 'submitting' AND m.to_state = 'in_doubt')
            THEN greatest(p.last_sent_at, m.at)
            WHEN m.to_state IN ('accepted', 'in_doubt') THEN coalesce(p.last_sent_at, m.at)
            ELSE p.last_sent_at END,
        doubt_since = CASE m.to_state
            WHEN 'in_doubt' THEN coalesce(p.doubt_since, m.at)
            -- What a refusal of a later send leaves open stays open while that send is repeated.
            WHEN 'waiting' THEN CASE WHEN p.state = 'submitting' THEN p.doubt_since END
            ELSE p.doubt_since END,
        not_found_count = CASE WHEN m.to_state IN ('succeeded', 'failed')
            THEN p.not_found_count ELSE 0 END,
        first_not_found_at = CASE WHEN m.to_state IN ('succeeded', 'failed')
            THEN p.first_not_found_at END,
        last_not_found_at = CASE WHEN m.to_state IN ('succeeded', 'failed')
            THEN p.last_not_found_at END,
        completed_at = CASE WHEN m.to_state IN ('succeeded', 'failed') THEN m.at END,
        held = CASE WHEN m.to_state NOT IN ('succeeded', 'failed') THEN p.held END,
        ask_now = p.ask_now AND m.to_state = 'in_doubt'
    FROM m
    WHERE {join} AND ({guard}) = ({key} IS NOT NULL)
    RETURNING p.id, {columns}, p.came_from, m.at AS step_at, m.actor, m.kind, m.detail,
        m.reason_source AS step_source, m.reason_code AS step_code,
        m.conversation_id AS step_conversation_id, m.transaction_id AS step_transaction_id,
        m.event_id
), told AS (
    INSERT INTO timeline (payout, at, actor, kind, from_state, to_state, attempt, source, code,
        detail, conversation_id, transaction_id)
    SELECT id, step_at, actor, kind, came_from, state, attempts, step_source, step_code,
        detail, step_conversation_id, step_transaction_id
    FROM moved
), announced AS (
    INSERT INTO events (event_id, payout_id, type, created_at)
    SELECT event_id, payout_id, 'payout.' || state, completed_at
    FROM moved WHERE completed_at IS NOT NULL
)"""

# A progress event keeps what the payout's row will not keep, and its id is as repeatable as
# any: of the payout, the state and the instant.
_PROGRESS: Final = """
, progress AS (
    INSERT INTO events (event_id, payout_id, type, created_at, data)
    SELECT encode(substring(sha256(convert_to(
            payout_id || '|' || state || '|' || extract(epoch FROM step_at), 'UTF8'
        )) FROM 1 FOR 16), 'hex')::uuid,
        payout_id, 'payout.' || state, step_at,
        jsonb_build_object('state', state, 'reason_source', reason_source,
            'reason_code', reason_code, 'reason_class', reason_class,
            'reason_description', reason_description, 'conversation_id', conversation_id,
            'transaction_id', transaction_id, 'submitted_at', submitted_at)
    FROM moved WHERE state IN ('accepted', 'in_doubt')
    ON CONFLICT (event_id) DO NOTHING
)"""

# Sweeps move rows that they have locked under this name.
PICKED: Final = "p.id = m.id"
NAMED: Final = "p.payout_id = m.payout_id"


def entering(steps: str, *, join: str, guard: str, progress: bool) -> TextClause:
    """Return the statement that carries the steps out and selects PAYOUT_COLUMNS of each moved.

    Args:
        steps: what follows `WITH`: CTEs, the last of which is `m` with the STEP_TYPES columns.
        join: how a step names its payout.
        guard: what must hold of `p` now (and of `m`).
        progress: whether entering `accepted` or `in_doubt` writes an event as well.
    """
    key = join.rpartition(" = ")[2]
    body = _ENTER.format(join=join, key=key, guard=guard, columns=columns("p"))
    tail = _PROGRESS if progress else ""
    return text(f"WITH {steps}{body}{tail} SELECT {columns('moved')} FROM moved")  # noqa: S608


def unnested(types: Mapping[str, str], alias: str = "g") -> str:
    """Return a FROM item of one row per item, from one bound array per column."""
    arrays = ", ".join(f"CAST(:{name} AS {of}[])" for name, of in types.items())
    return f"unnest({arrays}) AS {alias}({', '.join(types)})"


def arrays_of(
    names: Sequence[str], rows: Sequence[Mapping[str, object]]
) -> dict[str, list[object]]:
    """Return one array per column; what a row does not name is null."""
    return {name: [row.get(name) for row in rows] for name in names}


def picked_step(**known: str) -> str:
    """Return the select list of a step: given SQL by column, null for the rest."""
    unknown = set(known) - set(STEP_TYPES)
    if unknown:
        raise ValueError(f"no such columns of a step: {', '.join(sorted(unknown))}")
    return ", ".join(
        f"CAST({known.get(name, 'NULL')} AS {of}) AS {name}"
        for name, of in STEP_TYPES.items()
        if name != "payout_id"
    )


def storable(said: str | None, limit: int = MAX_ID) -> str | None:
    """Return what somebody else said as the database can keep it: bounded, without NUL.

    A text that is refused for its characters or its length would be tried for ever.
    """
    if said is None or (len(said) <= limit and said.isprintable()):
        return said
    return said.encode(errors="replace").decode().replace("\0", "")[:limit]


def reason_columns(reason: Reason | None) -> dict[str, object]:
    """Return the columns of a step that tell the reason; none without one."""
    if reason is None:
        return {}
    return {
        "reason_source": reason.source.value,
        "reason_code": storable(reason.code),
        "reason_class": reason.klass,
        "reason_description": storable(reason.description, MAX_DESCRIPTION),
    }


def end_event_id(payout_id: str, to: State) -> str | None:
    """Return the id of the completion event that entering `to` writes, if it ends the payout."""
    return event_id_for(payout_id, TYPE_OF_STATE[to]) if to in ENDED else None


@lru_cache(maxsize=64)
def joined(states: frozenset[State]) -> str:
    """Return states as one text: an array inside an array cannot be unnested."""
    return ",".join(sorted(states))


def seconds_since(column: str, parameter: str) -> str:
    """Return SQL for an instant that many seconds after a column."""
    return f"{column} + make_interval(secs => CAST(:{parameter} AS double precision))"
