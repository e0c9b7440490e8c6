"""Posting callbacks: a small HTTP/1.1 client with few connections and no task per message.

A general client costs more CPU for one POST than the simulator may spend on a whole payout.
"""

import asyncio
import re
import ssl
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast
from urllib.parse import SplitResult, urlsplit

_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)", re.IGNORECASE)
_CLOSES = re.compile(rb"\r\nconnection:[ \t]*close", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:[^\r]*chunked", re.IGNORECASE)
_SUCCESS = re.compile(rb"(?:ResponseCode|ResultCode)[^<&]*?(?:>|&gt;)\s*0+\s*(?:<|&lt;)")
_BODY_LIMIT = 1 << 20

Done = Callable[[bool], None]


@dataclass(slots=True)
class Post:
    """One message to deliver; `done` is told once whether it was acknowledged."""

    destination: "Destination"
    message: bytes
    done: Done
    fresh: bool = False


class Destination:
    """One callback server: its address, its idle connections, and what waits for one."""

    def __init__(self, host: str, port: int, context: ssl.SSLContext | None) -> None:
        self.host = host
        self.port = port
        self.context = context
        self.open = 0
        self.idle: list[_Connection] = []
        self.waiting: deque[Post] = deque()


class Sender:
    """Guarantees at most `connections` posts under way to each callback server."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        connections: int,
        timeout_s: float,
        keep_alive: bool,
        context: ssl.SSLContext | None = None,
    ) -> None:
        self.loop = loop
        self.timeout_s = timeout_s
        self.keep_alive = keep_alive
        self.under_way = 0
        self._limit = connections
        self._context = context
        self._destinations: dict[tuple[str, str], Destination] = {}
        self._heads: dict[str, tuple[Destination, bytes]] = {}
        self._all: set[_Connection] = set()
        self._opening: set[asyncio.Task[None]] = set()

    def message(self, url: str, body: bytes) -> bytes:
        """Guarantees the complete HTTP request that delivers `body` to `url` (protocol §4.1)."""
        _, head = self._head(url)
        return head % len(body) + body

    def post(self, url: str, message: bytes, done: Done) -> None:
        """Guarantees one later call of `done`: true after HTTP 200 with an all-zero code."""
        destination, _ = self._head(url)
        self.under_way += 1
        self._start(Post(destination, message, done))

    async def close(self) -> None:
        """Guarantees that no connection stays open; what was under way is not reported."""
        for destination in self._destinations.values():
            destination.waiting.clear()
        for connection in list(self._all):
            connection.post = None
            connection.abort()
        for task in self._opening:
            task.cancel()
        await asyncio.gather(*self._opening, return_exceptions=True)

    def report(self, post: Post, *, acknowledged: bool) -> None:
        """Tells the end of a post, once."""
        self.under_way -= 1
        post.done(acknowledged)

    def clear(self) -> None:
        """Guarantees that messages still waiting for a connection are forgotten."""
        for destination in self._destinations.values():
            self.under_way -= len(destination.waiting)
            destination.waiting.clear()

    def _head(self, url: str) -> tuple[Destination, bytes]:
        known = self._heads.get(url)
        if known is None:
            parts = urlsplit(url)
            path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            connection = "keep-alive" if self.keep_alive else "close"
            head = (
                f"POST {path} HTTP/1.1\r\nContent-Type: text/xml\r\nHost: {parts.netloc}\r\n"
                f"Connection: {connection}\r\n"
            )
            known = (
                self._destination(parts),
                head.replace("%", "%%").encode() + b"Content-Length: %d\r\n\r\n",
            )
            if len(self._heads) < self._limit * 64:
                self._heads[url] = known
        return known

    def _destination(self, parts: SplitResult) -> Destination:
        key = (parts.scheme, parts.netloc)
        if key not in self._destinations:
            secure = parts.scheme == "https"
            self._destinations[key] = Destination(
                parts.hostname or "",
                parts.port or (443 if secure else 80),
                (self._context or ssl.create_default_context()) if secure else None,
            )
        return self._destinations[key]

    def _start(self, post: Post) -> None:
        destination = post.destination
        if destination.idle and not post.fresh:
            destination.idle.pop().send(post, reused=True)
        elif destination.open < self._limit:
            destination.open += 1
            task = self.loop.create_task(self._open(post))
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)
        else:
            destination.waiting.append(post)

    async def _open(self, post: Post) -> None:
        destination = post.destination
        try:
            async with asyncio.timeout(self.timeout_s):
                _, connection = await self.loop.create_connection(
                    lambda: _Connection(self, destination),
                    destination.host,
                    destination.port,
                    ssl=destination.context,
                )
        except (OSError, TimeoutError, ValueError):
            destination.open -= 1
            self.report(post, acknowledged=False)
            self.next(destination)
            return
        self._all.add(connection)
        connection.send(post, reused=False)

    def free(self, connection: "_Connection") -> None:
        """Takes a connection back that finished its post and stays open."""
        destination = connection.destination
        if destination.waiting:
            connection.send(destination.waiting.popleft(), reused=True)
        else:
            destination.idle.append(connection)

    def lost(self, connection: "_Connection") -> None:
        """Forgets a connection that closed, and lets the next post have its place."""
        destination = connection.destination
        self._all.discard(connection)
        destination.open -= 1
        if connection in destination.idle:
            destination.idle.remove(connection)
        self.next(destination)

    def next(self, destination: Destination) -> None:
        """Starts the oldest waiting post, if any."""
        if destination.waiting:
            self._start(destination.waiting.popleft())

    def again(self, post: Post) -> None:
        """Repeats a post on a new connection: its old one closed before it was used again."""
        post.fresh = True
        self._start(post)


class _Connection(asyncio.Protocol):
    """One connection to a callback server, with at most one post under way."""

    def __init__(self, sender: Sender, destination: Destination) -> None:
        self.destination = destination
        self.post: Post | None = None
        self._sender = sender
        self._transport: asyncio.Transport | None = None
        self._received = b""
        self._reused = False
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass

    def send(self, post: Post, *, reused: bool) -> None:
        self.post = post
        self._reused = reused
        self._received = b""
        if self._transport is not None:
            self._transport.write(post.message)
        self._timer = self._sender.loop.call_later(self._sender.timeout_s, self.abort)

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._received += data
        if self.post is None or len(self._received) > _BODY_LIMIT:
            self.abort()
            return
        end = self._received.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self._received[:end]
        if _CHUNKED.search(head):
            if self._received.endswith(b"0\r\n\r\n"):
                self._finish(head)
            return
        length = _LENGTH.search(head)
        if length is not None and len(self._received) >= end + 4 + int(length[1]):
            self._finish(head)

    def connection_lost(self, _exc: Exception | None) -> None:
        post, received = self.post, self._received
        if post is not None:
            self._stop()
            if not received and self._reused:
                self._sender.lost(self)
                self._sender.again(post)
                return
            head = received.partition(b"\r\n\r\n")[0]
            unbounded = bool(received) and _LENGTH.search(head) is None
            complete = unbounded and not _CHUNKED.search(head)
            self._sender.report(post, acknowledged=complete and _acknowledges(received))
        self._sender.lost(self)

    def _finish(self, head: bytes) -> None:
        post, received = self.post, self._received
        self._stop()
        if _CLOSES.search(head) or not self._sender.keep_alive:
            if self._transport is not None:
                self._transport.close()
        else:
            self._sender.free(self)
        if post is not None:
            self._sender.report(post, acknowledged=_acknowledges(received))

    def _stop(self) -> None:
        self.post = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _acknowledges(received: bytes) -> bool:
    """Success is HTTP 200 and a code of zeros only (protocol §4.5, §5.1)."""
    status = received.partition(b"\r\n")[0].split()
    return len(status) > 1 and status[1] == b"200" and _SUCCESS.search(received) is not None
