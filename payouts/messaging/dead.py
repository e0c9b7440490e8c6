"""The properties of a dead letter: the original's, and why it was put aside."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from aio_pika import DeliveryMode
from pamqp import encode
from pamqp.commands import Basic
from pamqp.common import FieldTable

from payouts.domain.events import instant
from payouts.messaging.delivery import Delivery

REASON_HEADER: Final = "x-payouts-reason"
DETAIL_HEADER: Final = "x-payouts-detail"
ROUTING_KEY_HEADER: Final = "x-payouts-routing-key"
AT_HEADER: Final = "x-payouts-at"
USER_HEADER: Final = "x-payouts-user-id"
HEADERS_LEFT_OUT_HEADER: Final = "x-payouts-headers-left-out"
MAX_DETAIL_BYTES: Final = 2048
MAX_HEADERS_BYTES: Final = 64 * 1024  # Headers must fit one frame; RabbitMQ's is 128 KiB.


def dead_properties(
    delivery: Delivery, *, reason: str, detail: str, at: datetime
) -> Basic.Properties:
    """Return what a dead letter carries, so that publishing it can never fail by its headers.

    Left out are `expiration`, or the dead letter would vanish, and `user_id`, which RabbitMQ lets
    only its owner set; it becomes a header. Headers too large to go on are left out and counted.
    """
    original = delivery.properties
    ours: FieldTable = {
        REASON_HEADER: reason,
        DETAIL_HEADER: detail.encode()[:MAX_DETAIL_BYTES].decode(errors="ignore"),
        ROUTING_KEY_HEADER: delivery.routing_key,
        AT_HEADER: instant(at) or "",
    }
    if original.user_id:
        ours[USER_HEADER] = original.user_id
    return Basic.Properties(
        content_type=original.content_type,
        content_encoding=original.content_encoding,
        headers={**_bounded(original.headers or {}), **ours},
        delivery_mode=int(DeliveryMode.PERSISTENT),
        priority=original.priority,
        correlation_id=original.correlation_id,
        reply_to=original.reply_to,
        message_id=original.message_id,
        timestamp=original.timestamp,
        message_type=original.message_type,
        app_id=original.app_id,
    )


def _bounded(headers: FieldTable) -> FieldTable:
    try:
        size = len(encode.field_table(headers))
    except (TypeError, ValueError):
        size = MAX_HEADERS_BYTES + 1
    if size <= MAX_HEADERS_BYTES:
        return headers
    return {HEADERS_LEFT_OUT_HEADER: len(headers)}
