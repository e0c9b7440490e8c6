"""One time of day for all processes: the database's."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import text

from payouts.ports import Clock
from payouts.storage.engine import Database

LOOK_EVERY_S: Final = 15.0
_SLOW_S: Final = 1.0
_NOW: Final = text("SELECT clock_timestamp()")


class BooksClock:
    """Tells the time of day as the database has it, whatever this machine's clock says or does.

    What one process writes down (a last send, a next action) others compare with their own time.
    With clocks hours apart a *not found* would count before its grace, and a payout would wait for
    hours. Between two looks the monotonic clock counts on. Before the first look, and where a look
    fails, nothing changes: the system's time, or the last look's, goes on.

    Args:
        system: counts the seconds, and sleeps.
    """

    def __init__(self, system: Clock) -> None:
        self._system = system
        self._looked_at = system.monotonic()
        self._seen = system.now()
        self._has_looked = False

    def now(self) -> datetime:
        """Return the present instant, aware, in UTC."""
        return self._seen + timedelta(seconds=self._system.monotonic() - self._looked_at)

    def monotonic(self) -> float:
        """Return seconds that only grow."""
        return self._system.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Let others run for this long."""
        await self._system.sleep(seconds)

    async def look(self, database: Database) -> int:
        """Learn the time from the database; a slow answer is left aside unless it is the first.

        Returns 0: there is never more to do at once.

        Raises:
            StoreUnavailableError: the database does not answer.
        """
        asked = self._system.monotonic()
        seen: datetime = (await database.fetch(_NOW, {}))[0][0]
        answered = self._system.monotonic()
        if answered - asked <= _SLOW_S or not self._has_looked:
            self._seen, self._looked_at = seen, (asked + answered) / 2
            self._has_looked = True
        return 0
