"""A downstream of its own: keeps each different completion event, and each dead letter."""

from __future__ import annotations

import asyncio
import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Final, Self

import aio_pika
from aio_pika.abc import AbstractConnection, AbstractIncomingMessage
from aio_pika.exceptions import CONNECTION_EXCEPTIONS, DeliveryError

from tests.faults.evidence import Heard, PutAside

QUEUE: Final = "judge.events"
DEAD_LETTERS: Final = "payouts.dead-letters"
COMPLETIONS: Final = frozenset({"payout.succeeded", "payout.failed"})
PREFETCH: Final = 500
AGAIN_S: Final = 0.2
LEAVE_S: Final = 2.0


class Collector:
    """Takes every event and every dead letter until closed, through any loss of the broker.

    A message is acknowledged once it is kept, so that what comes twice is looked at twice and
    nothing that came is forgotten. Repeats that are alike to the byte are only counted.

    Args:
        amqp_url: the broker itself, not a proxy in front of it.
    """

    def __init__(self, amqp_url: str) -> None:
        self._amqp_url = amqp_url
        self._keeper: asyncio.Task[None] | None = None
        self._listening = asyncio.Event()
        self._news = asyncio.Event()
        self._heard: dict[str, list[Heard]] = defaultdict(list)
        self.put_aside: list[PutAside] = []
        self.deliveries: Counter[str] = Counter()

    async def __aenter__(self) -> Self:
        """Bind the queue; waits until the product has declared what it publishes to."""
        self._keeper = asyncio.create_task(self._keep(), name="collector")
        await self._listening.wait()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop listening; what was heard stays."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)

    @property
    def heard(self) -> list[Heard]:
        """Give each different completion event that came."""
        return [one for events in self._heard.values() for one in events]

    def has_ended(self, payout_id: str) -> bool:
        """Tell whether a completion event of this payout came."""
        return payout_id in self._heard

    @property
    def ended(self) -> int:
        """Tell how many payouts have a completion event."""
        return len(self._heard)

    async def changed(self, within_s: float) -> None:
        """Return at the next event or dead letter, or after so long."""
        self._news.clear()
        try:
            async with asyncio.timeout(within_s):
                await self._news.wait()
        except TimeoutError:
            return

    async def _keep(self) -> None:
        while True:
            with loss_of_the_broker():
                await self._listen_until_lost()
            await asyncio.sleep(AGAIN_S)

    async def _listen_until_lost(self) -> None:
        connection = await aio_pika.connect(self._amqp_url, timeout=5)
        try:
            await self._listen(connection)
            self._listening.set()
            await _lost(connection)
        finally:
            await leave(connection)

    async def _listen(self, connection: AbstractConnection) -> None:
        channel = await connection.channel()
        await channel.set_qos(prefetch_count=PREFETCH)
        exchange = await channel.get_exchange("payouts.events")
        events = await channel.declare_queue(QUEUE, durable=True)
        await events.bind(exchange, "#")
        await events.consume(self._take_event)
        aside = await channel.get_queue(DEAD_LETTERS)
        await aside.consume(self._take_dead_letter)

    async def _take_event(self, message: AbstractIncomingMessage) -> None:
        body = json.loads(message.body)
        self.deliveries[body["type"]] += 1
        if body["type"] in COMPLETIONS:
            one = Heard(
                body["subject"],
                message.body,
                message.message_id,
                message.correlation_id,
                message.type,
            )
            if one not in self._heard[one.payout_id]:
                self._heard[one.payout_id].append(one)
        await message.ack()
        self._news.set()

    async def _take_dead_letter(self, message: AbstractIncomingMessage) -> None:
        self.put_aside.append(
            PutAside(_payout_id(message.body), _text(message.headers.get("x-payouts-reason")))
        )
        await message.ack()
        self._news.set()


@contextmanager
def loss_of_the_broker() -> Iterator[None]:
    """End in peace where the broker is away, however the library says so.

    It also ends waiting calls by a CancelledError that nobody has sent.
    """
    try:
        yield
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
    except (*CONNECTION_EXCEPTIONS, DeliveryError, TimeoutError):
        return


async def leave(connection: AbstractConnection) -> None:
    """Close a connection; one that was lost can take for ever, and is not waited for."""
    with loss_of_the_broker():
        async with asyncio.timeout(LEAVE_S):
            await connection.close()


async def _lost(connection: AbstractConnection) -> None:
    """Return once a connection has ended, whoever ended it."""
    if connection.transport is not None:
        await asyncio.wait([connection.transport.connection.closing])


def _payout_id(body: bytes) -> str | None:
    try:
        command = json.loads(body)
    except ValueError:
        return None
    found = command.get("payout_id") if isinstance(command, dict) else None
    return found if isinstance(found, str) else None


def _text(value: object) -> str | None:
    return value.decode() if isinstance(value, bytes) else value if isinstance(value, str) else None
