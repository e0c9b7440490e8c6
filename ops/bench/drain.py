"""The throughput round: commands wait, the stack starts, and the queue of events fills."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from math import inf
from typing import Final

from aiormq.abc import AbstractChannel

from ops.bench import load
from ops.bench.errors import BenchError
from ops.bench.findings import Drain
from ops.bench.hearing import STALL_S, Hearing
from ops.bench.measures import Sample, best_rate, pace
from ops.bench.site import Site, prepare, running
from ops.bench.stacks import Stack

LOOK_EVERY_S: Final = 0.25
LOOK_S: Final = 5.0
LOOK_PAYOUTS: Final = 6000


async def drain(stack: Stack, site: Site, payouts: int) -> Drain:
    """Have a stack pay so many, and measure; every one was paid once and has one event id.

    Raises:
        BenchError: it stood still, or its books do not balance.
    """
    async with load.channel_to(site.place.amqp_url) as channel:
        hearing = Hearing(channel)
        await load.publish_all(channel, payouts)
        await prepare(stack, site)
        # It works as soon as it can, so what comes first is seen before it is ready.
        samples = [site.sample(time.monotonic(), 0)]
        async with running(stack, site) as check:
            await _watch(site, channel, payouts, check, samples)
            peaks = site.peaks()
            # An event that came twice was counted twice: some may be still to come.
            await hearing.all_of(payouts)
        repeats = await hearing.check(stack, site, payouts)
    return Drain(
        stack=stack.name,
        payouts=payouts,
        pace=pace(samples, payouts),
        peak_mib=peaks,
        repeats=repeats,
    )


async def rough_rate(stack: Stack, site: Site, payouts: int) -> float:
    """Return about how many payouts a stack pays in a second; it is stopped amid its work.

    Raises:
        BenchError: it stood still.
    """
    payouts = min(payouts, LOOK_PAYOUTS)
    async with load.channel_to(site.place.amqp_url) as channel:
        await load.publish_all(channel, payouts)
        await prepare(stack, site)
        samples = [site.sample(time.monotonic(), 0)]
        async with running(stack, site) as check:
            await _watch(site, channel, payouts, check, samples, within_s=LOOK_S)
    return best_rate(samples)


async def _watch(
    site: Site,
    channel: AbstractChannel,
    payouts: int,
    check: Callable[[], None],
    samples: list[Sample],
    *,
    within_s: float = inf,
) -> None:
    """Add what is seen until all events are there, or so long after the first ones."""
    first_at = inf
    moved_at = time.monotonic()
    while True:
        events = await load.waiting(channel, load.EVENTS)
        samples.append(site.sample(time.monotonic(), events))
        now = samples[-1].at_s
        if events > samples[-2].events:
            moved_at, first_at = now, min(first_at, now)
        elif now - moved_at > STALL_S:
            raise BenchError(f"{events} of {payouts} events after {STALL_S:g} s without another.")
        if events >= payouts or now - first_at >= within_s:
            return
        check()
        await asyncio.sleep(LOOK_EVERY_S)
