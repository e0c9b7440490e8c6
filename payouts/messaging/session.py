"""One channel's worth of consuming: deliveries in, acknowledgements out."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from aiormq import Channel
from aiormq.abc import DeliveredMessage

from payouts.domain.errors import BrokerUnavailableError
from payouts.messaging.acknowledgements import Acknowledgements
from payouts.messaging.connection import CHANNEL_TIMEOUT_S, Sleep, broker_errors
from payouts.messaging.delivery import Delivery, delivery_of

FIRST_PAUSE_S: Final = 0.05
PAUSE_CAP_S: Final = 5.0

Handler = Callable[[Delivery], Awaitable[None]]
OnFailure = Callable[[Delivery, Exception], None]


class Session:
    """Consumes on one channel until that channel ends; it is never opened again.

    A handler that returns has its delivery acknowledged. One that raises has it given back with
    `basic.reject`, after a pause that grows with the delivery count: on RabbitMQ 4.3 only a
    reject counts as a failure, on earlier ones every return does. On a channel that has ended
    both are nothing: RabbitMQ delivers again, and intake is idempotent.
    """

    def __init__(
        self,
        channel: Channel,
        *,
        handler: Handler,
        on_failure: OnFailure,
        held: int,
        sleep: Sleep,
    ) -> None:
        self._channel = channel
        self._handler = handler
        self._on_failure = on_failure
        self._sleep = sleep
        self._acknowledgements = Acknowledgements(held=held)
        self._tasks: set[asyncio.Task[None]] = set()
        self._some_done = asyncio.Event()
        self._tag: str | None = None
        self._closing: asyncio.Task[None] | None = None
        self._acknowledger = asyncio.create_task(self._acknowledge())
        channel.on_consumer_cancel_callbacks.add(self._on_cancelled)

    @property
    def consuming(self) -> bool:
        """Whether RabbitMQ delivers to this session."""
        return self._tag is not None and not self._channel.is_closed

    @property
    def in_hand(self) -> int:
        """How many deliveries are with their handlers."""
        return len(self._tasks)

    async def consume(self, queue: str, prefetch: int) -> None:
        """Ask for deliveries."""
        with broker_errors("consume"):
            await self._channel.basic_qos(prefetch_count=prefetch, timeout=CHANNEL_TIMEOUT_S)
            answer = await self._channel.basic_consume(
                queue, self._on_message, timeout=CHANNEL_TIMEOUT_S
            )
        self._tag = answer.consumer_tag

    async def cancel(self) -> None:
        """Ask for no more; what is in hand goes on."""
        tag, self._tag = self._tag, None
        if tag is not None and not self._channel.is_closed:
            with broker_errors("cancel a consumer"):
                await self._channel.basic_cancel(tag, timeout=CHANNEL_TIMEOUT_S)

    async def ended(self) -> None:
        """Return when the channel has ended, for whatever reason."""
        await asyncio.wait([self._channel.closing])

    async def drain(self, grace_s: float | None) -> int:
        """Wait for the handlers; cancel those that take longer and return how many."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=grace_s)
        abandoned = list(self._tasks)
        for task in abandoned:
            task.cancel()
        await asyncio.gather(*abandoned, return_exceptions=True)
        return len(abandoned)

    async def close(self) -> None:
        """Acknowledge what is done and close the channel; RabbitMQ takes back the rest."""
        self._acknowledger.cancel()
        await asyncio.gather(self._acknowledger, return_exceptions=True)
        self._tag = None
        if self._channel.is_closed:
            return
        with suppress(BrokerUnavailableError), broker_errors("close a channel"):
            async with asyncio.timeout(CHANNEL_TIMEOUT_S):
                await self._send_acknowledgements()
                await self._channel.close()

    async def _on_message(self, message: DeliveredMessage) -> None:
        # The library ends its own tasks with the channel; handlers must outlive it.
        task = asyncio.create_task(self._handle(delivery_of(message)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _on_cancelled(self, _: object) -> None:
        """RabbitMQ took the consumer away, such as with its queue: end, and begin anew."""
        self._tag = None
        self._closing = asyncio.create_task(self.close())

    async def _handle(self, delivery: Delivery) -> None:
        try:
            await self._handler(delivery)
        except Exception as error:  # noqa: BLE001 - whatever a handler raises, the queue goes on
            self._on_failure(delivery, error)
            await self._give_back(delivery)
        else:
            self._acknowledgements.done(delivery.tag)
            self._some_done.set()

    async def _give_back(self, delivery: Delivery) -> None:
        if self.consuming:
            growth = 2 ** min(delivery.delivery_count, 10)
            await self._sleep(min(PAUSE_CAP_S, FIRST_PAUSE_S * growth))
        if self._channel.is_closed:
            return
        with suppress(BrokerUnavailableError), broker_errors("give a delivery back"):
            await self._channel.basic_reject(delivery.tag, requeue=True, wait=False)
        self._acknowledgements.settled(delivery.tag)
        self._some_done.set()

    async def _acknowledge(self) -> None:
        while not self._channel.is_closed:
            await self._some_done.wait()
            await asyncio.sleep(0)  # What ends in the same turn of the loop shares the frame.
            self._some_done.clear()
            with suppress(BrokerUnavailableError), broker_errors("acknowledge"):
                await self._send_acknowledgements()

    async def _send_acknowledgements(self) -> None:
        for one in self._acknowledgements.take():
            await self._channel.basic_ack(one.tag, multiple=one.multiple, wait=False)
