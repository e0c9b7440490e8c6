"""Any number of workers together keep to an account's rate; what is slowed down recovers."""

import asyncio
import time

import pytest
from pace_bed import FREE, RATE, Ears, Open
from storage_bed import ACCOUNT, Bed, StandingClock, until

from payouts.domain.errors import StoreUnavailableError
from payouts.domain.signals import Signal
from payouts.domain.values import AccountName
from payouts.storage.engine import Database, create_engine
from payouts.storage.pace import PostgresPace
from payouts.storage.reservations import LEAST_LEARNED
from payouts.storage.slots import Spacing

SLOTS = Spacing(RATE).rate  # What of it is given out.


async def requests(pace: PostgresPace, count: int, left: list[float]) -> None:
    """Send so many at once; note when each leaves."""

    async def send() -> None:
        await pace.turn(ACCOUNT)
        assert await pace.leave(ACCOUNT)
        left.append(time.monotonic())

    await asyncio.gather(*(send() for _ in range(count)))


def most_within(left: list[float], span_s: float) -> int:
    """Give how many requests the busiest span of this length had."""
    ordered = sorted(left)
    return max(sum(1 for at in ordered if begin <= at < begin + span_s) for begin in ordered)


async def test_three_workers_together_keep_the_rate(open_pace: Open) -> None:
    """No second has more requests than the limit and 2 %, and all get their turn.

    Proved by giving each worker a row of its own.
    """
    paces = [await open_pace(RATE) for _ in range(3)]
    left: list[float] = []

    async with asyncio.timeout(30):
        await asyncio.gather(*(requests(pace, 100, left) for pace in paces))

    assert len(left) == 300
    assert most_within(left, 1.0) <= RATE * 1.02


async def test_a_request_that_had_no_turn_leaves_in_a_slot_of_its_own(open_pace: Open) -> None:
    """Questions and what is sent again keep to the limit as well.

    Proved by letting whoever finds no slot go.
    """
    pace = await open_pace(50.0)
    left: list[float] = []

    async def leave() -> None:
        assert await pace.leave(ACCOUNT)
        left.append(time.monotonic())

    await asyncio.gather(*(leave() for _ in range(11)))

    assert max(left) - min(left) >= 10 / 50 - 0.02


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
    left: list[float] = []

    await requests(pace, 6, left)

    assert max(left) - min(left) >= 5 / 50 - 0.02


async def test_without_a_limit_and_throttling_nothing_is_kept(open_pace: Open, bed: Bed) -> None:
    """Rate 0 is no limit, and an account that is not named has none either."""
    pace = await open_pace(0.0)

    for account in (ACCOUNT, FREE, AccountName("unknown")):
        await pace.turn(account)
        assert await pace.leave(account)
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

    assert ears.heard == [
        (Signal.PACE_LOWERED, {"account": ACCOUNT, "pace": round(SLOTS * 0.7, 2)})
    ]
    status = (await bed.store.account_statuses([ACCOUNT]))[ACCOUNT]
    assert status.pace is not None
    assert SLOTS * 0.7 <= status.pace < SLOTS


async def test_a_lowered_pace_is_kept_by_every_worker(open_pace: Open, bed: Bed) -> None:
    """Also by one that was not throttled itself.

    Proved by spacing the slots by the configured rate alone.
    """
    pace = await open_pace(RATE)
    await bed.fetch("INSERT INTO accounts (name, pace, raised_at) VALUES ('default', 10, now())")
    left: list[float] = []

    await requests(pace, 5, left)

    assert max(left) - min(left) >= 0.3


async def test_the_pace_never_falls_to_nothing(open_pace: Open, ears: Ears, bed: Bed) -> None:
    """5 % of the rate, at least one a second, is always left."""
    pace = await open_pace(RATE)
    for _ in range(12):
        heard = len(ears.heard)
        await bed.fetch("UPDATE accounts SET lowered_at = now() - interval '2 seconds'")
        pace.slow_down(ACCOUNT)
        await until(lambda heard=heard: len(ears.heard) > heard)  # type: ignore[misc]

    assert ears.heard[-1][1]["pace"] == pytest.approx(SLOTS * 0.05, abs=0.01)


async def test_quiet_raises_the_pace_to_the_rate_again(open_pace: Open, bed: Bed) -> None:
    """By 5 % of the rate a second; at the rate the row says so by saying nothing."""
    pace = await open_pace(RATE)
    await bed.fetch(
        "INSERT INTO accounts (name, pace, raised_at)"
        " VALUES ('default', 100, now() - interval '2 seconds')"
    )

    await pace.turn(ACCOUNT)
    rows = await bed.fetch("SELECT pace FROM accounts")
    assert 119 <= rows[0][0] < 140

    await bed.fetch("UPDATE accounts SET raised_at = now() - interval '10 seconds'")
    await pace.turn(ACCOUNT)
    assert [row[0] for row in await bed.fetch("SELECT pace FROM accounts")] == [None]


async def send_throttled(pace: PostgresPace, count: int, *, throttled: int) -> None:
    """Send so many without a limit, of which so many are refused because of the rate."""
    for _ in range(count):
        await pace.turn(FREE)
        assert await pace.leave(FREE)
    for _ in range(throttled):
        pace.slow_down(FREE)


async def learned(bed: Bed) -> tuple[float, float] | None:
    """Give the pace of the account without a limit, and where it comes from."""
    rows = await bed.fetch("SELECT pace, pace_ceiling FROM accounts WHERE name = 'free'")
    return (rows[0][0], rows[0][1]) if rows and rows[0][0] is not None else None


async def test_without_a_limit_throttling_teaches_a_pace(
    open_pace: Open, ears: Ears, bed: Bed
) -> None:
    """70 % of what all workers sent is what they send from now on, also those not throttled.

    Proved by keeping what was learned to oneself.
    """
    for name in ("one", "two"):
        await bed.fetch(
            "INSERT INTO workers (name, started_at, heartbeat_at, accounts)"
            " VALUES ($1, now(), now(), '{free}')",
            name,
        )
    first, second = await open_pace(0.0), await open_pace(0.0)

    await send_throttled(first, 100, throttled=50)
    await until(lambda: bool(ears.heard))

    found = await learned(bed)
    assert found is not None
    pace, ceiling = found
    # Twice what one of two workers sent in a second, which may have begun meanwhile.
    assert 100 <= ceiling <= 200
    assert ears.heard == [(Signal.PACE_LOWERED, {"account": FREE, "pace": round(pace, 2)})]
    assert pace == pytest.approx(0.7 * ceiling)
    await bed.fetch("UPDATE accounts SET pace = 20, raised_at = now()")
    async with asyncio.timeout(10):
        slow = False
        while not slow:
            began = time.monotonic()
            await asyncio.gather(*(second.leave(FREE) for _ in range(5)))
            slow = time.monotonic() - began >= 0.15


async def test_one_refused_receiver_teaches_an_account_without_a_limit_nothing(
    open_pace: Open, bed: Bed
) -> None:
    """A passing refusal now and then is not the rate's fault, nor is any at a low rate."""
    pace = await open_pace(0.0)

    await send_throttled(pace, 100, throttled=1)
    await pace.turn(ACCOUNT)
    await asyncio.gather(*(pace.leave(ACCOUNT) for _ in range(int(LEAST_LEARNED) // 2)))
    for _ in range(5):
        pace.slow_down(ACCOUNT)
    await asyncio.gather(*(pace.leave(ACCOUNT) for _ in range(3)))

    assert await learned(bed) is None
    assert await bed.count("accounts") == 0


async def test_quiet_makes_an_account_without_a_limit_forget_its_pace(
    open_pace: Open, ears: Ears, bed: Bed
) -> None:
    """It rises by 5 % of what was throttled in a second; from there on nothing holds it."""
    pace = await open_pace(0.0)
    await send_throttled(pace, 100, throttled=50)
    await until(lambda: bool(ears.heard))

    await bed.fetch("UPDATE accounts SET raised_at = now() - interval '1 minute'")
    async with asyncio.timeout(10):
        while await learned(bed) is not None:
            await pace.turn(FREE)
        began = time.monotonic()
        await asyncio.gather(*(pace.turn(FREE) for _ in range(1000)))

    assert time.monotonic() - began < 5


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


async def test_a_pace_that_is_not_kept_gives_no_turns(books_url: str, ears: Ears) -> None:
    """Before and after its context; who waits when it ends hears so."""
    database = Database(create_engine(books_url, pool_size=2))
    pace = PostgresPace(database, StandingClock(), {ACCOUNT: 1.0}, ears)
    with pytest.raises(StoreUnavailableError):
        await pace.turn(ACCOUNT)
    assert not await pace.leave(ACCOUNT)
    async with pace:
        await pace.turn(ACCOUNT)
        waiting = [asyncio.create_task(pace.turn(ACCOUNT)) for _ in range(5)]
        await asyncio.sleep(0)

    outcomes = await asyncio.gather(*waiting, return_exceptions=True)

    assert sum(isinstance(one, StoreUnavailableError) for one in outcomes) >= 4
    with pytest.raises(StoreUnavailableError):
        await pace.turn(ACCOUNT)
    await database.close()
