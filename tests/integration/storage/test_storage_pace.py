"""Any number of workers together keep to an account's rate; what is slowed down recovers."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import asyncpg
import pytest
from storage_bed import ACCOUNT, Bed, StandingClock, until

from payouts.domain.errors import StoreUnavailableError
from payouts.domain.signals import Signal
from payouts.domain.values import AccountName
from payouts.storage.engine import Database, create_engine
from payouts.storage.pace import PostgresPace

FREE = AccountName("free")
RATE = 200.0


class Ears:
    """Remembers signals."""

    def __init__(self) -> None:
        self.heard: list[tuple[Signal, dict[str, object]]] = []

    def emit(self, signal: Signal, /, **fields: object) -> None:
        """Take a signal down."""
        self.heard.append((signal, fields))


Open = Callable[[float], Awaitable[PostgresPace]]


@pytest.fixture
def ears() -> Ears:
    """Give a telemetry that remembers."""
    return Ears()


@pytest.fixture
async def open_pace(books_url: str, ears: Ears) -> AsyncIterator[Open]:
    """Give a way to open paces, each as in a process of its own."""
    async with AsyncExitStack() as stack:

        async def open_one(rate: float) -> PostgresPace:
            database = Database(create_engine(books_url, pool_size=2))
            stack.push_async_callback(database.close)
            rates = {ACCOUNT: rate, FREE: 0.0}
            return await stack.enter_async_context(
                PostgresPace(database, StandingClock(), rates, ears)
            )

        yield open_one


async def turns(pace: PostgresPace, count: int, taken: list[float]) -> None:
    async def take() -> None:
        await pace.turn(ACCOUNT)
        taken.append(time.monotonic())

    await asyncio.gather(*(take() for _ in range(count)))


def most_within(taken: list[float], span_s: float) -> int:
    """Give how many turns the busiest span of this length had."""
    ordered = sorted(taken)
    return max(sum(1 for at in ordered if begin <= at < begin + span_s) for begin in ordered)


async def test_three_workers_together_keep_the_rate(open_pace: Open) -> None:
    """No second has more turns than the rate allows, and all get theirs.

    Proved by giving each worker a row of its own.
    """
    paces = [await open_pace(RATE) for _ in range(3)]
    taken: list[float] = []

    async with asyncio.timeout(30):
        await asyncio.gather(*(turns(pace, 100, taken) for pace in paces))

    assert len(taken) == 300
    # A slot may be used up to a slice late, and the next in time.
    assert most_within(taken, 1.0) <= RATE * 1.1 + 2
    assert max(taken) - min(taken) >= 299 / RATE - 0.1


async def test_turns_are_taken_in_the_order_of_asking(open_pace: Open) -> None:
    """Nobody is overtaken within a worker."""
    pace = await open_pace(RATE)
    order: list[int] = []

    async def take(number: int) -> None:
        await pace.turn(ACCOUNT)
        order.append(number)

    await asyncio.gather(*(take(number) for number in range(40)))

    assert order == list(range(40))


async def test_an_idle_account_saves_up_no_burst(open_pace: Open, bed: Bed) -> None:
    """After an hour of rest the first turns are as far apart as ever.

    Proved by going on from the last slot, however old.
    """
    pace = await open_pace(50.0)
    await bed.fetch(
        "INSERT INTO accounts (name, next_slot_at) VALUES ('default', now() - interval '1 hour')"
    )
    taken: list[float] = []

    await turns(pace, 6, taken)

    assert max(taken) - min(taken) >= 5 / 50 - 0.02


async def test_without_a_limit_the_database_is_not_asked(open_pace: Open, bed: Bed) -> None:
    """Rate 0 is no limit, and an account that is not named has none either."""
    pace = await open_pace(0.0)

    for account in (ACCOUNT, FREE, AccountName("unknown")):
        await pace.turn(account)
        pace.slow_down(account)

    assert await bed.count("accounts") == 0


async def test_a_throttle_lowers_the_pace_of_all_once_a_second(
    open_pace: Open, ears: Ears, bed: Bed
) -> None:
    """Many throttled answers at the same time are one step down, which is told."""
    first, second = await open_pace(RATE), await open_pace(RATE)

    for _ in range(20):
        first.slow_down(ACCOUNT)
        second.slow_down(ACCOUNT)
        await asyncio.sleep(0)
    await until(lambda: bool(ears.heard))
    await first.turn(ACCOUNT)

    assert ears.heard == [(Signal.PACE_LOWERED, {"account": ACCOUNT, "pace": RATE * 0.7})]
    status = (await bed.store.account_statuses([ACCOUNT]))[ACCOUNT]
    assert status.pace is not None
    assert RATE * 0.7 <= status.pace < RATE


async def test_a_lowered_pace_is_kept_by_every_worker(open_pace: Open, bed: Bed) -> None:
    """Also by one that was not throttled itself.

    Proved by spacing the slots by the configured rate alone.
    """
    pace = await open_pace(RATE)
    await bed.fetch("INSERT INTO accounts (name, pace, raised_at) VALUES ('default', 10, now())")
    taken: list[float] = []

    await turns(pace, 5, taken)

    assert max(taken) - min(taken) >= 0.2


async def test_the_pace_never_falls_to_nothing(open_pace: Open, ears: Ears, bed: Bed) -> None:
    """5 % of the rate, at least one a second, is always left."""
    pace = await open_pace(RATE)
    for _ in range(12):
        heard = len(ears.heard)
        await bed.fetch("UPDATE accounts SET lowered_at = now() - interval '2 seconds'")
        pace.slow_down(ACCOUNT)
        await until(lambda heard=heard: len(ears.heard) > heard)  # type: ignore[misc]

    assert ears.heard[-1][1]["pace"] == RATE * 0.05


async def test_quiet_raises_the_pace_to_the_rate_again(open_pace: Open, bed: Bed) -> None:
    """By 5 % of the rate a second; at the rate the row says so by saying nothing."""
    pace = await open_pace(RATE)
    await bed.fetch(
        "INSERT INTO accounts (name, pace, raised_at)"
        " VALUES ('default', 100, now() - interval '2 seconds')"
    )

    await pace.turn(ACCOUNT)
    rows = await bed.fetch("SELECT pace FROM accounts")
    assert 120 <= rows[0][0] < 140

    await bed.fetch("UPDATE accounts SET raised_at = now() - interval '10 seconds'")
    await pace.turn(ACCOUNT)
    assert [row[0] for row in await bed.fetch("SELECT pace FROM accounts")] == [None]


async def test_whoever_gives_up_waiting_holds_nobody_else_up(open_pace: Open) -> None:
    """Cancelled callers leave their place to the next."""
    pace = await open_pace(20.0)
    tasks = [asyncio.create_task(pace.turn(ACCOUNT)) for _ in range(40)]
    await asyncio.sleep(0)
    for task in tasks[1:-1]:
        task.cancel()

    async with asyncio.timeout(5):
        await tasks[0]
        await tasks[-1]


async def test_while_the_database_is_away_turns_wait(open_pace: Open, bed: Bed) -> None:
    """Nothing is sent meanwhile, and nothing is lost: turns come when it is back."""
    pace = await open_pace(RATE)
    await pace.turn(ACCOUNT)
    holder = await asyncpg.connect(bed.url)
    async with holder.transaction():
        await holder.execute("LOCK TABLE accounts")
        waiting = asyncio.create_task(pace.turn(ACCOUNT))
        rows: list[asyncpg.Record] = []
        async with asyncio.timeout(10):
            while not rows:
                rows = await bed.fetch(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE wait_event_type = 'Lock' AND application_name = 'payouts'"
                )
        assert not waiting.done()
    await holder.close()

    async with asyncio.timeout(10):
        await waiting


async def test_a_pace_that_is_not_kept_gives_no_turns(books_url: str, ears: Ears) -> None:
    """Before and after its context; who waits when it ends hears so."""
    database = Database(create_engine(books_url, pool_size=2))
    pace = PostgresPace(database, StandingClock(), {ACCOUNT: 1.0}, ears)
    with pytest.raises(StoreUnavailableError):
        await pace.turn(ACCOUNT)
    async with pace:
        await pace.turn(ACCOUNT)
        waiting = [asyncio.create_task(pace.turn(ACCOUNT)) for _ in range(5)]
        await asyncio.sleep(0)

    outcomes = await asyncio.gather(*waiting, return_exceptions=True)

    assert sum(isinstance(one, StoreUnavailableError) for one in outcomes) >= 4
    with pytest.raises(StoreUnavailableError):
        await pace.turn(ACCOUNT)
    await database.close()
