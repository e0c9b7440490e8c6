"""The time of day that all processes share is the database's."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import TextClause

from payouts.storage.clock import BooksClock
from payouts.storage.engine import Database, Rows, create_engine

pytestmark = [pytest.mark.servers]

LONG_AGO = datetime(2001, 1, 1, tzinfo=UTC)


@dataclass
class WrongClock:
    """A machine whose time of day is wrong, and whose seconds are counted by the test."""

    seconds: float = 100.0
    told: datetime = LONG_AGO

    def now(self) -> datetime:
        """Tell the wrong time."""
        return self.told

    def monotonic(self) -> float:
        """Tell the test's seconds."""
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        """Let seconds pass."""
        self.seconds += seconds


class SlowDatabase(Database):
    """A database whose answers take two seconds by the machine's count."""

    def __init__(self, database: Database, clock: WrongClock) -> None:
        super().__init__(database.engine)
        self._clock = clock

    async def fetch(self, statement: TextClause, parameters: object) -> Rows:
        """Answer late."""
        del statement, parameters
        self._clock.seconds += 2.0
        return [(LONG_AGO,)]


async def test_a_wrong_clock_is_not_believed(database_url: str) -> None:
    """However often the machine's time jumps: the database's is told, counted on by seconds.

    Proved by telling the machine's own time: workers whose clocks jumped by hours counted a *not
    found* too early, and left payouts lying for hours (tests/faults/rounds/clocks.py).
    """
    machine = WrongClock()
    clock = BooksClock(machine)
    assert clock.now() == LONG_AGO
    database = Database(create_engine(database_url))
    try:
        assert await clock.look(database) == 0
    finally:
        await database.close()
    assert abs(clock.now() - datetime.now(UTC)) < timedelta(minutes=1)
    seen = clock.now()
    machine.told = LONG_AGO + timedelta(days=3000)
    assert clock.now() == seen
    machine.seconds += 5.0
    assert clock.now() == seen + timedelta(seconds=5)
    assert clock.monotonic() == 105.0


async def test_a_late_answer_does_not_set_the_clock_back(database_url: str) -> None:
    """An answer that took long says little; only where nothing is known yet it is better."""
    machine = WrongClock()
    clock = BooksClock(machine)
    database = Database(create_engine(database_url))
    slow = SlowDatabase(database, machine)
    try:
        await clock.look(slow)
        assert clock.now() == LONG_AGO + timedelta(seconds=1)
        await clock.look(database)
        seen = clock.now()
        await clock.look(slow)
        assert clock.now() == seen + timedelta(seconds=2)
    finally:
        await database.close()
