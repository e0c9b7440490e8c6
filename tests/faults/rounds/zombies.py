"""Processes that freeze for longer than their lease and wake up: SIGSTOP, then SIGCONT.

A worker is frozen while it holds requests that are about to be sent. The gateway of this round
pays an id as often as it is sent: whatever a woken worker still sends is a payment too many.
"""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from tests.faults.arena import Arena
from tests.faults.killing import Order, Outcome
from tests.faults.nursery import Birth, Child
from tests.faults.points import Process
from tests.faults.rounds.stage import LONG, Form, Stage, staged

FORGETS: Final = json.dumps({"rule": [{"when": {}, "do": "forget_duplicates"}]})
LEASE_S: Final = 1.5
DRAIN_S: Final = 10.0
AT_ONCE: Final = 40
# So slow that what a worker has claimed waits for its turn, and is not sent yet.
SLOW: Final = {"PAYOUTS_TPS": "10"}
SETTINGS: Final = {
    "PAYOUTS_WORKER_LEASE_S": str(LEASE_S),
    "PAYOUTS_CONCURRENCY": str(AT_ONCE),
    "PAYOUTS_PREFETCH": str(AT_ONCE),
}
APART: Final = {"PAYOUTS_PROCESS_INDEX": "9"}
RUN: Final = "zombies"
_PAUSE: Final = "INSERT INTO paused_runs (run_id, reason, paused_at) VALUES ($1, 'x', now())"
_RESUME: Final = """
WITH resumed AS (DELETE FROM paused_runs WHERE run_id = $1)
UPDATE payouts SET held = NULL, next_action_at = now() WHERE run_id = $1 AND held IS NOT NULL
"""
_HELD: Final = "SELECT count(*) = $1 FROM payouts WHERE held IS NOT NULL"
_CLAIMED: Final = "SELECT count(*) >= $1 FROM payouts WHERE state = 'submitting'"
_TAKEN_OVER: Final = "SELECT count(*) = $1 FROM payouts WHERE state = 'submitting'"


async def zombies(arena: Arena, order: Order, form: Form = LONG) -> Outcome:
    """Hold a round: freeze a worker, let others take over, wake it; then a callback server."""
    times = 1 if form.short else max(2, order.payouts // (2 * AT_ONCE))
    async with staged(
        arena, order, form, script=FORGETS, workers=0, callback_servers=1, settings=SETTINGS
    ) as stage:
        for _ in range(times):
            await worker_wakes(stage)
        await callback_server_wakes(stage, times * AT_ONCE)
        return await stage.judged()


async def worker_wakes(stage: Stage, fence: Mapping[str, str] = MappingProxyType({})) -> None:
    """Freeze a worker that has claimed much and sent little; wake it when others have it all.

    Args:
        stage: without a worker of its own.
        fence: settings of the frozen worker alone.
    """
    await stage.do(_PAUSE, RUN)
    await stage.feed(stage.commands(AT_ONCE, run_id=RUN))
    zombie = await born(stage, Process.WORKER, {**SLOW, **fence})
    rescuers: list[Child] = []
    try:
        # A paused run's payouts are taken and rest, whenever the worker hears of the pause.
        await stage.until(_HELD, "the paused run's payouts are held", AT_ONCE)
        await stage.do(_RESUME, RUN)
        await stage.until(_CLAIMED, "the worker has claimed some", AT_ONCE // 4)
        zombie.signal(signal.SIGSTOP)
        stage.faults["worker frozen"] += 1
        rescuers += [await born(stage, Process.WORKER) for _ in range(2)]
        await stage.until(_TAKEN_OVER, "others have taken over", 0)
        await stage.settled(after="a worker was frozen")
        zombie.signal(signal.SIGCONT)
        await stage.last(LEASE_S * 2)
        await stage.recovered("worker woken")
    finally:
        await end([zombie, *rescuers])


async def callback_server_wakes(stage: Stage, payouts: int) -> None:
    """Freeze one of two callback servers: half of all Results wait in its sockets."""
    sleeper = await born(stage, Process.CALLBACK_SERVER, APART)
    worker = await born(stage, Process.WORKER)
    try:
        await stage.feed(stage.commands(AT_ONCE))
        await stage.settled()
        async with stage.under_load(payouts, over_s=LEASE_S):
            await stage.under_way()
            sleeper.signal(signal.SIGSTOP)
            stage.faults["callback server frozen"] += 1
            await stage.last(LEASE_S * 2)
            sleeper.signal(signal.SIGCONT)
        await stage.recovered("callback server woken")
    finally:
        await end([sleeper, worker])


async def born(
    stage: Stage,
    process: Process,
    settings: Mapping[str, str] | None = None,
    *,
    jumps: tuple[tuple[float, float], ...] = (),
) -> Child:
    """Start a process that nobody keeps alive; its clock may jump."""
    return await stage.arena.nursery.fork(
        Birth(
            process=process,
            environ={**stage.environ, **(settings or {})},
            record=str(stage.folder / "deaths"),
            log=str(stage.folder / f"{process}-apart.log"),
            jumps=jumps,
        )
    )


async def end(children: list[Child]) -> None:
    """Let them drain if they can."""
    for child in children:
        child.signal(signal.SIGCONT)
        child.signal(signal.SIGTERM)
    waits = [asyncio.shield(child.ended) for child in children]
    await asyncio.wait(waits, timeout=DRAIN_S)
    for child in children:
        child.kill()
    await asyncio.gather(*waits)
