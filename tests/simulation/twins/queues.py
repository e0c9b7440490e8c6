"""RabbitMQ's side of the twin: quorum queues, channels, and what was taken for good."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from pamqp.commands import Basic

from payouts.domain.events import Event
from payouts.domain.values import AccountName
from payouts.messaging.codec import COMMAND_CONTENT_TYPE
from payouts.messaging.delivery import DELIVERY_COUNT, Delivery
from tests.simulation.seams import BrokerFaults, BrokerWatch, Far

LOOK_AGAIN_S: Final = 0.5


@dataclass(slots=True, eq=False)
class Message:
    """A command in its queue, until it is acknowledged."""

    account: AccountName
    body: bytes
    properties: Basic.Properties
    returns: int = 0
    delivered: bool = False
    settled: bool = False


class DeadLetter(NamedTuple):
    """A command that was put aside, and why."""

    body: bytes
    properties: Basic.Properties
    reason: str
    detail: str
    account: str


@dataclass(slots=True, eq=False)
class Channel:
    """One consumer's channel; once it has ended, nothing that comes over it counts.

    Args:
        process: whose it is.
        account: whose queue it consumes.
        prefetch: how many deliveries may be out.
        arrive: hands a delivery over at the near side.
        end: tells the near side that it has ended.
    """

    process: str
    account: AccountName
    prefetch: int
    arrive: Callable[[Delivery], None]
    end: Callable[[], None]
    consuming: bool = False
    ended: bool = False
    tag: int = 0
    out: dict[int, Message] = field(default_factory=dict)


class Queues:
    """Quorum queues, one for each account: what is not acknowledged is delivered again.

    A message that comes back has its count one higher, and goes to the front or to the back:
    both are seen, depending on RabbitMQ's release and the delivery limit.
    """

    def __init__(self, far: Far, faults: BrokerFaults, watch: BrokerWatch) -> None:
        self.events: list[Event] = []
        self.dead: list[DeadLetter] = []
        self._far = far
        self._faults = faults
        self._watch = watch
        self._ready: dict[AccountName, deque[Message]] = {}
        self._channels: dict[AccountName, list[Channel]] = {}
        self._open: dict[str, list[Channel]] = {}
        self._gone: dict[str, None] = {}
        self._unsettled = 0
        self._looking = False

    def waiting(self) -> int:
        """Return how many commands are not acknowledged yet."""
        return self._unsettled

    def publish_command(self, account: AccountName, body: bytes, message_id: str | None) -> None:
        """Take a command for good, as soon as RabbitMQ is there."""
        if self._faults.away:
            self._far.after(LOOK_AGAIN_S, lambda: self.publish_command(account, body, message_id))
            return
        properties = Basic.Properties(
            content_type=COMMAND_CONTENT_TYPE, delivery_mode=2, message_id=message_id
        )
        self.take(Message(account, body, properties))

    def take(self, message: Message) -> None:
        """Put a new message at the end of its queue."""
        self._unsettled += 1
        self._ready.setdefault(message.account, deque()).append(message)
        self._dispatch(message.account)

    def consume(self, channel: Channel) -> None:
        """Begin to deliver over a channel."""
        if channel.ended or channel.consuming or channel.process in self._gone:
            return
        channel.consuming = True
        opened = self._open.setdefault(channel.process, [])
        if channel not in opened:
            opened.append(channel)
        self._channels.setdefault(channel.account, []).append(channel)
        self._dispatch(channel.account)

    def cancel(self, channel: Channel) -> None:
        """Deliver nothing more over a channel; what is out may still be acknowledged."""
        if channel.consuming:
            channel.consuming = False
            self._channels[channel.account].remove(channel)

    def lose(self, channel: Channel) -> None:
        """End a channel, for whatever reason: what is out comes back."""
        if channel.ended:
            return
        self.cancel(channel)
        channel.ended = True
        if channel in self._open.get(channel.process, ()):
            self._open[channel.process].remove(channel)
        out, channel.out = channel.out, {}
        for message in reversed(out.values()):
            self._come_back(message)
        self._dispatch(channel.account)
        channel.end()

    def lost(self, process: str) -> None:
        """End all channels of a process that has died."""
        self._gone[process] = None
        for channel in self._open.pop(process, []):
            self.lose(channel)

    def acknowledge(self, channel: Channel, tag: int) -> None:
        """Forget a message for good, unless its channel has ended meanwhile."""
        if self._faults.away or self._far.random.random() < self._faults.lost_ack:
            self.lose(channel)
            return
        message = channel.out.pop(tag, None)
        if message is None:
            return
        if not message.settled:
            message.settled = True
            self._unsettled -= 1
            self._watch.acknowledged(message.body, message.properties.message_id)
        self._dispatch(channel.account)

    def reject(self, channel: Channel, tag: int) -> None:
        """Put a message back that its handler could not do."""
        message = channel.out.pop(tag, None)
        if message is not None:
            self._come_back(message)
            self._dispatch(channel.account)

    def took_event(self, event: Event) -> None:
        """Keep an event for downstream."""
        self.events.append(event)
        self._watch.took_event(event)

    def took_dead_letter(self, letter: DeadLetter) -> None:
        """Keep a dead letter for a person."""
        self.dead.append(letter)
        self._watch.dead_lettered(letter.body, letter.properties.message_id, letter.reason)

    def _come_back(self, message: Message) -> None:
        if message.settled:
            return
        message.returns += 1
        ready = self._ready[message.account]
        if self._far.random.random() < 0.5:
            ready.appendleft(message)
        else:
            ready.append(message)

    def _dispatch(self, account: AccountName) -> None:
        ready = self._ready.get(account)
        if not ready:
            return
        if self._faults.away:
            self._look_again()
            return
        while ready:
            room = [one for one in self._channels.get(account, ()) if len(one.out) < one.prefetch]
            if not room:
                return
            message = ready.popleft()
            if not message.settled:
                self._deliver(message, room[int(self._far.random.random() * len(room))])

    def _deliver(self, message: Message, channel: Channel) -> None:
        faults, random = self._faults, self._far.random.random
        channel.tag += 1
        tag = channel.tag
        headers = dict(message.properties.headers or {})
        if message.returns:
            headers[DELIVERY_COUNT] = message.returns
        delivery = Delivery(
            body=message.body,
            headers=headers,
            message_id=message.properties.message_id,
            delivery_count=message.returns,
            redelivered=message.delivered,
            tag=tag,
            properties=message.properties,
            routing_key=message.account,
        )
        message.delivered = True
        channel.out[tag] = message
        if faults.duplicate and random() < faults.duplicate:
            # RabbitMQ takes this delivery for lost, while it is being handled.
            self._far.after(random() * faults.latency_s, lambda: self.reject(channel, tag))

        def arrive() -> None:
            if not channel.ended:
                channel.arrive(delivery)

        self._far.after(random() * faults.latency_s, arrive)

    def _look_again(self) -> None:
        if self._looking:
            return
        self._looking = True

        def look() -> None:
            self._looking = False
            for account in list(self._ready):
                self._dispatch(account)

        self._far.after(LOOK_AGAIN_S, look)
