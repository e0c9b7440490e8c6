"""An upstream that does not give up: publishes each command until the broker has confirmed it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Final

import aio_pika
from aio_pika.abc import AbstractConnection, AbstractExchange

from tests.faults.collector import leave, loss_of_the_broker
from tests.faults.evidence import Published

EXCHANGE: Final = "payouts.commands"
AT_ONCE: Final = 50
CONFIRM_S: Final = 5.0
AGAIN_S: Final = 0.1
LUMP_S: Final = 0.02


class Upstream:
    """Publishes with confirms; what was not confirmed is published again, with the same content.

    So a command may be in the queue twice, as with any upstream that was cut off.
    """

    def __init__(self, amqp_url: str) -> None:
        self._amqp_url = amqp_url
        self._connection: AbstractConnection | None = None
        self._exchange: AbstractExchange | None = None
        self._opening = asyncio.Lock()
        self.again = 0
        self.causes: Counter[str] = Counter()

    async def publish(self, commands: Sequence[Published], *, over_s: float = 0.0) -> None:
        """Return when all are confirmed, at the earliest after `over_s`."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        places = asyncio.Semaphore(AT_ONCE)
        under_way: set[asyncio.Task[None]] = set()
        done = 0
        try:
            while done < len(commands):
                passed = loop.time() - began
                share = 1.0 if passed >= over_s else passed / over_s
                while done < len(commands) * share:
                    await places.acquire()
                    task = asyncio.create_task(self._publish(commands[done], places))
                    under_way.add(task)
                    task.add_done_callback(under_way.discard)
                    done += 1
                await asyncio.sleep(LUMP_S)
            await asyncio.gather(*under_way)
        finally:
            for task in under_way:
                task.cancel()

    async def close(self) -> None:
        """Disconnect."""
        connection, self._connection, self._exchange = self._connection, None, None
        if connection is not None:
            await leave(connection)

    async def _publish(self, command: Published, places: asyncio.Semaphore) -> None:
        message = aio_pika.Message(command.body(), content_type="application/json", delivery_mode=2)
        try:
            while not await self._confirmed(message, command.account):
                self.again += 1
                await asyncio.sleep(AGAIN_S)
        finally:
            places.release()

    async def _confirmed(self, message: aio_pika.Message, account: str) -> bool:
        tried: list[AbstractExchange] = []
        confirmed: list[bool] = []
        with loss_of_the_broker():
            try:
                tried.append(await self._open())
                await tried[0].publish(message, routing_key=account, timeout=CONFIRM_S)
                confirmed.append(True)
            except Exception as error:  # noqa: BLE001 - the library raises bare ones, too
                self.causes[type(error).__name__] += 1
        if tried and not confirmed and tried[0] is self._exchange:
            await self.close()
        return bool(confirmed)

    async def _open(self) -> AbstractExchange:
        async with self._opening:
            if self._exchange is None:
                self._connection = await aio_pika.connect(self._amqp_url, timeout=CONFIRM_S)
                # A message that no queue takes yet comes back as an error, and is published again.
                channel = await self._connection.channel(on_return_raises=True)
                self._exchange = await channel.get_exchange(EXCHANGE)
            return self._exchange
