"""What happened to the payouts that a judge complains of: their timelines, to be read by people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import asyncpg

TOLD: Final = 5
LINES: Final = 24
_STORY: Final = """
SELECT t.at, t.actor, t.kind, t.to_state, t.attempt, t.source, t.code, t.detail
FROM timeline t JOIN payouts p ON p.id = t.payout WHERE p.payout_id = $1 ORDER BY t.id
"""


async def stories(
    connection: asyncpg.Connection, payout_ids: Sequence[str]
) -> dict[str, list[str]]:
    """Return the timelines of the first few of these payouts, a line an entry."""
    found: dict[str, list[str]] = {}
    for payout_id in list(dict.fromkeys(payout_ids))[:TOLD]:
        rows = await connection.fetch(_STORY, payout_id)
        lines = [
            " ".join(str(value) for value in row.values() if value is not None) for row in rows
        ]
        left_out = [f"({len(lines) - LINES} more)"] if len(lines) > LINES else []
        found[payout_id] = [*lines[: LINES // 2], *left_out, *lines[LINES // 2 :][-LINES // 2 :]]
    return found
