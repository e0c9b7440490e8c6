"""Commands that are tried alone because they came back often: one of them may be poison."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from sqlalchemy import text

from payouts.storage.parts import Part

# The instant tells one trial from the same one written down again.
_BEGIN: Final = text("""
INSERT INTO suspects AS s (key, begun, begun_at) VALUES (:key, 1, CAST(:at AS timestamptz))
ON CONFLICT (key) DO UPDATE SET
    begun = s.begun + (s.begun_at <> excluded.begun_at)::int, begun_at = excluded.begun_at
RETURNING begun - 1
""")
_CLEAR: Final = text("DELETE FROM suspects WHERE key = :key RETURNING key")


class Suspects(Part):
    """Counts the trials that were begun; a crash in one leaves its count behind."""

    async def begin_suspect(self, key: str, *, at: datetime) -> int:
        """Write down that this command is tried alone; return how often it was begun before."""
        rows = await self._database.fetch(_BEGIN, {"key": key, "at": at})
        return int(rows[0][0])

    async def clear_suspect(self, key: str) -> None:
        """Forget a suspect: it was handled to the end."""
        await self._database.fetch(_CLEAR, {"key": key})
