"""One delivery of a command, as its handler sees it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from aiormq.abc import DeliveredMessage
from pamqp.commands import Basic

DELIVERY_COUNT: Final = "x-delivery-count"


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """What RabbitMQ handed over. Its repr shows no content.

    Args:
        body: the bytes, undecoded.
        headers: the message's own headers and RabbitMQ's.
        message_id: the publisher's, if any.
        delivery_count: how often it came back to its queue before, as failed or abandoned; 0 at
            first. All deliveries in hand share the blame of a crash.
        redelivered: whether it may have been delivered before.
        tag: its number on its channel.
        properties: all AMQP properties, for whoever passes the message on.
        routing_key: with what it was published; of a command, the account that is to pay.
    """

    body: bytes = field(repr=False)
    headers: Mapping[str, object] = field(repr=False)
    message_id: str | None
    delivery_count: int
    redelivered: bool
    tag: int
    properties: Basic.Properties = field(repr=False)
    routing_key: str = ""


def delivery_of(message: DeliveredMessage) -> Delivery:
    """Return the delivery that a message of the library is."""
    properties = message.header.properties
    headers: Mapping[str, object] = properties.headers or {}
    count = headers.get(DELIVERY_COUNT, 0)
    return Delivery(
        body=message.body,
        headers=headers,
        message_id=properties.message_id or None,
        delivery_count=count if isinstance(count, int) else 0,
        redelivered=bool(message.redelivered),
        tag=message.delivery_tag or 0,
        properties=properties,
        routing_key=message.routing_key or "",
    )
