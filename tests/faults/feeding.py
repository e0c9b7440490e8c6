"""Publishes a round's commands so that always some are open: neither a flood nor a lull."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Final, Self

import aio_pika

from tests.faults.collector import Collector
from tests.faults.evidence import May, Published
from tests.faults.load import UNREADABLE, Command

EXCHANGE: Final = "payouts.commands"
UNREADABLE_EVERY: Final = 60
AT_ONCE: Final = 20
LOOK_S: Final = 0.05
YOUNG_S: Final = 5.0
OLD_AT_MOST: Final = 3
CROWDED: Final = 1.5


class Feeder:
    """Publishes with confirms until all commands are out; repeats follow the end of their payout.

    Args:
        amqp_url: the broker.
        collector: knows which payouts have ended.
        open_at_most: how many may be on their way at a time; those in doubt for long do not
            count, up to a bound, or they would keep all others from coming.
    """

    def __init__(self, amqp_url: str, collector: Collector, *, open_at_most: int) -> None:
        self._amqp_url = amqp_url
        self._collector = collector
        self._open_at_most = open_at_most
        self._open: dict[str, float] = {}
        self._again: dict[str, Command] = {}
        self._connection: aio_pika.abc.AbstractConnection | None = None
        self._exchange: aio_pika.abc.AbstractExchange | None = None
        self.published: list[Published] = []
        self.messages = 0

    async def __aenter__(self) -> Self:
        """Connect."""
        self._connection = await aio_pika.connect(self._amqp_url)
        channel = await self._connection.channel()
        self._exchange = await channel.get_exchange(EXCHANGE, ensure=False)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Disconnect."""
        if self._connection is not None:
            await self._connection.close()

    async def feed(self, commands: Iterable[Command], *, wanted: Callable[[], bool]) -> None:
        """Publish all commands as earlier ones end; stop early once no more are `wanted`."""
        left = deque(commands)
        while left and wanted():
            await self.follow_up()
            room = min(AT_ONCE, self._room())
            if room <= 0:
                await self._collector.changed(LOOK_S)
                continue
            batch = [left.popleft() for _ in range(min(room, len(left)))]
            await asyncio.gather(*(self._begin(command) for command in batch))

    async def follow_up(self) -> int:
        """Publish the repeats of what has ended; return how many are still to come."""
        has_ended = self._collector.has_ended
        self._open = {one: since for one, since in self._open.items() if not has_ended(one)}
        ended = [one for one in self._again if self._collector.has_ended(one)]
        for payout_id in ended:
            command = self._again.pop(payout_id)
            await self._publish(command.again or b"", command.published.account)
        return len(self._again)

    @property
    def crowded(self) -> bool:
        """Tell whether payouts end more slowly than they should."""
        return len(self._open) > CROWDED * self._open_at_most

    def _room(self) -> int:
        young_since = time.monotonic() - YOUNG_S
        young = sum(since > young_since for since in self._open.values())
        return min(self._open_at_most - young, OLD_AT_MOST * self._open_at_most - len(self._open))

    @property
    def valid(self) -> int:
        """Return how many payouts must come of what was published."""
        return sum(
            May.BE_PUT_ASIDE not in one.may or May.SUCCEED in one.may for one in self.published
        )

    async def _begin(self, command: Command) -> None:
        one = command.published
        self.published.append(one)
        if command.ends:
            self._open[one.payout_id] = time.monotonic()
        if command.again is not None:
            self._again[one.payout_id] = command
        if len(self.published) % UNREADABLE_EVERY == 0:
            await self._publish(UNREADABLE, one.account)
        await self._publish(command.body, one.account)

    async def _publish(self, body: bytes, account: str) -> None:
        if self._exchange is None:
            raise RuntimeError("The feeder is not open.")
        message = aio_pika.Message(body, content_type="application/json", delivery_mode=2)
        await self._exchange.publish(message, routing_key=account)
        self.messages += 1
