"""Connections as they come in: with and without TLS, too many, too slow, half begun."""

from __future__ import annotations

import asyncio
import resource
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
import trustme
from aiohttp import web

from callback_server.door import SPARE_FILES, Door, files_for
from callback_server.visitors import Visitors
from payouts.domain.signals import Signal


class Heard:
    """Remembers why connections were dropped."""

    def __init__(self) -> None:
        self.reasons: list[object] = []
        self.some = asyncio.Event()

    def emit(self, _: Signal, /, **fields: object) -> None:
        """Hear a signal."""
        self.reasons.append(fields["reason"])
        self.some.set()


class Served:
    """A door with a server behind it that answers everything."""

    def __init__(self, door: Door, visitors: Visitors, heard: Heard, port: int) -> None:
        self.door = door
        self.visitors = visitors
        self.heard = heard
        self.port = port


@asynccontextmanager
async def served(
    tls: ssl.SSLContext | None = None, *, limit: int = 8, head_within_s: float = 30.0
) -> AsyncIterator[Served]:
    heard = Heard()
    visitors = Visitors(limit=limit, head_within_s=head_within_s, telemetry=heard)

    async def answer(request: web.Request) -> web.Response:
        with visitors.request(request.protocol):
            return web.Response(text="here")

    app = web.Application()
    app.router.add_get("/", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    door = Door(runner, visitors, lambda host: host, tls)
    _, port = await door.open("127.0.0.1", 0, shared=False)
    try:
        yield Served(door, visitors, heard, port)
    finally:
        await door.close()
        await runner.cleanup()


def contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    authority = trustme.CA()
    ours, theirs = (
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER),
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
    )
    authority.issue_cert("127.0.0.1").configure_cert(ours)
    authority.configure_trust(theirs)
    return ours, theirs


async def asked(port: int, tls: ssl.SSLContext | None = None) -> str:
    scheme = "https" if tls else "http"
    async with (
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session,
        session.get(f"{scheme}://127.0.0.1:{port}/", ssl=tls or True) as answer,
    ):
        return await answer.text()


async def inside(server: Served, count: int) -> None:
    deadline = asyncio.get_running_loop().time() + 10
    while len(server.visitors) != count:
        assert asyncio.get_running_loop().time() < deadline
        await asyncio.sleep(0.002)


async def test_requests_are_served_and_leave_nothing_behind() -> None:
    """Each connection is counted while it is there, and not afterwards."""
    async with served() as server:
        assert await asked(server.port) == "here"
        await inside(server, 0)


async def test_requests_over_tls_are_served() -> None:
    """The door does the handshake."""
    ours, theirs = contexts()
    async with served(ours) as server:
        assert await asked(server.port, theirs) == "here"
        await inside(server, 0)


async def test_a_handshake_that_does_not_come_ends() -> None:
    """Half-open TLS connections count as connections, and are given the time of a head."""
    ours, theirs = contexts()
    async with served(ours, limit=2, head_within_s=0.2) as server:
        silent = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(2)]
        await asyncio.wait_for(server.heard.some.wait(), 10)
        await inside(server, 0)
        assert set(server.heard.reasons) == {"late"}
        assert await asked(server.port, theirs) == "here"
        for reader, writer in silent:
            assert await reader.read() == b""
            writer.close()


async def test_a_handshake_that_is_none_ends() -> None:
    """Rubbish on a TLS port leaves no connection behind."""
    ours, _ = contexts()
    async with served(ours) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET / HTTP/1.1\r\n\r\n" * 10)
        assert await asyncio.wait_for(reader.read(), 10) is not None
        await inside(server, 0)
        writer.close()


async def test_beyond_the_limit_a_source_alone_is_refused() -> None:
    """What waits at the door does not grow: the newcomers of one source are closed at once."""
    async with served(limit=3) as server:
        three = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(3)]
        outside, writer = await asyncio.open_connection("127.0.0.1", server.port)
        assert await asyncio.wait_for(outside.read(), 10) == b""
        assert server.heard.reasons == ["refused"]
        for _, one in [*three, (None, writer)]:
            one.close()


async def test_a_closed_door_lets_nobody_in() -> None:
    """Draining begins with the door; who is inside is served to the end."""
    async with served() as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        await inside(server, 1)
        await server.door.close()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert b"here" in await asyncio.wait_for(reader.read(), 10)
        writer.close()


async def test_a_port_that_is_taken_is_told() -> None:
    """Listening where somebody listens is an error, and no half-open door is left."""
    async with served() as server:
        visitors = Visitors(limit=1, head_within_s=1, telemetry=server.heard)
        runner = web.AppRunner(web.Application())
        await runner.setup()
        door = Door(runner, visitors, str, None)
        with pytest.raises(OSError, match="in use"):
            await door.open("127.0.0.1", server.port, shared=False)
        await runner.cleanup()


def test_connections_fit_into_the_files_that_a_process_may_open() -> None:
    """More files are asked for where that is allowed, and fewer connections taken where not."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (SPARE_FILES + 100, before[1]))
        assert files_for(150) == 150
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == SPARE_FILES + 150
        assert files_for(10**9) == min(10**9, before[1]) - SPARE_FILES
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
