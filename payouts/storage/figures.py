"""Figures for the gauges: what is open, in doubt, unpublished; cheap by partial indexes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sqlalchemy import text

from payouts.storage.parts import Part
from payouts.storage.rows import is_open

_OPEN: Final = text(f"""
SELECT account, state, count(*), sum(amount_minor)::bigint,
    coalesce(extract(epoch FROM now() - min(doubt_since)), 0)::double precision
FROM payouts p WHERE {is_open("p")} GROUP BY account, state
""")  # noqa: S608
_UNPUBLISHED: Final = text("SELECT count(*) FROM events WHERE published_at IS NULL")
_INCIDENTS: Final = text("SELECT kind, count(*) FROM incidents GROUP BY kind")
_BALANCES: Final = text(
    "SELECT name, utility_balance_minor FROM accounts WHERE utility_balance_minor IS NOT NULL"
)
_PACES: Final = text("SELECT name, pace FROM accounts WHERE pace IS NOT NULL")


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Counts and sums at one moment; keys are the gauges' labels, money is in minor units."""

    open_count: Mapping[tuple[str, ...], float]
    open_minor: Mapping[tuple[str, ...], float]
    oldest_doubt_s: Mapping[tuple[str, ...], float]
    unpublished: int
    incidents: Mapping[tuple[str, ...], float]
    balances_minor: Mapping[tuple[str, ...], float]
    paces: Mapping[tuple[str, ...], float]


class Measuring(Part):
    """Measures the books for the metrics."""

    async def figures(self) -> Figures:
        """Return what is open now; its cost grows with what is open, not with what has ended."""
        rows = await self._database.fetch(_OPEN, {})
        unpublished = await self._database.fetch(_UNPUBLISHED, {})
        incidents = await self._database.fetch(_INCIDENTS, {})
        balances = await self._database.fetch(_BALANCES, {})
        paces = await self._database.fetch(_PACES, {})
        return Figures(
            open_count={(row[0], row[1]): float(row[2]) for row in rows},
            open_minor={(row[0], row[1]): float(row[3]) for row in rows},
            oldest_doubt_s={(row[0],): float(row[4]) for row in rows if row[1] == "in_doubt"},
            unpublished=int(unpublished[0][0]),
            incidents={(row[0],): float(row[1]) for row in incidents},
            balances_minor={(row[0],): float(row[1]) for row in balances},
            paces={(row[0],): float(row[1]) for row in paces},
        )
