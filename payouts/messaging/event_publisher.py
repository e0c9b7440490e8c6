"""Publishing events: what is published in one turn of the loop goes out in one write."""

from __future__ import annotations

import asyncio
from collections import Counter
from itertools import takewhile
from typing import Final

from aiormq import Channel
from aiormq.abc import AbstractConnection, ChannelFrame, ConfirmationFrameType
from pamqp.commands import Basic
from pamqp.header import ContentHeader

from payouts.domain.errors import BrokerUnavailableError, UnroutableError
from payouts.domain.events import Event
from payouts.messaging.codec import encode_event
from payouts.messaging.connection import BrokerConnection, cause_of, close_channel
from payouts.messaging.frames import EventFrames
from payouts.messaging.topology import Topology

PUBLISH_WITHIN_S: Final = 10.0


class AmqpEventPublisher:
    """Publishes events to the topic exchange (contract.md §2); an EventPublisher.

    Many may be on their way; its caller bounds how many. A lost confirm is not a refusal: the
    event may lie in its queue. Whoever publishes it again keeps its id, so that receivers can
    tell.

    Args:
        connection: opened by its owner.
        topology: names the exchange.
        timeout_s: bound of one publication, the wait for a connection included.
    """

    def __init__(
        self,
        connection: BrokerConnection,
        topology: Topology,
        *,
        timeout_s: float = PUBLISH_WITHIN_S,
    ) -> None:
        self._connection = connection
        self._exchange = topology.events
        self._timeout_s = timeout_s
        self._opening = asyncio.Lock()
        self._channel: _EventChannel | None = None
        self._closing: set[asyncio.Task[None]] = set()

    async def publish(self, event: Event) -> None:
        """Return once at least one queue has the event.

        Raises:
            UnroutableError: no queue is bound for its type.
            BrokerUnavailableError: it is not certain that it was taken; publish it again.
        """
        channel = None
        try:
            async with asyncio.timeout(self._timeout_s):
                channel = await self._open()
                await channel.send(event)
        except TimeoutError:
            if channel is not None:
                self._leave(channel)
            raise BrokerUnavailableError("It took too long: publish an event.") from None

    async def close(self) -> None:
        """Close the channel; what waits for a confirm raises."""
        if self._channel is not None:
            self._leave(self._channel)
        if self._closing:
            await asyncio.wait(self._closing)

    async def _open(self) -> _EventChannel:
        if self._channel is not None and not self._channel.is_closed:
            return self._channel
        async with self._opening:
            if self._channel is None or self._channel.is_closed:
                channel = await self._connection.channel_made_by(
                    _EventChannel, within_s=self._timeout_s
                )
                channel.begin(self._exchange)
                self._channel = channel
            return self._channel

    def _leave(self, channel: _EventChannel) -> None:
        """Leave a channel that does not confirm; a late confirm must find nobody waiting."""
        if self._channel is channel:
            self._channel = None
            task = asyncio.create_task(close_channel(channel))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)


class Unconfirmed:
    """Knows which event each confirm of a channel is for, and what came back. Free of AMQP."""

    def __init__(self) -> None:
        self._added = 0
        self._waiting: dict[int, tuple[str, asyncio.Future[None]]] = {}
        self._returned: Counter[str] = Counter()

    def add(self, event_id: str) -> asyncio.Future[None]:
        """Count an event that is written next; the future tells what RabbitMQ said of it."""
        self._added += 1
        confirmed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[self._added] = event_id, confirmed
        return confirmed

    def came_back(self, event_id: str) -> None:
        """Note that no queue takes an event; its confirm, still to come, then says no more."""
        self._returned[event_id] += 1

    def settle(self, tag: int, *, multiple: bool, taken: bool) -> None:
        """Pass on what RabbitMQ says of one event, or of all up to it."""
        tags = list(takewhile(lambda one: one <= tag, self._waiting)) if multiple else [tag]
        for one in tags:
            found = self._waiting.pop(one, None)
            if found is not None:
                self._settle(*found, taken=taken)

    def fail(self, cause: str) -> None:
        """Have all that wait raise."""
        for _, confirmed in self._waiting.values():
            if not confirmed.done():
                confirmed.set_exception(BrokerUnavailableError(f"{cause}: publish an event."))
        self._waiting.clear()

    def _settle(self, event_id: str, confirmed: asyncio.Future[None], *, taken: bool) -> None:
        returned = event_id in self._returned
        if returned:
            self._returned -= Counter((event_id,))  # Forgets those of which none is left.
        if confirmed.done():  # Whoever published it waits no more.
            return
        if not taken:
            confirmed.set_exception(BrokerUnavailableError("It was refused: publish an event."))
        elif returned:
            confirmed.set_exception(UnroutableError("the exchange of events"))
        else:
            confirmed.set_result(None)


class _EventChannel(Channel):
    """A channel on which events are published, and nothing else."""

    def __init__(self, wire: AbstractConnection, number: int) -> None:
        super().__init__(wire, number, publisher_confirms=True)
        self._unconfirmed = Unconfirmed()
        self._outgoing: list[bytes] = []
        self._some = asyncio.Event()
        self._frames: EventFrames | None = None

    def begin(self, exchange: str) -> None:
        """Be ready to send; the channel is open."""
        self._frames = EventFrames(self.number, exchange, most=self.max_content_size)
        self.closing.add_done_callback(self._has_closed)
        self.create_task(self._write_out())

    def send(self, event: Event) -> asyncio.Future[None]:
        """Have an event written, and return what is done once RabbitMQ has confirmed it."""
        if self._frames is None or self.is_closed:
            raise BrokerUnavailableError("The connection was lost: publish an event.")
        self._outgoing.append(self._frames.of(event, encode_event(event)))
        self._some.set()
        return self._unconfirmed.add(event.event_id)

    async def _write_out(self) -> None:
        while True:
            await self._some.wait()
            self._some.clear()
            payload = b"".join(self._outgoing)
            self._outgoing.clear()
            # It waits here as long as RabbitMQ reads nothing.
            await self.write_queue.put(
                ChannelFrame(payload=payload, should_close=False, drain_future=None)
            )

    async def _on_confirm_frame(self, frame: ConfirmationFrameType) -> None:
        self._unconfirmed.settle(
            frame.delivery_tag or 0,
            multiple=isinstance(frame, Basic.Ack | Basic.Nack) and bool(frame.multiple),
            taken=isinstance(frame, Basic.Ack),
        )

    async def _on_return_frame(self, frame: Basic.Return) -> None:
        # It comes before the confirm of its message.
        header = await self._get_frame()
        if isinstance(header, ContentHeader):
            await self._read_content(frame, header)
            self._unconfirmed.came_back(header.properties.message_id or "")

    def _has_closed(self, closing: asyncio.Future[object]) -> None:
        reason = None if closing.cancelled() else closing.exception()
        self._unconfirmed.fail("The connection was lost" if reason is None else cause_of(reason))
