"""Turns between sources, and memory for large bodies."""

from __future__ import annotations

import asyncio

import pytest

from callback_server.bodies import LARGE_BYTES, LARGE_BYTES_EACH, SMALL_BYTES, Bodies, CrowdedError
from callback_server.fairness import FairShare


async def test_another_source_is_second_in_line() -> None:
    """However many of one source wait, one of another goes after the next.

    Proved by keeping one line for all: the quiet one is last.
    """
    share = FairShare(1)
    order: list[str] = []
    tasks = []

    everybody = asyncio.Event()

    async def work(source: str) -> None:
        async with share.turn(source):
            await everybody.wait()
            order.append(source)

    for source in [*["greedy"] * 5, "quiet"]:
        tasks.append(asyncio.create_task(work(source)))
        await asyncio.sleep(0)
    everybody.set()
    await asyncio.gather(*tasks)
    assert order.index("quiet") <= 2


async def test_so_many_work_at_a_time() -> None:
    """The limit holds, and everybody comes to work."""
    share = FairShare(3)
    now = most = done = 0

    async def work() -> None:
        nonlocal now, most, done
        async with share.turn("a"):
            now += 1
            most = max(most, now)
            await asyncio.sleep(0)
            now -= 1
            done += 1

    await asyncio.gather(*(work() for _ in range(20)))
    assert (most, done) == (3, 20)


async def test_whoever_gives_up_waiting_takes_no_turn_along() -> None:
    """A cancelled waiter, called or not yet called, leaves the turn to the next."""
    share = FairShare(1)
    holding = asyncio.Event()

    async def work(held: asyncio.Event | None = None) -> None:
        async with share.turn("a"):
            if held is not None:
                await held.wait()

    first = asyncio.create_task(work(holding))
    await asyncio.sleep(0)
    called, uncalled, last = (asyncio.create_task(work()) for _ in range(3))
    await asyncio.sleep(0)
    uncalled.cancel()
    holding.set()
    await first
    called.cancel()  # Its turn has come, and it has not noticed yet.
    async with asyncio.timeout(5):
        await asyncio.gather(last, called, uncalled, return_exceptions=True)
        async with share.turn("b"):
            pass
    assert not last.cancelled()


async def test_hard_work_rests_between_turns() -> None:
    """What keeps the loop busy lets it breathe for as long as it took, and longer."""
    share = FairShare(1, rest=2.0)
    loop = asyncio.get_running_loop()

    async def work() -> tuple[float, float]:
        async with share.turn("a"):
            began = loop.time()
            sum(range(200_000))
            return began, loop.time()

    (_, first_end), (second_begin, _) = await asyncio.gather(work(), work())
    assert second_begin > first_end


def test_large_bodies_share_bounded_memory() -> None:
    """One source gets a part of it, all together no more than there is; small ones need none."""
    bodies = Bodies(within_s=1)
    with bodies.room(LARGE_BYTES_EACH, "a"):
        with pytest.raises(CrowdedError), bodies.room(SMALL_BYTES + 1, "a"):
            pass
        with bodies.room(SMALL_BYTES, "a"), bodies.room(LARGE_BYTES_EACH, "b"):
            pass
        with bodies.room(LARGE_BYTES_EACH, "b"), bodies.room(LARGE_BYTES_EACH, "c"):
            rest = LARGE_BYTES - 3 * LARGE_BYTES_EACH
            with pytest.raises(CrowdedError), bodies.room(rest + 1, "d"):
                pass
    with bodies.room(LARGE_BYTES_EACH, "a"):
        pass
