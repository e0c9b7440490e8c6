"""The servers die, go away and run full: RabbitMQ and PostgreSQL, under load."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final

from ops.local.errors import LocalServerError
from ops.local.rabbitmq import RabbitMQ, find_script
from tests.faults.arena import Arena
from tests.faults.killing import Order, Outcome
from tests.faults.rounds.stage import LONG, Form, Stage, chosen, staged

LOAD_S: Final = 4.0
LOAD_SHORT_S: Final = 1.5
# Longer than a statement, a confirm and a lease may take, and than a circuit's first rest.
AWAY_S: Final = 20.0
AWAY_SHORT_S: Final = 2.0
FULL: Final = "900000GB"
ROOMY: Final = "50MB"
ALARMS: Final = "/api/health/checks/local-alarms"

Mischief = Callable[[Stage], Awaitable[None]]


async def _broker_killed(stage: Stage) -> None:
    broker = stage.arena.stack.rabbitmq
    await asyncio.to_thread(broker.kill)
    await asyncio.to_thread(broker.start)


async def _broker_away(stage: Stage) -> None:
    broker = stage.arena.stack.rabbitmq
    await asyncio.to_thread(broker.kill)
    await _rest(stage)
    await asyncio.to_thread(broker.start)


async def _database_killed(stage: Stage) -> None:
    database = stage.arena.stack.postgresql
    await asyncio.to_thread(database.kill)
    await asyncio.to_thread(database.start)


async def _database_away(stage: Stage) -> None:
    database = stage.arena.stack.postgresql
    await asyncio.to_thread(database.kill)
    await _rest(stage)
    await asyncio.to_thread(database.start)


async def _both_killed(stage: Stage) -> None:
    await asyncio.gather(_broker_killed(stage), _database_killed(stage))


async def _disk_full(stage: Stage) -> None:
    """Let RabbitMQ believe that its disk is full: it stops reading from whoever publishes."""
    broker = stage.arena.stack.rabbitmq
    await asyncio.to_thread(_limit_disk, broker, FULL)
    try:
        if not await asyncio.to_thread(_is_alarmed, broker):
            stage.problems.append("the disk was said to be full, and no alarm went off")
        await _rest(stage)
    finally:
        await asyncio.to_thread(_limit_disk, broker, ROOMY)


FAULTS: Final[Mapping[str, Mischief]] = {
    "broker killed": _broker_killed,
    "broker away": _broker_away,
    "database killed": _database_killed,
    "database away": _database_away,
    "both killed": _both_killed,
    "disk full": _disk_full,
}


async def servers(arena: Arena, order: Order, form: Form = LONG) -> Outcome:
    """Hold a round: each death under load, in an order drawn by the seed, and recovered from."""
    async with staged(arena, order, form) as stage:
        await stage.feed(stage.commands(10))
        await stage.settled()
        steps = chosen(stage, FAULTS)
        for step in steps:
            stage.faults[step] += 1
            over_s = LOAD_SHORT_S if form.short else LOAD_S
            async with stage.under_load(order.payouts // len(steps), over_s=over_s):
                await stage.under_way()
                await FAULTS[step](stage)
            await stage.recovered(step)
        return await stage.judged()


async def _rest(stage: Stage) -> None:
    """Let it last."""
    await stage.last(AWAY_SHORT_S if stage.form.short else AWAY_S)


def _limit_disk(broker: RabbitMQ, free: str) -> None:
    command = [str(Path(find_script()).with_name("rabbitmqctl")), "set_disk_free_limit", free]
    done = subprocess.run(  # noqa: S603 - the private node's own tool
        command, env=broker.environment(), capture_output=True, text=True, timeout=60, check=False
    )
    if done.returncode != 0:
        raise LocalServerError(done.stdout + done.stderr)


def _is_alarmed(broker: RabbitMQ) -> bool:
    try:
        broker.call("GET", ALARMS)
    except LocalServerError as error:
        return "503" in str(error)
    return False
