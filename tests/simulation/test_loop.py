"""The simulated loop: time that is a number, processes that die and freeze between two steps."""

import asyncio
from typing import Any

import pytest

from tests.simulation.clocks import pass_time
from tests.simulation.loop import Process, SimulatedLoop, StuckError
from tests.simulation.scenario import stream


def run(loop: SimulatedLoop, main: Any) -> Any:
    try:
        return loop.run_until_complete(main)
    finally:
        loop.abandon()
        loop.close()


def test_time_jumps_to_the_next_timer() -> None:
    """An hour passes in no time, to the second."""
    loop = SimulatedLoop(stream(1, "order"))

    async def main() -> float:
        await pass_time(3600)
        return loop.time()

    assert run(loop, main()) == 3600


def test_the_order_of_what_is_ready_is_drawn() -> None:
    """Tasks of one instant run in another order with another seed."""
    orders = set()
    for seed in range(20):
        loop = SimulatedLoop(stream(seed, "order"))
        order: list[int] = []

        async def note(number: int, order: list[int] = order) -> None:
            order.append(number)

        async def main(note: Any = note) -> None:
            await asyncio.gather(*(note(number) for number in range(3)))

        run(loop, main())
        orders.add(tuple(order))

    assert len(orders) > 3


def test_a_killed_process_never_goes_on() -> None:
    """It is struck between two of its steps; others go on, and its clean-up has no effect."""
    loop = SimulatedLoop(stream(1, "order"))
    process = Process("victim")
    done: list[str] = []

    async def victim() -> None:
        try:
            await pass_time(1)
            done.append("first")
            await pass_time(1)
            done.append("second")
        finally:
            asyncio.get_running_loop().call_soon(done.append, "cleaned up")

    async def main() -> None:
        loop.start(process, victim())
        await pass_time(1.5)
        loop.kill(process)
        await pass_time(10)

    run(loop, main())

    assert done == ["first"]


def test_a_frozen_process_goes_on_later_than_it_wanted() -> None:
    """Its timers fire while it stands still; then everything that was due runs at once."""
    loop = SimulatedLoop(stream(1, "order"))
    process = Process("sleeper")
    woken: list[float] = []

    async def sleeper() -> None:
        await pass_time(1)
        woken.append(loop.time())

    async def main() -> None:
        loop.start(process, sleeper())
        await pass_time(0.5)
        loop.freeze(process)
        await pass_time(30)
        loop.thaw(process)
        await pass_time(1)

    run(loop, main())

    assert woken == [30.5]


def test_a_fuse_strikes_after_so_many_steps() -> None:
    """A process can die between any two steps, also of one instant."""
    loop = SimulatedLoop(stream(1, "order"))
    process = Process("victim")
    steps: list[int] = []

    async def victim() -> None:
        for number in range(10):
            steps.append(number)
            await asyncio.sleep(0)

    async def main() -> None:
        process.fuse = (4, lambda: loop.kill(process))
        loop.start(process, victim())
        await pass_time(1)

    run(loop, main())

    assert steps == [0, 1, 2, 3]


def test_a_world_that_waits_for_nothing_is_told() -> None:
    """Nobody waits for ever: where nothing can happen any more, the loop says so."""
    loop = SimulatedLoop(stream(1, "order"))

    async def main() -> None:
        await loop.create_future()

    with pytest.raises(StuckError):
        run(loop, main())
