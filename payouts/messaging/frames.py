"""The bytes of `basic.publish`, for those who publish too much to make each one anew.

What the library builds of objects for each message is the same for all commands of an account,
and for all events of a type, but for ids, body and time. A test compares these bytes with the
library's.
"""

from __future__ import annotations

import struct
from typing import Final

from aio_pika import DeliveryMode
from pamqp import frame
from pamqp.commands import Basic

from payouts.domain.events import Event
from payouts.messaging.codec import COMMAND_CONTENT_TYPE, EVENT_CONTENT_TYPE

_HEADER: Final = 2
_BODY: Final = 3
_END: Final = b"\xce"
_CLASS: Final = 60  # basic
# Which properties follow, in this order (AMQP 0-9-1 §4.2.6.1).
_CONTENT_TYPE: Final = 1 << 15
_DELIVERY_MODE: Final = 1 << 12
_CORRELATION_ID: Final = 1 << 10
_MESSAGE_ID: Final = 1 << 7
_TIMESTAMP: Final = 1 << 6
_TYPE: Final = 1 << 5
_OF_COMMANDS: Final = _CONTENT_TYPE | _DELIVERY_MODE | _MESSAGE_ID | _TIMESTAMP
_OF_EVENTS: Final = _OF_COMMANDS | _CORRELATION_ID | _TYPE
_FRAME: Final = struct.Struct(">BHI")
_CONTENT: Final = struct.Struct(">HHQH")
_TIME: Final = struct.Struct(">Q")
_PERSISTENT: Final = bytes([int(DeliveryMode.PERSISTENT)])


def _short(text: str) -> bytes:
    """Return a short string of AMQP: its length in one byte, then its bytes."""
    return bytes((len(text),)) + text.encode("ascii")


# What all messages of a kind have first in common: content type and delivery mode.
_COMMAND: Final = _short(COMMAND_CONTENT_TYPE) + _PERSISTENT
_EVENT: Final = _short(EVENT_CONTENT_TYPE) + _PERSISTENT


class _Frames:
    """Makes the frames that publish persistent, mandatory messages on one channel.

    Args:
        channel: the channel's number.
        exchange: where they are published.
        most: how many bytes of a body go into one frame.
    """

    def __init__(self, channel: int, exchange: str, *, most: int) -> None:
        self._channel = channel
        self._exchange = exchange
        self._most = most
        self._methods: dict[str, bytes] = {}

    def _publishing(self, routing_key: str, header: bytes, body: bytes) -> bytes:
        method = self._methods.get(routing_key)
        if method is None:
            method = self._methods[routing_key] = frame.marshal(
                Basic.Publish(exchange=self._exchange, routing_key=routing_key, mandatory=True),
                self._channel,
            )
        if len(body) <= self._most:
            of_header = _FRAME.pack(_HEADER, self._channel, len(header))
            of_body = _FRAME.pack(_BODY, self._channel, len(body))
            return b"".join((method, of_header, header, _END, of_body, body, _END))
        parts = [body[at : at + self._most] for at in range(0, len(body), self._most)]
        return b"".join(
            (method, self._frame(_HEADER, header), *(self._frame(_BODY, part) for part in parts))
        )

    def _frame(self, kind: int, payload: bytes) -> bytes:
        return b"".join((_FRAME.pack(kind, self._channel, len(payload)), payload, _END))


class CommandFrames(_Frames):
    """Makes the frames of commands."""

    def of(self, routing_key: str, body: bytes, *, message_id: str, at: int) -> bytes:
        """Return the frames of one command.

        Args:
            routing_key: the account.
            body: the command.
            message_id: ASCII, at most 255 characters.
            at: when it is published, in whole seconds since 1970.
        """
        header = b"".join(
            (
                _CONTENT.pack(_CLASS, 0, len(body), _OF_COMMANDS),
                _COMMAND,
                _short(message_id),
                _TIME.pack(at),
            )
        )
        return self._publishing(routing_key, header, body)


class EventFrames(_Frames):
    """Makes the frames of events; each is published with its type as the routing key."""

    def of(self, event: Event, body: bytes) -> bytes:
        """Return the frames of one event; its id, subject and type are ASCII, and short."""
        header = b"".join(
            (
                _CONTENT.pack(_CLASS, 0, len(body), _OF_EVENTS),
                _EVENT,
                _short(event.subject),
                _short(event.event_id),
                _TIME.pack(int(event.time.timestamp())),
                _short(event.type),
            )
        )
        return self._publishing(event.type, header, body)
