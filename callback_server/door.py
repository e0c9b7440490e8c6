"""Where connections come in: each is counted by its source before anything is spent on it."""

from __future__ import annotations

import asyncio
import errno
import resource
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from typing import Any, Final

from aiohttp import web

from callback_server.fairness import Rotation
from callback_server.visitors import Visitor, Visitors

BACKLOG: Final = 4096  # The kernel takes less where it is told to.
ACCEPTED_AT_ONCE: Final = 256  # The line is taken in quickly, or the kernel turns others away;
SET_UP_AT_ONCE: Final = 8  # what costs more is done in turns, between other work.
PAUSE_S: Final = 0.05
KNOWN_ADDRESSES: Final = 4096
SPARE_FILES: Final = 200  # For database, RabbitMQ, logs and whatever libraries open.
_NO_ROOM: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class Door:
    """Accepts connections for a runner, as far as Visitors let them in.

    Args:
        source_of: which source an address counts as.
        tls: for HTTPS; an unfinished handshake counts as a connection too.
    """

    def __init__(
        self,
        runner: web.AppRunner,
        visitors: Visitors,
        source_of: Callable[[str], str],
        tls: ssl.SSLContext | None,
    ) -> None:
        self._runner = runner
        self._visitors = visitors
        self._source_of = lru_cache(KNOWN_ADDRESSES)(source_of)
        self._tls = tls
        self._sockets: list[socket.socket] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._arrived: Rotation[tuple[_Arrival, Visitor]] = Rotation()
        self._setting_up = False
        self._open = False

    async def open(self, host: str, port: int, *, shared: bool) -> tuple[str, int]:
        """Listen and return the first address; several processes may share a port.

        Raises:
            OSError: the address cannot be listened on.
        """
        self._visitors.limit = min(self._visitors.limit, files_for(self._visitors.limit))
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        self._open = True
        try:
            for family, _, _, _, address in dict.fromkeys(found):
                self._sockets.append(_listening(family, address, shared=shared))
        except OSError:
            await self.close()
            raise
        for one in self._sockets:
            loop.add_reader(one, self._accept, one)
        name = self._sockets[0].getsockname()
        return str(name[0]), int(name[1])

    async def close(self) -> None:
        """Accept nothing more; those who are inside stay."""
        self._open = False
        loop = asyncio.get_running_loop()
        for one in self._sockets:
            loop.remove_reader(one)
            one.close()
        self._sockets.clear()

    def _accept(self, listening: socket.socket) -> None:
        for _ in range(ACCEPTED_AT_ONCE):
            try:
                connection, address = listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in _NO_ROOM:
                    raise
                self._visitors.make_room()
                self._pause(listening)
                return
            self._admit(connection, address[0])

    def _admit(self, connection: socket.socket, host: str) -> None:
        arrival = _Arrival(connection)
        visitor = self._visitors.enter(self._source_of(host), arrival.drop)
        if visitor is None:
            connection.close()
            return
        connection.settimeout(0)
        self._arrived.push(visitor.source, (arrival, visitor))
        if not self._setting_up:
            self._setting_up = True
            asyncio.get_running_loop().call_soon(self._set_up)

    def _set_up(self) -> None:
        """Serve the next arrivals, source by source."""
        for _ in range(SET_UP_AT_ONCE):
            if not self._arrived:
                self._setting_up = False
                return
            arrival, visitor = self._arrived.pop()
            if visitor.inside:
                task = asyncio.create_task(self._connect(arrival, visitor))
                arrival.task = task
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
        asyncio.get_running_loop().call_soon(self._set_up)

    async def _connect(self, arrival: _Arrival, visitor: Visitor) -> None:
        server = self._runner.server
        if server is None:  # The runner has been cleaned up meanwhile.
            self._visitors.leave(visitor)
            arrival.connection.close()
            return
        protocol = _Attended(server(), visitor, self._visitors)
        loop = asyncio.get_running_loop()
        try:
            transport, _ = await loop.connect_accepted_socket(
                lambda: protocol,
                arrival.connection,
                ssl=self._tls,
                ssl_handshake_timeout=self._visitors.head_within_s if self._tls else None,
            )
        except OSError:  # The other side went, or its handshake is none.
            self._visitors.leave(visitor)
            arrival.connection.close()
        else:
            arrival.transport = transport

    def _pause(self, listening: socket.socket) -> None:
        """Leave it to the kernel to keep who is waiting, for a moment."""
        loop = asyncio.get_running_loop()
        loop.remove_reader(listening)

        def resume() -> None:
            if self._open:
                loop.add_reader(listening, self._accept, listening)

        loop.call_later(PAUSE_S, resume)


class _Arrival:
    """A connection on its way in, which may be dropped before it has a transport."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.task: asyncio.Task[None] | None = None
        self.transport: asyncio.BaseTransport | None = None

    def drop(self) -> None:
        """End it at once, whatever is still to be written."""
        if isinstance(self.transport, asyncio.WriteTransport):
            self.transport.abort()
        elif self.transport is not None:
            self.transport.close()
        elif self.task is not None:
            self.task.cancel()
            self.task.add_done_callback(lambda _: self.connection.close())
        else:
            self.connection.close()


class _Attended(asyncio.Protocol):
    """Passes everything on to aiohttp's protocol, and tells Visitors."""

    def __init__(self, inner: web.RequestHandler, visitor: Visitor, visitors: Visitors) -> None:
        self._inner = inner
        self._visitor = visitor
        self._visitors = visitors

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._visitors.name(self._visitor, self._inner)
        self._inner.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        self._visitors.heard(self._visitor, len(data))
        self._inner.data_received(data)

    def eof_received(self) -> None:
        self._inner.eof_received()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._visitors.leave(self._visitor, self._inner)
        self._inner.connection_lost(exc)

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._inner.resume_writing()


def files_for(connections: int) -> int:
    """Return how many connections the process may have, after asking for enough open files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + SPARE_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        raised = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (raised, hard))
            soft = raised
    if soft == resource.RLIM_INFINITY:
        return connections
    return max(1, min(connections, soft - SPARE_FILES))


def _listening(family: int, address: tuple[Any, ...], *, shared: bool) -> socket.socket:
    one = socket.socket(family, socket.SOCK_STREAM)
    try:
        one.settimeout(0)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        one.bind(address)
        one.listen(BACKLOG)
    except OSError:
        one.close()
        raise
    return one
