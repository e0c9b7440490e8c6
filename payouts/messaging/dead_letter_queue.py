"""The queue of dead letters as operators work with it: looked at, published again, discarded."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from aio_pika import DeliveryMode
from aio_pika.exceptions import ChannelNotFoundEntity
from aiormq import Channel
from aiormq.abc import DeliveredMessage
from pamqp.commands import Basic

from payouts.domain.errors import BrokerUnavailableError, InvalidCommandError, TopologyError
from payouts.domain.values import AccountName
from payouts.messaging.codec import decode_command
from payouts.messaging.connection import CHANNEL_TIMEOUT_S, BrokerConnection, broker_errors
from payouts.messaging.dead import (
    AT_HEADER,
    DETAIL_HEADER,
    REASON_HEADER,
    ROUTING_KEY_HEADER,
    USER_HEADER,
)
from payouts.messaging.publisher import ConfirmedPublisher
from payouts.messaging.topology import Topology

UNTOLD_REASON: Final = "poison"  # RabbitMQ's own delivery limit gives no reason of ours.
UNTOLD_DETAIL: Final = "RabbitMQ gave it up itself, at its delivery limit"

_CONNECT_WITHIN_S: Final = 5.0
_DIGEST_LENGTH: Final = 12
_ALL: Final = 0  # As a delivery tag, with `multiple`: whatever this channel has in hand.
_FIRST_QUEUE: Final = "x-first-death-queue"
_DEATHS: Final = "x-death"
# What was added on the way to the dead letters, and RabbitMQ's own counts.
_NOT_THE_PUBLISHERS: Final = (
    *(REASON_HEADER, DETAIL_HEADER, ROUTING_KEY_HEADER, AT_HEADER, USER_HEADER),
    *("x-death", "x-first-death-queue", "x-first-death-reason", "x-first-death-exchange"),
    *("x-last-death-queue", "x-last-death-reason", "x-last-death-exchange"),
    *("x-delivery-count", "x-acquired-count"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """One dead letter, as its queue holds it. Its repr shows no content.

    Args:
        digest: its short name, the same at every look; equal messages share it.
        reason: `invalid`, `conflict` or `poison`.
        detail: what is wrong.
        account: whose queue it came from; None where nothing tells.
        at: when it was put aside; None where nothing tells.
        payout_id: of the command, if it can be read.
        fields: the command's fields, if the body is a command at all.
        body: the bytes as they came.
        headers: all headers.
        properties: all AMQP properties.
        tag: its number on its channel.
    """

    digest: str
    reason: str
    detail: str
    account: AccountName | None
    at: datetime | None
    payout_id: str | None
    fields: Mapping[str, object] | None = field(repr=False)
    body: bytes = field(repr=False)
    headers: Mapping[str, object] = field(repr=False)
    properties: Basic.Properties = field(repr=False)
    tag: int


class OpenedDeadLetters:
    """One look through the queue; what is neither replayed nor discarded goes back at its end."""

    def __init__(
        self, channel: Channel, topology: Topology, publisher: ConfirmedPublisher | None
    ) -> None:
        self._channel = channel
        self._topology = topology
        self._publisher = publisher

    async def letters(self, *, at_most: int) -> AsyncGenerator[DeadLetter]:
        """Give what lies in the queue, from its front, one in memory at a time, each once.

        Raises:
            BrokerUnavailableError: RabbitMQ is away.
            TopologyError: there is no such queue.
        """
        for _ in range(at_most):
            message = await self._take()
            if message.delivery_tag is None:
                return
            yield dead_letter_of(message, self._topology)

    async def replay(self, letter: DeadLetter, account: AccountName) -> None:
        """Return once the command lies in its account's queue; only then the dead letter goes.

        The other way round, a crash in between would lose it. This way one may be left of each,
        and intake pays nobody twice.

        Raises:
            UnroutableError: the account has no queue; the dead letter stays.
            BrokerUnavailableError: it is not certain that it was published; the dead letter
                stays.
        """
        if self._publisher is None:
            raise TypeError("Dead letters that are opened for a look cannot be published.")
        await self._publisher.publish(
            self._topology.commands, account, letter.body, replayed_properties(letter.properties)
        )
        await self.discard(letter)

    async def discard(self, letter: DeadLetter) -> None:
        """Take the dead letter out of the queue for good."""
        with broker_errors("acknowledge a dead letter"):
            await self._channel.basic_ack(letter.tag)

    async def give_back(self) -> None:
        """Give everything back that was only looked at; a new look begins from the front.

        Raises:
            BrokerUnavailableError: RabbitMQ is away; it gives them back itself.
        """
        with broker_errors("give dead letters back"):
            await self._channel.basic_nack(_ALL, multiple=True, requeue=True)

    async def close(self) -> None:
        """Give back and close."""
        if self._channel.is_closed:
            return
        # A channel that ends gives back as well.
        with suppress(BrokerUnavailableError):
            await self.give_back()
            with broker_errors("close a channel"):
                await self._channel.close()

    async def _take(self) -> DeliveredMessage:
        queue = self._topology.dead_letters
        try:
            with broker_errors("take a dead letter"):
                return await self._channel.basic_get(queue, timeout=CHANNEL_TIMEOUT_S)
        except BrokerUnavailableError as error:
            if isinstance(error.__cause__, ChannelNotFoundEntity):
                raise TopologyError(
                    f"There is no queue {queue} yet; a worker declares it when it starts."
                ) from None
            raise


@asynccontextmanager
async def opened_dead_letters(
    connection: BrokerConnection,
    topology: Topology,
    publisher: ConfirmedPublisher | None = None,
) -> AsyncIterator[OpenedDeadLetters]:
    """Give the queue of dead letters for one look; without a publisher nothing can be replayed.

    Raises:
        BrokerUnavailableError: RabbitMQ is away.
    """
    channel = await connection.channel(confirms=False, within_s=_CONNECT_WITHIN_S)
    opened = OpenedDeadLetters(channel, topology, publisher)
    try:
        yield opened
    finally:
        await opened.close()


def dead_letter_of(message: DeliveredMessage, topology: Topology) -> DeadLetter:
    """Return the dead letter that a message of the library is."""
    properties = message.header.properties
    headers: Mapping[str, object] = properties.headers or {}
    fields = _fields_of(message.body)
    payout_id = None if fields is None else fields.get("payout_id")
    reason = str(headers.get(REASON_HEADER) or UNTOLD_REASON)
    detail = str(headers.get(DETAIL_HEADER) or UNTOLD_DETAIL)
    account = _account_of(headers, topology)
    at = _put_aside_at(headers)
    facts = (properties.message_id, reason, detail, account, at)
    named = repr(facts).encode(errors="surrogatepass") + message.body
    return DeadLetter(
        digest=hashlib.sha256(named).hexdigest()[:_DIGEST_LENGTH],
        reason=reason,
        detail=detail,
        account=account,
        at=at,
        payout_id=payout_id if isinstance(payout_id, str) else None,
        fields=fields,
        body=message.body,
        headers=headers,
        properties=properties,
        tag=message.delivery_tag or 0,
    )


def replayed_properties(original: Basic.Properties) -> Basic.Properties:
    """Return the command's own properties, without what it gained among the dead letters."""
    headers = {
        name: value
        for name, value in (original.headers or {}).items()
        if name not in _NOT_THE_PUBLISHERS
    }
    return Basic.Properties(
        content_type=original.content_type,
        content_encoding=original.content_encoding,
        headers=headers,
        delivery_mode=int(DeliveryMode.PERSISTENT),
        priority=original.priority,
        correlation_id=original.correlation_id,
        reply_to=original.reply_to,
        message_id=original.message_id,
        timestamp=original.timestamp,
        message_type=original.message_type,
        app_id=original.app_id,
    )


def _fields_of(body: bytes) -> Mapping[str, object] | None:
    try:
        return decode_command(body)
    except InvalidCommandError:
        return None


def _account_of(headers: Mapping[str, object], topology: Topology) -> AccountName | None:
    """Return whose queue it came from: as the worker wrote down, or as RabbitMQ did."""
    prefix = f"{topology.commands}."
    key = headers.get(ROUTING_KEY_HEADER) or headers.get(_FIRST_QUEUE)
    name = key.removeprefix(prefix) if isinstance(key, str) else ""
    return AccountName(name) if name else None


def _put_aside_at(headers: Mapping[str, object]) -> datetime | None:
    told = headers.get(AT_HEADER)
    if isinstance(told, str):
        with suppress(ValueError):
            return datetime.fromisoformat(told)
    deaths = headers.get(_DEATHS)
    first = deaths[0] if isinstance(deaths, list) and deaths else None
    time = first.get("time") if isinstance(first, dict) else None
    return time.replace(tzinfo=UTC) if isinstance(time, datetime) else None
