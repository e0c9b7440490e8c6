"""How the paying accounts stand: paused or not, refused how often, with which balance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import text

from payouts.domain.values import AccountName
from payouts.ports import AccountStatus, Exposure
from payouts.storage.parts import Part
from payouts.storage.rows import is_open

_STATUS: Final = """a.name, a.paused, a.paused_reason, a.refusals, a.pace,
    a.utility_balance_minor, a.balance_at, (SELECT count(*) FROM workers w
        WHERE a.name = ANY(w.cut_off) AND w.dead_at IS NULL AND w.retired_at IS NULL),
    a.lowered_at"""

_SELECT: Final = text(
    f"SELECT {_STATUS} FROM accounts a"  # noqa: S608
    " WHERE a.name = ANY(CAST(:names AS text[]))"
)
# A restored database may not know of an account that has paid since. However it is added, the
# trigger `accounts_ask_first` has it asked about first; found by its worker, it rests as well.
_ADD: Final = text("""
INSERT INTO accounts (name, paused, paused_reason, paused_at)
SELECT n.name, r.at IS NOT NULL, 'the database was restored: ' || r.reason, r.at
FROM unnest(CAST(:names AS text[])) AS n(name)
LEFT JOIN (
    SELECT at, reason, CAST(details ->> 'new ones until' AS timestamptz) AS until
    FROM audit WHERE action = 'restored' ORDER BY number DESC LIMIT 1
) r ON r.until > clock_timestamp()
ON CONFLICT (name) DO NOTHING RETURNING name
""")
# The instant tells one refusal from the same one told again.
_REFUSE: Final = text(f"""
INSERT INTO accounts AS a (name, refusals, refused_at, paused, paused_at, paused_reason)
SELECT CAST(:name AS text), 1, CAST(:at AS timestamptz), paused,
    CASE WHEN paused THEN CAST(:at AS timestamptz) END,
    CASE WHEN paused THEN CAST(:reason AS text) END
FROM (VALUES (CAST(:limit AS integer) <= 1)) AS first(paused)
ON CONFLICT (name) DO UPDATE SET
    refusals = a.refusals + 1,
    refused_at = excluded.refused_at,
    paused = a.paused OR a.refusals + 1 >= CAST(:limit AS integer),
    paused_at = CASE WHEN a.paused THEN a.paused_at
        WHEN a.refusals + 1 >= CAST(:limit AS integer) THEN excluded.refused_at END,
    paused_reason = CASE WHEN a.paused THEN a.paused_reason
        WHEN a.refusals + 1 >= CAST(:limit AS integer) THEN CAST(:reason AS text) END
WHERE a.refused_at IS DISTINCT FROM excluded.refused_at
RETURNING {_STATUS}
""")  # noqa: S608
_CLEAR: Final = text(
    "UPDATE accounts SET refusals = 0 WHERE name = :name AND refusals > 0 AND NOT paused"
    " RETURNING name"
)
PAUSE: Final = text(f"""
INSERT INTO accounts AS a (name, paused, paused_reason, paused_at)
VALUES (:name, CAST(:paused AS boolean), CAST(:reason AS text),
    CASE WHEN CAST(:paused AS boolean) THEN CAST(:at AS timestamptz) END)
ON CONFLICT (name) DO UPDATE SET
    paused = excluded.paused,
    paused_reason = excluded.paused_reason,
    paused_at = excluded.paused_at,
    refusals = CASE WHEN excluded.paused THEN a.refusals ELSE 0 END,
    utility_balance_minor = CASE WHEN excluded.paused THEN a.utility_balance_minor END,
    balance_at = CASE WHEN excluded.paused THEN a.balance_at END
RETURNING {_STATUS}
""")  # noqa: S608
_BALANCE: Final = text("""
INSERT INTO accounts AS a (name, utility_balance_minor, balance_at)
VALUES (:name, CAST(:minor AS bigint), CAST(:at AS timestamptz))
ON CONFLICT (name) DO UPDATE SET
    utility_balance_minor = excluded.utility_balance_minor, balance_at = excluded.balance_at
WHERE a.balance_at IS NULL OR a.balance_at < excluded.balance_at
RETURNING name
""")
# The open index's own condition is said again, so that the planner sees that it fits.
_EXPOSURES: Final = text(f"""
SELECT a.name, a.utility_balance_minor, (
    SELECT coalesce(sum(p.amount_minor), 0)::bigint FROM payouts p
    WHERE p.account = a.name AND p.state IN ('submitting', 'accepted', 'in_doubt')
        AND {is_open("p")}
)
FROM accounts a WHERE a.name = ANY(CAST(:names AS text[])) ORDER BY a.name
""")  # noqa: S608


class Accounts(Part):
    """Keeps what all workers of an account have to know of it."""

    async def account_statuses(
        self, names: Sequence[AccountName]
    ) -> Mapping[AccountName, AccountStatus]:
        """Return each account's status; accounts not seen before are added, unpaused."""
        found = await self._statuses(names)
        new = [name for name in names if name not in found]
        if new:
            await self._database.fetch(_ADD, {"names": new})
            found |= await self._statuses(new)
        return found

    async def count_refusal(
        self, name: AccountName, *, limit: int, reason: str, at: datetime
    ) -> AccountStatus:
        """Count a configuration refusal; the `limit`-th in a row pauses the account."""
        rows = await self._database.fetch(
            _REFUSE, {"name": name, "limit": limit, "reason": reason, "at": at}
        )
        return _status_of(rows[0]) if rows else (await self._statuses([name]))[name]

    async def clear_refusals(self, name: AccountName) -> None:
        """Begin to count anew; a paused account stays as it is until a person resumes it."""
        await self._database.fetch(_CLEAR, {"name": name})

    async def set_paused(
        self, name: AccountName, *, paused: bool, reason: str, at: datetime
    ) -> AccountStatus:
        """Pause the account or resume it; resuming forgets the refusals and the balance.

        The balance, as far as it is known, may be what it was paused for; the next Result tells.
        """
        rows = await self._database.fetch(
            PAUSE, {"name": name, "paused": paused, "reason": reason, "at": at}
        )
        return _status_of(rows[0])

    async def record_balance(self, name: AccountName, *, minor: int, at: datetime) -> None:
        """Keep the utility balance, unless a later one is known."""
        await self._database.fetch(_BALANCE, {"name": name, "minor": minor, "at": at})

    async def exposures(self, names: Sequence[AccountName]) -> Sequence[Exposure]:
        """Return for each account what its balance was last, and the sum that is on its way."""
        rows = await self._database.fetch(_EXPOSURES, {"names": list(names)})
        return [
            Exposure(name=row[0], utility_balance_minor=row[1], at_risk_minor=row[2])
            for row in rows
        ]

    async def _statuses(self, names: Sequence[AccountName]) -> dict[AccountName, AccountStatus]:
        rows = await self._database.fetch(_SELECT, {"names": list(names)})
        return {row[0]: _status_of(row) for row in rows}


def _status_of(row: Sequence[Any]) -> AccountStatus:
    return AccountStatus(
        name=row[0],
        paused=row[1],
        paused_reason=row[2],
        refusals=row[3],
        pace=row[4],
        utility_balance_minor=row[5],
        balance_at=row[6],
        cut_off_workers=row[7],
        lowered_at=row[8],
    )
