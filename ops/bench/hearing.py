"""The events of a round as they come, and whether they and the payments are as they should be."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from typing import Any, Final

from aiormq.abc import AbstractChannel, DeliveredMessage

from ops.bench import load
from ops.bench.errors import BenchError
from ops.bench.site import Site
from ops.bench.stacks import Stack

STALL_S: Final = 60.0


class Hearing:
    """Takes all events that there are and that come, and keeps when each payout's first came."""

    def __init__(self, channel: AbstractChannel) -> None:
        self._channel = channel
        self.arrived: dict[str, float] = {}
        self._bodies: list[bytes] = []
        self._news = asyncio.Event()

    async def all_of(self, payouts: int) -> None:
        """Take what waits, and return once so many payouts have one, or none comes any more."""
        waiting = await load.waiting(self._channel, load.EVENTS)
        await self.begin()
        await self.complete(payouts, waiting)

    async def begin(self) -> None:
        """Start to take them."""
        await load.listen(self._channel, self._heard)

    async def complete(self, payouts: int, events: int = 0) -> None:
        """Return once so many payouts have one and so many came, or none comes any more."""
        with suppress(TimeoutError):
            while len(self.arrived) < payouts or len(self._bodies) < events:
                self._news.clear()
                async with asyncio.timeout(STALL_S):
                    await self._news.wait()

    async def check(self, stack: Stack, site: Site, payouts: int) -> int:
        """Compare events and the simulator's ledger; return how many events were repeats.

        Raises:
            BenchError: a payout was not paid exactly once, or has not exactly one event id.
        """
        wanted = frozenset(command.payout_id for command in load.commands(payouts))
        events = [json.loads(body) for body in self._bodies]
        ledger = await site.told("ledger")
        problems = [*wrong_events(events, wanted), *wrong_payments(ledger, wanted)]
        if problems:
            raise BenchError(f"{stack.name}: {'; '.join(problems)}.")
        return len(events) - len(wanted)

    def _heard(self, message: DeliveredMessage, at: float) -> None:
        payout_id = str(message.header.properties.correlation_id)
        self.arrived.setdefault(payout_id, at)
        self._bodies.append(bytes(message.body))
        self._news.set()


def wrong_events(events: Sequence[Mapping[str, Any]], wanted: AbstractSet[str]) -> list[str]:
    """Return what is wrong where each wanted payout should have one event id that tells success."""
    ids: dict[str, set[str]] = {}
    for event in events:
        ids.setdefault(event["subject"], set()).add(event["id"])
    unsuccessful = {event["subject"] for event in events if event["type"] != "payout.succeeded"}
    return _told(
        {
            "payouts without an event": len(wanted - ids.keys()),
            "payouts with several event ids": sum(len(found) > 1 for found in ids.values()),
            "event ids that several payouts share": _shared(ids),
            "events of strange payouts": len(ids.keys() - wanted),
            "payouts that did not succeed": len(unsuccessful),
        }
    )


def wrong_payments(ledger: Sequence[Mapping[str, Any]], wanted: AbstractSet[str]) -> list[str]:
    """Return what is wrong where each wanted payout should have been paid exactly once."""
    paid = [line["originator_conversation_id"].split("_", 2)[2] for line in ledger]
    return _told(
        {
            "payouts not paid": len(wanted - set(paid)),
            "payments too many": len(paid) - len(set(paid)),
            "strange payments": len(set(paid) - wanted),
        }
    )


def _shared(ids: Mapping[str, AbstractSet[str]]) -> int:
    each = [one for found in ids.values() for one in found]
    return len(each) - len(set(each))


def _told(counts: Mapping[str, int]) -> list[str]:
    return [f"{number} {what}" for what, number in counts.items() if number]
