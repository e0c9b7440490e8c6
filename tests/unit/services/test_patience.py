import asyncio
from datetime import UTC, datetime

import pytest

from payouts.domain.errors import StoreRefusedError, StoreUnavailableError
from payouts.domain.signals import Signal
from payouts.services.patience import Patience


class _QuickClock:
    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        assert seconds >= 0
        await asyncio.sleep(0)


class _Signals:
    def __init__(self) -> None:
        self.told: list[Signal] = []

    def emit(self, signal: Signal, /, **fields: object) -> None:
        assert fields["doing"] == "write"
        self.told.append(signal)


class _Store:
    """Is away for a number of writes."""

    def __init__(self, away: int, error: type[Exception] = StoreUnavailableError) -> None:
        self.away = away
        self.error = error
        self.tries = 0

    async def write(self, word: str) -> str:
        self.tries += 1
        if self.tries <= self.away:
            raise self.error
        return word


@pytest.mark.parametrize("away", [0, 1, 2, 7])
async def test_a_write_is_tried_until_it_is_durable(away: int) -> None:
    """However often the database is away, the outcome is what the last write returned.

    Proved by handing a lambda to the library, which does not await what a lambda returns: after
    a first failure the write was never done again.
    """
    store, signals = _Store(away), _Signals()
    patience = Patience(_QuickClock(), signals)
    assert await patience.until_durable("write", lambda: store.write("done")) == "done"
    assert store.tries == away + 1
    assert signals.told == ([Signal.STORE_AWAY, Signal.STORE_BACK] if away else [])


async def test_a_refused_write_is_not_tried_again() -> None:
    """What the database refuses it refuses again; the caller hears of it at once."""
    store = _Store(1, StoreRefusedError)
    with pytest.raises(StoreRefusedError):
        await Patience(_QuickClock(), _Signals()).until_durable("write", lambda: store.write(""))
    assert store.tries == 1
