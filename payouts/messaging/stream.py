"""Publishing very many commands in order: confirms are counted instead of awaited one by one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from aiormq import Channel
from aiormq.abc import AbstractConnection, ChannelFrame, ConfirmationFrameType
from pamqp.commands import Basic
from pamqp.header import ContentHeader

from payouts.domain.errors import BrokerUnavailableError, PayoutsError, UnroutableError
from payouts.messaging.connection import BrokerConnection, broker_errors, close_channel
from payouts.messaging.frames import CommandFrames
from payouts.messaging.topology import Topology

_SETTLE_WITHIN_S: Final = 30.0


class Outgoing(NamedTuple):
    """A command to be published: its account, its body, and its payout id as `message_id`."""

    account: str
    body: bytes
    message_id: str


class Confirms:
    """Knows up to which message, from the first on, all are confirmed; 0 at first.

    Messages are counted from 1, as RabbitMQ does. It may confirm out of order where they go to
    different queues. The first refusal ends the counting, as nothing behind it counts any more.
    """

    def __init__(self) -> None:
        self.through = 0
        self.refusal: PayoutsError | None = None
        self._early: set[int] = set()

    def confirm(self, tag: int, *, multiple: bool) -> None:
        """Count one message in, or all up to it."""
        if self.refusal is not None:
            return
        if multiple:
            self.through = max(self.through, tag)
            self._early = {one for one in self._early if one > tag}
        else:
            self._early.add(tag)
        while self.through + 1 in self._early:
            self.through += 1
            self._early.discard(self.through)

    def refuse(self, refusal: PayoutsError) -> None:
        """Note that RabbitMQ has not taken one of them."""
        self.refusal = self.refusal or refusal


class _StreamChannel(Channel):
    """A channel that counts its confirms; it must not be used for anything but the stream."""

    def __init__(self, wire: AbstractConnection, number: int) -> None:
        super().__init__(wire, number, publisher_confirms=True)
        self.confirms = Confirms()
        self.moved = asyncio.Event()

    async def _on_confirm_frame(self, frame: ConfirmationFrameType) -> None:
        if isinstance(frame, Basic.Ack):
            self.confirms.confirm(frame.delivery_tag or 0, multiple=bool(frame.multiple))
        else:
            self.confirms.refuse(BrokerUnavailableError("It refused a command."))
        self.moved.set()

    async def _on_return_frame(self, frame: Basic.Return) -> None:
        # It comes before the confirm of its message, which is then not counted.
        header = await self._get_frame()
        if isinstance(header, ContentHeader):
            await self._read_content(frame, header)
        where = f"{frame.exchange} with routing key {frame.routing_key}"
        self.confirms.refuse(UnroutableError(where))
        self.moved.set()


class CommandStream:
    """Publishes commands in order on one channel and knows up to which one all are durable.

    Unlike `CommandPublisher` it costs no task, future or lock for each command: many go out in
    one write. A lost connection ends it; so does a command that RabbitMQ does not take. What was
    confirmed until then stays known. Its caller bounds what is not confirmed yet.

    Args:
        connection: opened by its owner, who also closes it.
        topology: names the exchange.
        timeout_s: RabbitMQ may stand still for so long.
    """

    def __init__(
        self,
        connection: BrokerConnection,
        topology: Topology,
        *,
        timeout_s: float = _SETTLE_WITHIN_S,
    ) -> None:
        self._connection = connection
        self._exchange = topology.commands
        self._timeout_s = timeout_s
        self._published = 0
        self._channel: _StreamChannel | None = None
        self._frames: CommandFrames | None = None

    @property
    def published(self) -> int:
        """How many commands were written to RabbitMQ."""
        return self._published

    @property
    def confirmed(self) -> int:
        """How many commands, from the first on, are durable in their queues."""
        return 0 if self._channel is None else self._channel.confirms.through

    async def publish(self, commands: Sequence[Outgoing]) -> None:
        """Return once these are written; that they are confirmed is for `settle` to tell.

        Raises:
            UnroutableError: an earlier one found no queue.
            BrokerUnavailableError: refused, lost or late.
        """
        channel, frames = await self._open()
        self._check(channel)
        now = int(time.time())
        payload = b"".join(
            [
                frames.of(one.account, one.body, message_id=one.message_id, at=now)
                for one in commands
            ]
        )
        with broker_errors("publish"):
            async with asyncio.timeout(self._timeout_s):
                written = channel.create_future()
                await channel.write_queue.put(
                    ChannelFrame(payload=payload, should_close=False, drain_future=written)
                )
                self._published += len(commands)
                await written

    async def settle(self, count: int) -> None:
        """Return once the first `count` commands are confirmed.

        Raises:
            UnroutableError: one of all found no queue.
            BrokerUnavailableError: refused, lost, or no confirm came for long.
        """
        channel = self._channel
        if channel is None:
            return
        while channel.confirms.through < count:
            self._check(channel)
            channel.moved.clear()
            try:
                async with asyncio.timeout(self._timeout_s):
                    await channel.moved.wait()
            except TimeoutError:
                raise BrokerUnavailableError("It took too long: confirm.") from None

    async def close(self) -> None:
        """Close the channel."""
        if self._channel is not None and not self._channel.is_closed:
            await close_channel(self._channel)

    async def _open(self) -> tuple[_StreamChannel, CommandFrames]:
        if self._channel is None or self._frames is None:
            channel = await self._connection.channel_made_by(
                _StreamChannel, within_s=self._timeout_s
            )
            channel.closing.add_done_callback(_tells(channel))
            self._channel = channel
            self._frames = CommandFrames(
                channel.number, self._exchange, most=channel.max_content_size
            )
        return self._channel, self._frames

    def _check(self, channel: _StreamChannel) -> None:
        if channel.confirms.refusal is not None:
            raise channel.confirms.refusal
        if channel.is_closed:
            raise BrokerUnavailableError("The connection was lost: publish.")


def _tells(channel: _StreamChannel) -> Callable[[object], None]:
    return lambda _: channel.moved.set()
