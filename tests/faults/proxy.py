"""A TCP proxy that misbehaves on demand: between us and RabbitMQ, PostgreSQL or HTTP.

It knows no protocol, so that what it does is what networks do. Without a fault it forwards each
chunk at once and costs one copy.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import Counter, deque
from types import TracebackType
from typing import Final, Self, cast
from urllib.parse import urlsplit, urlunsplit

from tests.faults.weather import Way, Weather

LOOPBACK: Final = "127.0.0.1"
CONNECT_S: Final = 10.0
MOST_QUEUED: Final = 256 * 1024
SMALLEST: Final = 64
LUMP_S: Final = 0.02
_AT_ONCE: Final = struct.pack("ii", 1, 0)


class Proxy:
    """Forwards connections to one server, badly where it is told to.

    Every order acts at once on the connections that are there and on those that come; `restore`
    ends them all. `counts` tells what was done: `connections`, `bytes up`, `bytes down`,
    `delayed`, `throttled`, `swallowed` (bytes), `reset`, `cut`, `unreachable` (connections), and
    one count for each order.

    Args:
        host: where the server is.
        port: its port.
    """

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._target_port = port
        self._server: asyncio.Server | None = None
        self._links: set[_Link] = set()
        self._over = False
        self.port = 0
        self.weather = Weather()
        self.counts: Counter[str] = Counter()

    async def __aenter__(self) -> Self:
        """Listen on a free port of the loopback interface."""
        await self._listen()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop listening and drop every connection."""
        self._over = True
        self._stop_listening()
        for link in list(self._links):
            link.reset()
        await asyncio.gather(
            *(link.opening for link in self._links if link.opening), return_exceptions=True
        )

    @property
    def connections(self) -> int:
        """Tell how many connections there are."""
        return len(self._links)

    def address(self, url: str) -> str:
        """Give the address of the same thing through this proxy."""
        parts = urlsplit(url)
        credentials, at, _ = parts.netloc.rpartition("@")
        return urlunsplit(parts._replace(netloc=f"{credentials}{at}{LOOPBACK}:{self.port}"))

    def delay(self, seconds: float) -> None:
        """Forward every chunk so much later, in order."""
        self.counts["delay ordered"] += 1
        self.weather.delay_s = seconds

    def throttle(self, bytes_per_s: float) -> None:
        """Forward so many bytes a second, on each connection and in each direction."""
        self.counts["throttle ordered"] += 1
        self.weather.bytes_per_s = bytes_per_s

    def stall(self, *ways: Way) -> None:
        """Forward nothing in these directions; what comes waits, and senders feel it."""
        self.counts["stall ordered"] += 1
        self.weather.stalled = frozenset(ways)
        self._tell()

    def half_open(self) -> None:
        """Keep every connection, accept new ones, and swallow whatever comes, unanswered."""
        self.counts["half-open ordered"] += 1
        self.weather.swallows = True

    def forget(self) -> None:
        """Swallow whatever comes on the connections there are, for good; new ones are served.

        So does a firewall that has lost its table.
        """
        self.counts["forget ordered"] += 1
        for link in self._links:
            link.lossy = link.forgotten = True

    def reset_after(self, size: int) -> None:
        """Reset each connection once so many bytes have passed from now on, in the middle."""
        self.counts["reset-after ordered"] += 1
        self.weather.reset_after = size
        for link in self._links:
            link.passed = 0

    def reset(self) -> None:
        """Reset (RST) every connection there is."""
        self.counts["reset ordered"] += 1
        for link in list(self._links):
            self.counts["reset"] += 1
            link.reset()

    def cut(self) -> None:
        """Close (FIN) every connection there is, in both directions."""
        self.counts["cut ordered"] += 1
        for link in list(self._links):
            self.counts["cut"] += 1
            link.close()

    def refuse(self) -> None:
        """Refuse new connections; those there are stay."""
        self.counts["refuse ordered"] += 1
        self._stop_listening()

    async def restore(self) -> None:
        """Be a good network again; connections that lost bytes are reset, as they would be."""
        self.weather = Weather()
        if self._server is None:
            await self._listen()
        for link in list(self._links):
            if link.lossy and not link.forgotten:
                self.counts["reset"] += 1
                link.reset()
        self._tell()

    async def _listen(self) -> None:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            self._accept, LOOPBACK, self.port, backlog=1024, reuse_address=True
        )
        self.port = int(self._server.sockets[0].getsockname()[1])

    def _stop_listening(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    def _accept(self) -> _Side:
        self.counts["connections"] += 1
        return _Link(self).client

    def _tell(self) -> None:
        for link in self._links:
            for side in (link.client, link.server):
                side.look()

    async def open_for(self, link: _Link) -> None:
        """Connect a client's link to the server; where that fails, the client is reset."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CONNECT_S):
                await loop.create_connection(lambda: link.server, self._host, self._target_port)
        except (OSError, TimeoutError):
            self.counts["unreachable"] += 1
            link.reset()
            return
        link.client.look()

    def keep(self, link: _Link) -> bool:
        """Keep a link whose client has come; False: it came in the instant of the end."""
        if not self._over:
            self._links.add(link)
        return not self._over

    def drop(self, link: _Link) -> None:
        """Drop a link whose both sides have ended."""
        self._links.discard(link)


class _Link:
    """One connection through the proxy: a side to the client and a side to the server."""

    def __init__(self, proxy: Proxy) -> None:
        self.proxy = proxy
        self.client = _Side(self, Way.UP)
        self.server = _Side(self, Way.DOWN)
        self.opening: asyncio.Task[None] | None = None
        self.lossy = False
        self.forgotten = False
        self.passed = 0

    def other(self, side: _Side) -> _Side:
        return self.server if side is self.client else self.client

    def reset(self) -> None:
        for side in (self.client, self.server):
            side.end(at_once=True)
        self._end_opening()

    def close(self) -> None:
        for side in (self.client, self.server):
            side.end(at_once=False)
        self._end_opening()

    def lost(self, side: _Side, *, hard: bool) -> None:
        """End the other side as this one ended."""
        other = self.other(side)
        if other.transport is None:
            self._end_opening()
        elif hard or other.queue:
            other.end(at_once=hard)
        else:
            other.end(at_once=False)
        if all(one.transport is None for one in (self.client, self.server)):
            self.proxy.drop(self)

    def _end_opening(self) -> None:
        if self.opening is not None and self.opening is not asyncio.current_task():
            self.opening.cancel()
        if all(one.transport is None for one in (self.client, self.server)):
            self.proxy.drop(self)


class _Side(asyncio.Protocol):
    """One socket; `way` is where the bytes that it reads go. `queue` is what it read and kept."""

    def __init__(self, link: _Link, way: Way) -> None:
        self.way = way
        self.queue: deque[tuple[float, bytes]] = deque()
        self.transport: asyncio.Transport | None = None
        self._link = link
        self._queued = 0
        self._ended = False
        self._full = False
        self._free_at = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass
        link, proxy = self._link, self._link.proxy
        if self is not link.client:
            return
        if not proxy.keep(link):
            self.transport.abort()
            return
        if proxy.weather.swallows:
            link.lossy = True
            return
        self.transport.pause_reading()
        link.opening = asyncio.ensure_future(proxy.open_for(link))

    def data_received(self, data: bytes) -> None:
        link, proxy = self._link, self._link.proxy
        weather = proxy.weather
        proxy.counts[f"bytes {self.way}"] += len(data)
        if weather.swallows or link.lossy:
            proxy.counts["swallowed"] += len(data)
            link.lossy = True
            return
        target = link.other(self).transport
        if target is not None and weather.fair and not self.queue:
            target.write(data)
            return
        if weather.reset_after and not self._may_pass(len(data)):
            return
        for piece in self._pieces(data):
            self.queue.append((self._due(len(piece)), piece))
        self._queued += len(data)
        self.look()

    def eof_received(self) -> bool:
        self._ended = True
        self.look()
        return True

    def pause_writing(self) -> None:
        """Slow the peer down: this side's buffer is full."""
        other = self._link.other(self)
        other._full = True
        other.look()

    def resume_writing(self) -> None:
        """Let the peer go on."""
        other = self._link.other(self)
        other._full = False
        other.look()

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        if self._timer is not None:
            self._timer.cancel()
        self._flush()
        self._link.lost(self, hard=exc is not None)

    def look(self) -> None:
        """Forward what is due, and read on or not, as weather and buffers say."""
        target = self._link.other(self).transport
        if target is None or target.is_closing():
            return
        weather = self._link.proxy.weather
        stalled = self.way in weather.stalled
        if not stalled:
            self._forward(target)
        if self._ended and not self.queue and not stalled:
            if target.can_write_eof():
                target.write_eof()
            if self._link.other(self)._ended and not self._link.other(self).queue:
                self._link.close()
                return
        if self.transport is None or self.transport.is_closing():
            return
        if stalled or self._full or self._queued > MOST_QUEUED:
            self.transport.pause_reading()
        else:
            self.transport.resume_reading()

    def end(self, *, at_once: bool) -> None:
        """Close the socket, with FIN or with RST."""
        if self.transport is None:
            return
        if not at_once:
            self.transport.close()
            return
        raw = self.transport.get_extra_info("socket")
        if raw is not None and raw.fileno() >= 0:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
        self.transport.abort()

    def _may_pass(self, size: int) -> bool:
        link, proxy = self._link, self._link.proxy
        link.passed += size
        if link.passed <= proxy.weather.reset_after:
            return True
        proxy.counts["reset"] += 1
        link.reset()
        return False

    def _pieces(self, data: bytes) -> list[bytes]:
        """Cut a chunk so that, throttled, it flows instead of coming in lumps."""
        rate = self._link.proxy.weather.bytes_per_s
        size = max(SMALLEST, int(rate * LUMP_S)) if rate else len(data)
        return [data[at : at + size] for at in range(0, len(data), size)]

    def _due(self, size: int) -> float:
        """Give the instant at which a piece that came now may leave."""
        proxy = self._link.proxy
        now = asyncio.get_running_loop().time()
        due = now + proxy.weather.delay_s
        if proxy.weather.delay_s:
            proxy.counts["delayed"] += 1
        if proxy.weather.bytes_per_s:
            proxy.counts["throttled"] += 1
            due = max(due, self._free_at) + size / proxy.weather.bytes_per_s
            self._free_at = due
        return due

    def _forward(self, target: asyncio.Transport) -> None:
        loop = asyncio.get_running_loop()
        fair = self._link.proxy.weather.fair
        while self.queue and (fair or self.queue[0][0] <= loop.time()):
            _, data = self.queue.popleft()
            self._queued -= len(data)
            target.write(data)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self.queue:
            self._timer = loop.call_at(self.queue[0][0], self.look)

    def _flush(self) -> None:
        """Forward what was kept before the socket ended in order."""
        target = self._link.other(self).transport
        while self.queue and target is not None and not target.is_closing():
            target.write(self.queue.popleft()[1])
        self.queue.clear()
        self._queued = 0
