"""A downstream of the demo: takes every event from a queue of its own and counts."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from contextlib import suppress
from datetime import UTC, datetime
from math import ceil
from types import TracebackType
from typing import Final, Self

import aio_pika
from aio_pika.abc import AbstractConnection, AbstractIncomingMessage, AbstractQueue

QUEUE: Final = "demo.events"
ENDINGS: Final = frozenset({"payout.succeeded", "payout.failed"})
_PREFETCH: Final = 500


class Listener:
    """Counts completion events: how many came, and how many different ids each payout has."""

    def __init__(self, amqp_url: str, exchange: str = "payouts.events") -> None:
        self._amqp_url = amqp_url
        self._exchange = exchange
        self._connection: AbstractConnection | None = None
        self._queue: AbstractQueue | None = None
        self._tag = ""
        self._ids: dict[str, set[str]] = defaultdict(set)
        self._news = asyncio.Event()
        self._times: list[datetime] = []
        self.deliveries = 0

    async def __aenter__(self) -> Self:
        self._connection = await aio_pika.connect(self._amqp_url)
        channel = await self._connection.channel()
        await channel.set_qos(prefetch_count=_PREFETCH)
        exchange = await channel.declare_exchange(
            self._exchange, aio_pika.ExchangeType.TOPIC, durable=True
        )
        self._queue = await channel.declare_queue(QUEUE, durable=True)
        await self._queue.bind(exchange, "#")
        self._tag = await self._queue.consume(self._take)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._connection is not None:
            await self._connection.close()

    @property
    def payouts(self) -> int:
        """How many payouts have a completion event."""
        return len(self._ids)

    @property
    def ambiguous(self) -> int:
        """How many payouts have completion events of more than one id; always 0."""
        return sum(len(ids) > 1 for ids in self._ids.values())

    def heard_by(self, part: float) -> datetime | None:
        """Return when this part (0 to 1) of all payouts heard of had their event."""
        index = ceil(len(self._times) * part) - 1
        return self._times[index] if 0 <= index < len(self._times) else None

    async def heard(self, payouts: int, *, within_s: float) -> None:
        """Return once so many payouts have their event, or when it is too late."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while self.payouts < payouts:
                    self._news.clear()
                    await self._news.wait()

    async def _take(self, message: AbstractIncomingMessage) -> None:
        event = json.loads(message.body)
        if event["type"] in ENDINGS:
            self.deliveries += 1
            if event["subject"] not in self._ids:
                self._times.append(datetime.now(UTC))
            self._ids[event["subject"]].add(event["id"])
            self._news.set()
        await message.ack()
