import asyncio
from collections import Counter
from datetime import UTC, datetime
from typing import cast

import pytest

from payouts.domain.errors import BrokerUnavailableError, StoreUnavailableError
from payouts.domain.signals import Signal
from payouts.ports import PayoutStore
from payouts.services.patience import Patience
from worker.suspects import Suspects


class _Clock:
    """Stands still."""

    def now(self) -> datetime:
        return datetime(2026, 11, 30, tzinfo=UTC)

    def monotonic(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        assert seconds >= 0
        await asyncio.sleep(0)


class _Silent:
    """Hears signals and forgets them."""

    def emit(self, signal: Signal, /, **fields: object) -> None:
        assert signal
        assert fields


class _Store:
    """Counts how often suspects were begun, as the database does."""

    def __init__(self) -> None:
        self.begun: Counter[str] = Counter()

    async def begin_suspect(self, key: str, *, at: datetime) -> int:
        assert at.tzinfo is not None
        self.begun[key] += 1
        return self.begun[key] - 1

    async def clear_suspect(self, key: str) -> None:
        self.begun.pop(key, None)


def suspects(store: _Store) -> Suspects:
    clock = _Clock()
    return Suspects(
        store=cast("PayoutStore", store), clock=clock, patience=Patience(clock, _Silent())
    )


async def test_a_suspect_that_comes_to_its_end_is_forgotten() -> None:
    """An innocent that was in hand at twenty deploys leaves no mark."""
    store = _Store()
    for _ in range(5):
        async with suspects(store).alone(b"one") as begun:
            assert begun == 0
            assert store.begun.total() == 1
    assert not store.begun


async def test_a_try_without_an_end_counts() -> None:
    """What raises each time is told apart from what was only beside it.

    Proved by clearing in any case: it was tried for ever.
    """
    store = _Store()
    seen: list[int] = []

    async def fail() -> None:
        async with suspects(store).alone(b"one") as begun:
            seen.append(begun)
            raise KeyError("defect")

    for _ in range(4):
        with pytest.raises(KeyError):
            await fail()
    assert seen == [0, 1, 2, 3]


@pytest.mark.parametrize(
    "error", [StoreUnavailableError(), BrokerUnavailableError(), asyncio.CancelledError()]
)
async def test_what_the_command_cannot_help_does_not_count(error: BaseException) -> None:
    """A database that is away, a RabbitMQ that is away, a drain: none of them is poison.

    Proved by counting them: three drains made a dead letter of a good command.
    """
    store = _Store()

    async def end() -> None:
        async with suspects(store).alone(b"one"):
            raise error

    with pytest.raises(type(error)):
        await end()
    assert not store.begun


async def test_one_suspect_at_a_time() -> None:
    """Each waits for its turn, so that a crash blames the one that was begun.

    Proved by letting all begin at once.
    """
    store = _Store()
    trying = suspects(store)
    first_may_end = asyncio.Event()
    began: list[bytes] = []

    async def attempt(body: bytes) -> None:
        async with trying.alone(body):
            began.append(body)
            if body == b"first":
                await first_may_end.wait()

    first = asyncio.create_task(attempt(b"first"))
    others = [asyncio.create_task(attempt(f"{n}".encode())) for n in range(5)]
    for _ in range(20):
        await asyncio.sleep(0)
    assert began == [b"first"]
    assert len(store.begun) == 1
    first_may_end.set()
    await asyncio.gather(first, *others)
    assert len(began) == 6
    assert not store.begun
