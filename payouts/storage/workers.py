"""Which workers live, by the clock of the database."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy import text

from payouts.domain.values import AccountName, WorkerId
from payouts.ports import Heartbeat
from payouts.storage.parts import Part

_ENLIST: Final = text("""
INSERT INTO workers (name, started_at, heartbeat_at, accounts)
VALUES (:name, clock_timestamp(), clock_timestamp(), CAST(:accounts AS text[])) RETURNING id
""")
_BEAT: Final = text("""
UPDATE workers SET heartbeat_at = clock_timestamp(), cut_off = CAST(:cut_off AS text[])
WHERE id = :owner AND dead_at IS NULL AND retired_at IS NULL RETURNING id
""")
_RETIRE: Final = text("""
UPDATE workers SET retired_at = clock_timestamp()
WHERE id = :owner AND retired_at IS NULL RETURNING id
""")


class Workers(Part):
    """Enlists workers, hears them, lets them go."""

    async def enlist(self, name: str, *, accounts: Sequence[AccountName] = ()) -> WorkerId:
        """Return a number that no other worker has had or will have."""
        rows = await self._database.fetch(_ENLIST, {"name": name, "accounts": list(accounts)})
        return WorkerId(rows[0][0])

    async def beat(self, owner: WorkerId, *, cut_off: Sequence[AccountName] = ()) -> Heartbeat:
        """Tell that the worker lives; one that was declared dead stays so."""
        rows = await self._database.fetch(_BEAT, {"owner": owner, "cut_off": list(cut_off)})
        return Heartbeat(alive=bool(rows))

    async def retire(self, owner: WorkerId) -> None:
        """Take the number back; what is still `submitting` under it is swept at once."""
        await self._database.fetch(_RETIRE, {"owner": owner})
