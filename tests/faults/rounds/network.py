"""The network misbehaves: each fault of the proxy on each way that bytes can take, under load."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from tests.faults.arena import Arena
from tests.faults.killing import Order, Outcome
from tests.faults.proxy import Proxy
from tests.faults.rounds.stage import LONG, Form, Lane, Stage, chosen, staged
from tests.faults.weather import Way

AGAIN_S: Final = 0.3
Mischief = Callable[[Proxy], None]


def _turn_away(proxy: Proxy) -> None:
    """Refuse newcomers, and make everybody one."""
    proxy.refuse()
    proxy.reset()


# What is done at the beginning; the last three are done again and again while the fault lasts.
FAULTS: Final[Mapping[str, Mischief]] = {
    "delay": lambda proxy: proxy.delay(0.15),
    "throttle": lambda proxy: proxy.throttle(40_000),
    "half-open": lambda proxy: proxy.half_open(),
    "stall-up": lambda proxy: proxy.stall(Way.UP),
    "stall-down": lambda proxy: proxy.stall(Way.DOWN),
    "stall": lambda proxy: proxy.stall(Way.UP, Way.DOWN),
    "refuse": _turn_away,
    "forget": lambda proxy: proxy.forget(),
    "reset-after": lambda proxy: proxy.reset_after(20_000),
    "reset": lambda proxy: proxy.reset(),
    "cut": lambda proxy: proxy.cut(),
}
REPEATED: Final = frozenset({"reset", "cut", "reset-after"})
STEPS: Final = tuple(f"{lane} {fault}" for lane in Lane for fault in FAULTS)
# What only time-outs end lasts too long for the short form.
FORGOTTEN: Final = frozenset({f"{Lane.AMQP} forget", f"{Lane.SQL} forget"})
LASTS_S: Final = (0.5, 3.0)
# Longer than every time-out of the product but AMQP's heartbeat.
LASTS_LONG_S: Final = 18.0
LONG_SHARE: Final = 0.1
LASTS_SHORT_S: Final = 0.3


async def network(arena: Arena, order: Order, form: Form = LONG) -> Outcome:
    """Hold a round: one fault after the other, in an order drawn by the seed.

    In the long form each is recovered from before the next; in the short one all are.
    """
    async with staged(arena, order, form) as stage:
        await stage.feed(stage.commands(10))
        await stage.settled()
        steps = [step for step in chosen(stage, STEPS) if not form.short or step not in FORGOTTEN]
        share = max(5, order.payouts // len(steps))
        for step in steps:
            await _step(stage, step, share)
            if not form.short:
                await stage.recovered(step)
        if form.short:
            await stage.recovered("all of them")
        return await stage.judged()


async def _step(stage: Stage, step: str, share: int) -> None:
    lane, _, fault = step.partition(" ")
    proxy = stage.lanes[Lane(lane)]
    lasts_s = _lasts_s(stage)
    stage.faults[step] += 1
    async with stage.under_load(share, over_s=lasts_s):
        FAULTS[fault](proxy)
        for _ in range(int(lasts_s / AGAIN_S) if fault in REPEATED else 0):
            await stage.last(AGAIN_S)
            FAULTS[fault](proxy)
        await stage.last(lasts_s if fault not in REPEATED else AGAIN_S)
        await proxy.restore()


def _lasts_s(stage: Stage) -> float:
    if stage.form.short:
        return LASTS_SHORT_S
    if stage.draws.random() < LONG_SHARE:
        return LASTS_LONG_S
    return stage.draws.uniform(*LASTS_S)
