"""The row of an account's pace: slots are reserved from it, throttles lower what it gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sqlalchemy import text

from payouts.domain.values import AccountName
from payouts.storage.engine import Database
from payouts.storage.slots import LATEST_S

# A learned pace below this would tell of a gateway that is busy, whatever we send.
LEAST_LEARNED: Final = 10.0

_RATE: Final = "coalesce(CAST(:rate AS double precision), a.pace_ceiling)"
_RAISED: Final = (
    f"a.pace + 0.05 * {_RATE}"
    " * greatest(extract(epoch FROM clock_timestamp() - a.raised_at)::double precision, 0)"
)
# Nobody moves slots on by more at a time than a request may be late at all.
_LATE: Final = (
    f"least(greatest(CAST(:late AS double precision), 0), CAST({LATEST_S} AS double precision))"
)
# A lost commit of this row only costs the memory of slots that a crash has made past anyway;
# the row is judged after its lock is held, hence clock_timestamp().
_RESERVE: Final = text(f"""
INSERT INTO accounts AS a (name, next_slot_at)
VALUES (:name, clock_timestamp()
    + make_interval(secs => CAST(:slots AS integer) / CAST(:rate AS double precision)))
ON CONFLICT (name) DO UPDATE SET
    next_slot_at = greatest(a.next_slot_at, clock_timestamp())
        + make_interval(secs => {_LATE} + CAST(:slots AS integer) / least({_RATE}, a.pace)),
    slots_moved_s = a.slots_moved_s + {_LATE},
    pace = CASE WHEN {_RAISED} < {_RATE} THEN {_RAISED} END,
    raised_at = CASE WHEN a.pace IS NOT NULL THEN clock_timestamp() END
RETURNING extract(epoch FROM a.next_slot_at)::double precision,
    extract(epoch FROM clock_timestamp())::double precision,
    least({_RATE}, a.pace), a.pace IS NOT NULL, a.slots_moved_s,
    set_config('synchronous_commit', 'off', true)
""")  # noqa: S608
_LOWER: Final = text("""
INSERT INTO accounts AS a (name, pace, lowered_at, raised_at)
VALUES (:name, greatest(CAST(:rate AS double precision) * 0.7, CAST(:floor AS double precision)),
    clock_timestamp(), clock_timestamp())
ON CONFLICT (name) DO UPDATE SET
    pace = greatest(least(a.pace, CAST(:rate AS double precision)) * 0.7,
        CAST(:floor AS double precision)),
    pace_ceiling = NULL,
    lowered_at = clock_timestamp(),
    raised_at = clock_timestamp()
WHERE a.lowered_at IS NULL OR a.lowered_at <= clock_timestamp() - interval '1 second'
RETURNING pace
""")
# Work is shared evenly, so what all workers send is about what one does, times their number.
_LEARN: Final = text(f"""
INSERT INTO accounts AS a (name, pace, pace_ceiling, lowered_at, raised_at)
SELECT CAST(:name AS text), greatest(seen.rate * 0.7, {LEAST_LEARNED}), seen.rate,
    clock_timestamp(), clock_timestamp()
FROM (
    SELECT CAST(:own AS double precision) * greatest(count(*), 1) AS rate FROM workers
    WHERE CAST(:name AS text) = ANY(accounts) AND dead_at IS NULL AND retired_at IS NULL
) AS seen
WHERE seen.rate > {LEAST_LEARNED}
ON CONFLICT (name) DO UPDATE SET
    pace = greatest(least(a.pace, excluded.pace_ceiling) * 0.7, {LEAST_LEARNED}),
    pace_ceiling = CASE WHEN a.pace IS NULL OR a.pace_ceiling IS NULL
        THEN excluded.pace_ceiling ELSE a.pace_ceiling END,
    lowered_at = clock_timestamp(),
    raised_at = clock_timestamp()
WHERE a.lowered_at IS NULL OR a.lowered_at <= clock_timestamp() - interval '1 second'
RETURNING pace
""")  # noqa: S608
_NOW: Final = text("SELECT extract(epoch FROM clock_timestamp())::double precision")
_LEARNED: Final = text(
    "SELECT pace FROM accounts WHERE name = :name AND pace IS NOT NULL AND pace_ceiling IS NOT NULL"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reserved:
    """Slots that are ours; instants are in seconds of the database's time of day.

    Args:
        end_s: the instant after the last one.
        now_s: when they were reserved.
        rate: they are 1 / rate apart.
        is_lowered: whether the gateway's throttling, or its memory, set this rate.
        moved_s: by how much slots were moved on, ever.
    """

    end_s: float
    now_s: float
    rate: float
    is_lowered: bool
    moved_s: float


class Reservations:
    """Reserves slots of accounts; every call is one statement.

    All raise StoreUnavailableError where the database is away.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def reserve(
        self, name: AccountName, slots: int, *, rate: float | None, late_s: float
    ) -> Reserved | None:
        """Reserve the next slots, after moving all that are not reserved on by what was late.

        Args:
            name: of the account.
            slots: how many.
            rate: slots per second, unless the gateway's throttling has lowered it; None: what
                was learned, and nothing is returned where nothing is.
            late_s: by how much they are moved on; not more than LATEST_S.
        """
        rows = await self._database.fetch(
            _RESERVE, {"name": name, "rate": rate, "slots": slots, "late": late_s}
        )
        end_s, now_s, given, is_lowered, moved_s = rows[0][:5]
        if end_s is None or (rate is None and not is_lowered):
            return None
        return Reserved(
            end_s=end_s, now_s=now_s, rate=given, is_lowered=is_lowered, moved_s=moved_s
        )

    async def now_s(self) -> float:
        """Return the database's time of day in seconds."""
        now_s: float = (await self._database.fetch(_NOW, {}))[0][0]
        return now_s

    async def lower(self, name: AccountName, *, rate: float) -> float | None:
        """Lower the pace of an account with a limit by 30 %, and return it.

        Not below 5 % of the limit or one a second; None: it was lowered less than a second ago.
        """
        floor = min(rate, max(rate * 0.05, 1.0))
        rows = await self._database.fetch(_LOWER, {"name": name, "rate": rate, "floor": floor})
        return rows[0][0] if rows else None

    async def learn(self, name: AccountName, *, own: float) -> float | None:
        """Lower the pace of an account without a limit by 30 % of what is sent, and return it.

        Args:
            name: of the account.
            own: requests per second of this process.
        """
        rows = await self._database.fetch(_LEARN, {"name": name, "own": own})
        return rows[0][0] if rows else None

    async def learned(self, name: AccountName) -> float | None:
        """Return the pace that an account without a limit has learned."""
        rows = await self._database.fetch(_LEARNED, {"name": name})
        return rows[0][0] if rows else None
