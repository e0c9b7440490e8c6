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
OLD_AT_MOST: Final = 4
CROWDED_S: Final = 15.0
CROWDED: Final = 30


class Feeder:
    """Publishes with confirms until all commands are out; repeats follow the end of their payout.

    Args:
        amqp_url: the broker.
        collector: knows which payouts have ended.
        open_at_most: how many may be on their way at a time; those in doubt for long do not
            count, up to a bound, or they would keep all others from coming.
        rate: how many a second, at most.
    """

    def __init__(
        self, amqp_url: str, collector: Collector, *, open_at_most: int, rate: float
    ) -> None:
        self._amqp_url = amqp_url
        self._collector = collector
        self._open_at_most = open_at_most
        self._rate = rate
        self._open: dict[str, float] = {}
        self._endless: deque[float] = deque()
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
        allowed, then = 1.0, time.monotonic()
        while left and wanted():
            await self.follow_up()
            now = time.monotonic()
            allowed, then = min(AT_ONCE, allowed + (now - then) * self._rate), now
            room = min(AT_ONCE, self._room(), int(allowed))
            if room <= 0:
                await self._collector.changed(LOOK_S)
                continue
            batch = [left.popleft() for _ in range(min(room, len(left)))]
            allowed -= len(batch)
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
        """Tell whether many payouts have not ended for long."""
        old = time.monotonic() - CROWDED_S
        return sum(since < old for since in self._open.values()) > CROWDED

    def _room(self) -> int:
        young_since = time.monotonic() - YOUNG_S
        while self._endless and self._endless[0] < young_since:
            self._endless.popleft()
        young = sum(since > young_since for since in self._open.values()) + len(self._endless)
        return min(self._open_at_most - young, OLD_AT_MOST * self._open_at_most - len(self._open))

    def unfinished(self) -> int:
        """Count what must end, or be put aside, and has not yet."""
        aside = {letter.payout_id for letter in self._collector.put_aside}
        return sum(
            not self._collector.has_ended(one.payout_id)
            for one in self.published
            if May.STAY_IN_DOUBT not in one.may
            and not (May.BE_PUT_ASIDE in one.may and one.payout_id in aside)
        )

    def unknown(self, known: int) -> int:
        """Count what is neither one of so many payouts nor put aside."""
        aside = {letter.payout_id for letter in self._collector.put_aside}
        return max(0, len(self.published) - len(aside) - known)

    async def _begin(self, command: Command) -> None:
        one = command.published
        self.published.append(one)
        if command.ends:
            self._open[one.payout_id] = time.monotonic()
        else:
            self._endless.append(time.monotonic())
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
