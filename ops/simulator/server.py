"""The listening side: a small HTTP/1.1 server whose handlers answer when they like, or never."""

import asyncio
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import cast

from ops.simulator.answers import Answer

_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)[ \t]*(?:\r|$)", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:[^\r]*chunked", re.IGNORECASE)
_CLOSES = re.compile(rb"\r\nconnection:[^\r]*close", re.IGNORECASE)
_EXPECTS = re.compile(rb"\r\nexpect:[ \t]*100-continue", re.IGNORECASE)
_ENCODED = re.compile(rb"\r\ncontent-encoding:[ \t]*(?!identity)", re.IGNORECASE)
_REQUEST_LINE = re.compile(rb"([A-Z]+) ([!-~]+) HTTP/1\.([01])(?=\r|$)")
_HEAD_LIMIT = 32 * 1024
_BODY_LIMIT = 1 << 20
_PLAIN = "text/plain"


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request: `raw` is all its bytes as they came."""

    method: str
    target: str
    body: bytes
    raw: bytes


@dataclass(frozen=True, slots=True)
class Stream:
    """An answer of unknown length, sent piece by piece as fast as the client reads."""

    pieces: Iterator[bytes]
    content_type: str


Reply = Callable[[Answer | Stream], None]
Handler = Callable[[Request, Reply], None]


class _RefusedError(Exception):
    """The bytes are no request that this server takes."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class Connection(asyncio.Protocol):
    """Guarantees answers in the order of requests, one request at a time."""

    def __init__(
        self, handler: Handler, connections: "set[Connection]", *, keep_alive: bool
    ) -> None:
        self._handler = handler
        self._connections = connections
        self._keep_alive = keep_alive
        self._transport: asyncio.Transport | None = None
        self._received = b""
        self._busy = False
        self._closes = False
        self._continued = False
        self._advancing = False
        self._paused = False
        self._pieces: Iterator[bytes] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Takes the connection."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass
        self._connections.add(self)

    def connection_lost(self, _exc: Exception | None) -> None:
        """Forgets the connection; an answer that comes later goes nowhere."""
        self._transport = None
        self._pieces = None
        self._connections.discard(self)

    def abort(self) -> None:
        """Guarantees that the client sees the connection end, now."""
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Collects bytes; serves each request once it is complete."""
        self._received += data
        if self._busy and len(self._received) > _BODY_LIMIT + _HEAD_LIMIT:
            self.abort()
            return
        self._advance()

    def _advance(self) -> None:
        if self._advancing:
            return
        self._advancing = True
        try:
            while self._received and not self._busy and self._transport is not None:
                request = self._take()
                if request is None:
                    return
                self._busy = True
                self._handler(request, self._reply)
        except _RefusedError as refused:
            self._closes = True
            self._reply(Answer(refused.status, b"", _PLAIN))
        finally:
            self._advancing = False

    def _take(self) -> Request | None:
        received = self._received
        end = received.find(b"\r\n\r\n")
        if end < 0:
            if len(received) > _HEAD_LIMIT:
                raise _RefusedError(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
            return None
        head = received[:end]
        line = _REQUEST_LINE.match(head)
        if line is None:
            raise _RefusedError(HTTPStatus.BAD_REQUEST)
        found = self._body(head, end + 4)
        if found is None:
            if not self._continued and _EXPECTS.search(head) and self._transport is not None:
                self._continued = True
                self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            return None
        body, stop = found
        self._received = received[stop:]
        self._continued = False
        self._closes = line[3] == b"0" or _CLOSES.search(head) is not None
        return Request(line[1].decode(), line[2].decode(), body, received[:stop])

    def _body(self, head: bytes, start: int) -> tuple[bytes, int] | None:
        if _ENCODED.search(head):
            raise _RefusedError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
        if _CHUNKED.search(head):
            return _chunks(self._received, start)
        length = _LENGTH.search(head)
        size = 0 if length is None else int(length[1])
        if size > _BODY_LIMIT:
            raise _RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        if len(self._received) < start + size:
            return None
        return self._received[start : start + size], start + size

    def _reply(self, answer: Answer | Stream) -> None:
        if self._transport is None:
            return
        if isinstance(answer, Stream):
            self._begin(answer)
            return
        if answer.drop:
            self._transport.close()
            return
        closes = self._closes or not self._keep_alive
        self._transport.write(
            b"HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %d\r\nConnection: %s\r\n\r\n%s"
            % (
                answer.status,
                HTTPStatus(answer.status).phrase.encode(),
                answer.content_type.encode(),
                len(answer.body),
                b"close" if closes else b"keep-alive",
                answer.body,
            )
        )
        self._done(closes=closes)

    def _done(self, *, closes: bool) -> None:
        if closes and self._transport is not None:
            self._transport.close()
            return
        self._busy = False
        self._advance()

    def _begin(self, answer: Stream) -> None:
        if self._transport is None:
            return
        self._closes = True
        self._transport.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\nTransfer-Encoding: chunked\r\n"
            b"Connection: close\r\n\r\n" % answer.content_type.encode()
        )
        self._pieces = answer.pieces
        self.resume_writing()

    def pause_writing(self) -> None:
        """Holds a stream back: the client reads more slowly than we write."""
        self._paused = True

    def resume_writing(self) -> None:
        """Sends pieces of a stream until the client's buffer is full again, or none is left."""
        self._paused = False
        while self._pieces is not None and self._transport is not None and not self._paused:
            piece = next(self._pieces, b"")
            self._transport.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            if not piece:
                self._pieces = None
                self._done(closes=True)


def _chunks(received: bytes, start: int) -> tuple[bytes, int] | None:
    """Reads a chunked body; none while it is incomplete."""
    parts: list[bytes] = []
    while True:
        end = received.find(b"\r\n", start)
        if end < 0:
            return None
        try:
            size = int(received[start:end].partition(b";")[0], 16)
        except ValueError:
            raise _RefusedError(HTTPStatus.BAD_REQUEST) from None
        if size < 0 or start > _BODY_LIMIT + _HEAD_LIMIT:
            raise _RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        stop = end + 2 + size + 2
        if len(received) < stop:
            return None
        if not size:
            return b"".join(parts), stop
        parts.append(received[end + 2 : end + 2 + size])
        start = stop
