"""The latency round: commands come at half of what the stack can do, and every step is timed.

All instants are of one machine's time of day: the publisher's, the simulator's, the listener's.
"""

from __future__ import annotations

import asyncio
import time

from ops.bench import load
from ops.bench.findings import HalfLoad
from ops.bench.hearing import Hearing
from ops.bench.measures import Journey, foreign, latency
from ops.bench.site import Site, prepare, running
from ops.bench.stacks import Stack
from payouts.messaging import CommandStream, Outgoing


async def half_load(stack: Stack, site: Site, payouts: int, rate: float) -> HalfLoad:
    """Have a stack pay so many at this rate, and measure how long commands and Results wait.

    Raises:
        BenchError: its books do not balance.
    """
    async with (
        load.stream_to(site.place.amqp_url) as publishing,
        load.channel_to(site.place.amqp_url) as listening,
    ):
        hearing = Hearing(listening)
        await prepare(stack, site)
        async with running(stack, site) as check:
            await hearing.begin()
            before = site.sample(time.monotonic(), 0)
            published = await _published(publishing, payouts, rate)
            await hearing.complete(payouts)
            after = site.sample(time.monotonic(), payouts)
            check()
        repeats = await hearing.check(stack, site, payouts)
    times = {
        one["originator_conversation_id"].split("_", 2)[2]: one for one in await site.told("times")
    }
    journeys = [
        Journey(
            published_at=at,
            requested_at=times[payout_id]["accepted_at"],
            told_at=times[payout_id]["told_at"],
            heard_at=hearing.arrived[payout_id],
        )
        for payout_id, at in published.items()
    ]
    return HalfLoad(
        stack=stack.name,
        payouts=payouts,
        rate=rate,
        latency=latency(journeys),
        foreign=foreign(before, after),
        repeats=repeats,
    )


async def _published(stream: CommandStream, payouts: int, rate: float) -> dict[str, float]:
    """Publish evenly, whatever becomes of them; return when each was handed to RabbitMQ."""
    clock = asyncio.get_running_loop().time
    began = clock()
    published: dict[str, float] = {}
    for number, command in enumerate(load.commands(payouts)):
        await asyncio.sleep(max(0.0, began + number / rate - clock()))
        published[command.payout_id] = time.time()
        await stream.publish([Outgoing(load.ACCOUNT, command.body, command.payout_id)])
    await stream.settle(payouts)
    return published
