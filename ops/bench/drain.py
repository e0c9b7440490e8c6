"""The throughput round: commands wait, the stack starts, and the queue of events fills."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

from aiormq.abc import AbstractChannel

from ops.bench import load
from ops.bench.errors import BenchError
from ops.bench.findings import Drain
from ops.bench.hearing import STALL_S, Hearing
from ops.bench.measures import Sample, pace
from ops.bench.site import Site, prepare, running
from ops.bench.stacks import Stack

LOOK_EVERY_S: Final = 0.25


async def drain(stack: Stack, site: Site, payouts: int) -> Drain:
    """Have a stack pay so many, and measure; every one was paid once and has one event id.

    Raises:
        BenchError: it stood still, or its books do not balance.
    """
    async with load.channel_to(site.place.amqp_url) as channel:
        hearing = Hearing(channel)
        await load.publish_all(channel, payouts)
        await prepare(stack, site)
        async with running(stack, site) as check:
            samples = await _watched(site, channel, payouts, check)
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


async def _watched(
    site: Site, channel: AbstractChannel, payouts: int, check: Callable[[], None]
) -> list[Sample]:
    samples = [site.sample(time.monotonic(), 0)]
    moved_at = samples[0].at_s
    while samples[-1].events < payouts:
        await asyncio.sleep(LOOK_EVERY_S)
        events = await load.waiting(channel, load.EVENTS)
        samples.append(site.sample(time.monotonic(), events))
        if events > samples[-2].events:
            moved_at = samples[-1].at_s
        elif samples[-1].at_s - moved_at > STALL_S:
            raise BenchError(f"{events} of {payouts} events after {STALL_S:g} s without another.")
        check()
    return samples
