"""The last instant before a request leaves: what has not passed here was certainly not sent."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from enum import StrEnum

from aiohttp.abc import AbstractStreamWriter
from aiohttp.payload import BytesPayload


class Passage(StrEnum):
    """How far a request has come."""

    CLOSED = "closed"  # Nothing was written; nothing can have arrived.
    FENCED = "fenced"  # The sender no longer held its lease, or got no slot; nothing was written.
    OPENED = "opened"  # Bytes may have been written; only the gateway can tell.


class HeldBackError(Exception):
    """The request was stopped before its first byte."""


class GatedBody(BytesPayload):
    """A request's body that asks once more, in the same step in which its first byte is written.

    aiohttp keeps the headers back until the body's first write and sends both at once (only
    `Expect: 100-continue`, which we never send, would part them), so that before that write no
    byte of the request is on the connection. Between the question and the write nothing else
    runs. aiohttp 3.14: `client_reqrep.ClientRequest.send`, `http_writer.StreamWriter.write`.

    Args:
        body: the message.
        may_send: asked in the last instant.
        leave: waited for before that, once the connection is there: it returns at the slot in
            which the request leaves, or says that there is none.
    """

    def __init__(
        self,
        body: bytes,
        may_send: Callable[[], bool] | None = None,
        *,
        leave: Callable[[], Awaitable[bool]] | None = None,
    ) -> None:
        super().__init__(body, content_type="text/xml;charset=UTF-8")
        self._may_send = may_send
        self._leave = leave
        self._abandoned = False
        self.passage = Passage.CLOSED

    def abandon(self) -> None:
        """Guarantee that nothing is written any more, should a writer still be scheduled."""
        self._abandoned = True

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Write the body, if it may still be sent.

        Raises:
            HeldBackError: it may not, or the connection has gone; nothing was written.
        """
        await self.write_with_length(writer, None)

    async def write_with_length(
        self, writer: AbstractStreamWriter, content_length: int | None
    ) -> None:
        """Write at most `content_length` bytes of the body, if it may still be sent.

        Raises:
            HeldBackError: as `write`.
        """
        leaves = self._leave is None or await self._leave()
        transport = getattr(writer, "transport", None)
        if self._abandoned or transport is None or transport.is_closing():
            raise HeldBackError
        if not leaves or (self._may_send is not None and not self._may_send()):
            self.passage = Passage.FENCED
            raise HeldBackError
        self.passage = Passage.OPENED
        await super().write_with_length(writer, content_length)
