"""Shows that memory does not grow with the backlog: `ops/memory.sh [--commands N]`.

A private RabbitMQ gets very many commands. The worker's gateway takes requests and does not
answer, so that its hands are full; then its account is paused. In both states the memory of
worker and callback server is compared with what it was at 1,000 waiting commands.
"""

# ruff: noqa: T201 - It prints a table.

from __future__ import annotations

import argparse
import asyncio
import secrets
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from ops.local import LocalStack
from payouts.storage.migrate import upgrade
from tests.acceptance.watched import Scene, beats, flood, resident_mib, waiting_commands
from tests.acceptance.watched import watched_world as watched

FEW: Final = 1000
TOLERANCE: Final = 0.10
SAMPLES: Final = 5
SETTINGS: Final = {
    "PAYOUTS_REQUEST_TIMEOUT_S": "3600",
    "PAYOUTS_RESULT_DEADLINE_S": "3600",
    "PAYOUTS_WORKER_LEASE_S": "10",
}


@dataclass(frozen=True, kw_only=True)
class Figures:
    """Memory in MiB at so many commands waiting."""

    state: str
    waiting: int
    worker: float
    callback_server: float

    def __str__(self) -> str:
        """Return one line of the table."""
        return (
            f"{self.state:14} {self.waiting:>10,} {self.worker:>9.1f} {self.callback_server:>16.1f}"
        )


def growth(before: Figures, after: Figures) -> float:
    """Return by which part of itself the memory has grown, of the process where that is most."""
    return max(after.worker / before.worker - 1, after.callback_server / before.callback_server - 1)


async def measured(scene: Scene, state: str) -> Figures:
    """Return the largest of some figures, a heartbeat apart."""
    world = scene.world
    found = []
    for _ in range(SAMPLES):
        await beats(world, 1)
        found.append((resident_mib(world.processes[1]), resident_mib(world.processes[0])))
    return Figures(
        state=state,
        waiting=await waiting_commands(world),
        worker=max(worker for worker, _ in found),
        callback_server=max(server for _, server in found),
    )


async def compared(
    scene: Scene, commands: int, tell: Callable[[Figures], None]
) -> list[tuple[Figures, Figures]]:
    """Return the figures at few and at many commands, with a slow gateway and a paused account."""
    world = scene.world
    scene.gateway.doors.clear()
    await flood(world, FEW)
    await _until_in_hand(scene)
    found: list[list[Figures]] = [[], []]
    for index in (0, 1):
        if index:
            await flood(world, commands - FEW)
        await world.set_paused("default", paused=False)
        found[0].append(await _told(measured(scene, "slow gateway"), tell))
        await world.set_paused("default", paused=True)
        found[1].append(await _told(measured(scene, "paused account"), tell))
    return [(few, many) for few, many in found]


async def _told(figures: Awaitable[Figures], tell: Callable[[Figures], None]) -> Figures:
    one = await figures
    tell(one)
    return one


async def _until_in_hand(scene: Scene) -> None:
    async def some() -> bool:
        return len(scene.gateway.arrivals) > 0 and await waiting_commands(scene.world) < FEW

    await scene.world.until(some, "requests are in hand", 60)


async def main(commands: int) -> int:
    """Measure and print; 1 where memory grew by more than a tenth."""
    with TemporaryDirectory(prefix="payouts-memory-") as folder:
        async with LocalStack("memory") as stack:
            name = f"memory_{secrets.token_hex(4)}"
            database_url = await stack.fresh_database(name)
            await asyncio.to_thread(upgrade, database_url)
            amqp_url = await stack.fresh_vhost(name)
            print(f"{'':14} {'waiting':>10} {'worker':>9} {'callback server':>16}  MiB")
            async with watched(amqp_url, database_url, Path(folder), **SETTINGS) as scene:
                pairs = await compared(scene, commands, lambda one: print(one, flush=True))
                scene.gateway.doors.set()  # Nobody waits for an answer when it goes.
    worst = max(growth(few, many) for few, many in pairs)
    print(f"grown by {worst:.1%} at most; {TOLERANCE:.0%} may be")
    return int(worst > TOLERANCE)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="ops/memory.sh", description=__doc__)
    parser.add_argument("--commands", type=int, default=1_000_000, help="how many wait (1000000)")
    sys.exit(asyncio.run(main(parser.parse_args().commands)))
