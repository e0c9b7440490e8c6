"""The throughput round: commands wait, the stack starts, and the queue of events fills."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from aiormq.abc import AbstractChannel, DeliveredMessage

from ops.bench import load
from ops.bench.errors import BenchError
from ops.bench.findings import Drain
from ops.bench.measures import Sample, pace
from ops.bench.site import Site, prepare, running
from ops.bench.stacks import Stack

LOOK_EVERY_S: Final = 0.2
STALL_S: Final = 60.0


async def drain(stack: Stack, site: Site, payouts: int) -> Drain:
    """Have a stack pay so many, and measure; every one was paid once and has one event.

    Raises:
        BenchError: it stood still, or its books do not balance.
    """
    async with load.channel_to(site.place.amqp_url) as channel:
        await load.publish_all(channel, payouts)
        await prepare(stack, site)
        async with running(stack, site) as check:
            samples = await _watched(site, channel, payouts, check)
            peaks = site.peaks()
            events = await Hearing(channel).all_of(payouts)
        repeats = await check_books(stack, site, events, payouts)
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


async def check_books(
    stack: Stack, site: Site, events: Sequence[Mapping[str, Any]], payouts: int
) -> int:
    """Compare events and the simulator's ledger; return how many events were repeats.

    Raises:
        BenchError: a payout was not paid exactly once, or has not exactly one event.
    """
    wanted = {command.payout_id for command in load.commands(payouts)}
    problems = [
        *_wrong_events(events, wanted),
        *_wrong_payments(await site.told("ledger"), wanted),
    ]
    if problems:
        raise BenchError(f"{stack.name}: {'; '.join(problems)}.")
    return len(events) - len(wanted)


def _wrong_events(events: Sequence[Mapping[str, Any]], wanted: set[str]) -> list[str]:
    ids: dict[str, set[str]] = {}
    for event in events:
        ids.setdefault(event["subject"], set()).add(event["id"])
    counts = {
        "payouts without an event": len(wanted - ids.keys()),
        "payouts with several event ids": sum(len(found) > 1 for found in ids.values()),
        "events of strange payouts": len(ids.keys() - wanted),
        "events that tell of no success": sum(
            event["type"] != "payout.succeeded" for event in events
        ),
    }
    return _told(counts)


def _wrong_payments(ledger: Sequence[Mapping[str, Any]], wanted: set[str]) -> list[str]:
    paid = [line["originator_conversation_id"].split("_", 2)[2] for line in ledger]
    counts = {
        "payouts not paid": len(wanted - set(paid)),
        "payments too many": len(paid) - len(set(paid)),
        "strange payments": len(set(paid) - wanted),
    }
    return _told(counts)


def _told(counts: Mapping[str, int]) -> list[str]:
    return [f"{number} {what}" for what, number in counts.items() if number]


class Hearing:
    """Takes all events that there are and that come."""

    def __init__(self, channel: AbstractChannel) -> None:
        self._channel = channel
        self._events: list[dict[str, Any]] = []
        self._payouts: set[str] = set()
        self._news = asyncio.Event()

    async def all_of(self, payouts: int) -> list[dict[str, Any]]:
        """Return the events once so many payouts have one, or none comes any more."""
        expected = await load.waiting(self._channel, load.EVENTS)
        await load.listen(self._channel, self._heard)
        with suppress(TimeoutError):
            while len(self._payouts) < payouts or len(self._events) < expected:
                self._news.clear()
                async with asyncio.timeout(STALL_S):
                    await self._news.wait()
        return self._events

    def _heard(self, message: DeliveredMessage, _at: float) -> None:
        event = json.loads(message.body)
        self._events.append(event)
        self._payouts.add(event["subject"])
        self._news.set()
