"""Payouts that have left the live books: recognised for life, by every id that they have had.

The live books and the archive are disjoint at any instant; one statement sees both at one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from sqlalchemy import TextClause, text

from payouts.domain.payout import Payout
from payouts.storage.engine import Sessions
from payouts.storage.rows import PAYOUT_COLUMNS, WIDTH, columns, payout_of
from payouts.storage.steps import unnested

# What an ended payout has no use for any more is not kept.
_GONE: Final[Mapping[str, str]] = {
    "owner": "NULL::bigint",
    "claimed_at": "NULL::timestamptz",
    "next_action_at": "NULL::timestamptz",
    "queued": "false",
    "last_sent_at": "NULL::timestamptz",
    "doubt_since": "NULL::timestamptz",
    "not_found_count": "0",
    "first_not_found_at": "NULL::timestamptz",
    "last_not_found_at": "NULL::timestamptz",
    "held": "NULL::text",
    "ask_now": "false",
}
KEPT_COLUMNS: Final = ("id", *(name for name in PAYOUT_COLUMNS if name not in _GONE))


def archived_columns(alias: str) -> str:
    """Return PAYOUT_COLUMNS as the archive can tell them."""
    return ", ".join(_GONE.get(name, f"{alias}.{name}") for name in PAYOUT_COLUMNS)


_ARCHIVED: Final = f"""
SELECT {archived_columns("a")}, o.at FROM archive a JOIN audit o ON o.number = a.order_number
"""  # noqa: S608
_ASKED: Final = "payout_id = ANY(CAST(:payout_ids AS text[]))"
_BY_ID: Final = text(f"{_ARCHIVED} WHERE a.{_ASKED}")
_STANDING: Final = text(f"""
SELECT {columns("p")}, NULL::timestamptz FROM payouts p WHERE p.{_ASKED}
UNION ALL {_ARCHIVED} WHERE a.{_ASKED}
""")  # noqa: S608
# As among the live ones: by its own id, else by the gateway's, if that names one payout only.
_MATCH: Final = text(f"""
SELECT g.ordinal, coalesce(own.payout_id, other.payout_id)
FROM {unnested({"own_id": "text", "conversation_id": "text", "ordinal": "integer"})}
LEFT JOIN archive own ON own.originator_conversation_id = g.own_id
LEFT JOIN LATERAL (
    SELECT min(a.payout_id) AS payout_id FROM archive a
    WHERE own.payout_id IS NULL AND a.conversation_id = g.conversation_id
    HAVING count(*) = 1
) other ON true
WHERE coalesce(own.payout_id, other.payout_id) IS NOT NULL
""")  # noqa: S608
# From the first submission down; all submissions of a payout are archived together.
_SUBMISSIONS: Final = text(f"""
WITH RECURSIVE up AS (
    SELECT payout_id, retry_of, 1 AS step FROM archive WHERE payout_id = :payout_id
    UNION ALL
    SELECT a.payout_id, a.retry_of, up.step + 1
    FROM up JOIN archive a ON a.payout_id = up.retry_of WHERE up.step < :limit
), down AS (
    (SELECT payout_id, 1 AS step FROM up ORDER BY up.step DESC LIMIT 1)
    UNION ALL
    SELECT a.payout_id, down.step + 1
    FROM down JOIN archive a ON a.retry_of = down.payout_id WHERE down.step < :limit
)
SELECT {archived_columns("a")}, o.at FROM down JOIN archive a USING (payout_id)
JOIN audit o ON o.number = a.order_number ORDER BY down.step
""")  # noqa: S608
# The outbox takes the event in once more, and forgets it when the retention next runs.
TELL_AGAIN: Final = text("""
INSERT INTO events AS e (event_id, payout_id, type, created_at, archived)
SELECT a.event_id, a.payout_id, 'payout.' || a.state, a.completed_at, true
FROM archive a WHERE a.payout_id = ANY(CAST(:payout_ids AS text[]))
ON CONFLICT (event_id) DO UPDATE SET published_at = NULL, hidden_until = NULL
RETURNING e.event_id
""")


async def archived(database: Sessions, payout_ids: Sequence[str]) -> dict[str, Payout]:
    """Return which of these payouts are in the archive."""
    return await _by_id(database, _BY_ID, payout_ids)


async def standing(database: Sessions, payout_ids: Sequence[str]) -> dict[str, Payout]:
    """Return which of these payouts there are, live or archived."""
    return await _by_id(database, _STANDING, payout_ids)


async def match_archived(
    database: Sessions, ids: Sequence[tuple[str | None, str | None, int]]
) -> dict[int, str]:
    """Return the payout id for each (own id, gateway's id, position) that the archive knows."""
    named = {
        "own_id": [one[0] for one in ids],
        "conversation_id": [one[1] for one in ids],
        "ordinal": [one[2] for one in ids],
    }
    return {row[0]: row[1] for row in await database.fetch(_MATCH, named)} if ids else {}


async def archived_submissions(database: Sessions, payout_id: str, *, limit: int) -> list[Payout]:
    """Return all submissions of an archived payout, the first one first."""
    rows = await database.fetch(_SUBMISSIONS, {"payout_id": payout_id, "limit": limit})
    return [replace(payout_of(row), archived_at=row[WIDTH]) for row in rows]


async def _by_id(
    database: Sessions, statement: TextClause, payout_ids: Sequence[str]
) -> dict[str, Payout]:
    rows = await database.fetch(statement, {"payout_ids": payout_ids})
    return {
        row[0]: payout_of(row)
        if row[WIDTH] is None
        else replace(payout_of(row), archived_at=row[WIDTH])
        for row in rows
    }
