"""The bytes of `basic.publish`, for those who publish too much to make each one anew.

What the library builds of objects for each message (some 30 µs) is the same for all commands of
an account but for id, body and time. A test compares these bytes with the library's.
"""

from __future__ import annotations

import struct
from typing import Final

from aio_pika import DeliveryMode
from pamqp import frame
from pamqp.commands import Basic

from payouts.messaging.codec import COMMAND_CONTENT_TYPE

_HEADER: Final = 2
_BODY: Final = 3
_END: Final = b"\xce"
_CLASS: Final = 60  # basic
_FLAGS: Final = (  # Which properties follow, in this order (AMQP 0-9-1 §4.2.6.1).
    1 << 15  # content_type
    | 1 << 12  # delivery_mode
    | 1 << 7  # message_id
    | 1 << 6  # timestamp
)
_FRAME: Final = struct.Struct(">BHI")
_CONTENT: Final = struct.Struct(">HHQH")
_TIME: Final = struct.Struct(">Q")
_CONTENT_TYPE: Final = bytes([len(COMMAND_CONTENT_TYPE)]) + COMMAND_CONTENT_TYPE.encode()
_PERSISTENT: Final = bytes([int(DeliveryMode.PERSISTENT)])


class CommandFrames:
    """Makes the frames that publish persistent, mandatory commands on one channel.

    Args:
        channel: the channel's number.
        exchange: where commands are published.
        most: how many bytes of a body go into one frame.
    """

    def __init__(self, channel: int, exchange: str, *, most: int) -> None:
        self._channel = channel
        self._exchange = exchange
        self._most = most
        self._methods: dict[str, bytes] = {}

    def of(self, routing_key: str, body: bytes, *, message_id: str, at: int) -> bytes:
        """Return the frames of one command.

        Args:
            routing_key: the account.
            body: the command.
            message_id: ASCII, at most 255 characters.
            at: when it is published, in whole seconds since 1970.
        """
        method = self._methods.get(routing_key)
        if method is None:
            method = self._methods[routing_key] = frame.marshal(
                Basic.Publish(exchange=self._exchange, routing_key=routing_key, mandatory=True),
                self._channel,
            )
        name = message_id.encode("ascii")
        header = b"".join(
            (
                _CONTENT.pack(_CLASS, 0, len(body), _FLAGS),
                _CONTENT_TYPE,
                _PERSISTENT,
                bytes((len(name),)),
                name,
                _TIME.pack(at),
            )
        )
        if len(body) <= self._most:
            return b"".join((method, self._frame(_HEADER, header), self._frame(_BODY, body)))
        parts = [body[at : at + self._most] for at in range(0, len(body), self._most)]
        return b"".join(
            (method, self._frame(_HEADER, header), *(self._frame(_BODY, part) for part in parts))
        )

    def _frame(self, kind: int, payload: bytes) -> bytes:
        return b"".join((_FRAME.pack(kind, self._channel, len(payload)), payload, _END))
