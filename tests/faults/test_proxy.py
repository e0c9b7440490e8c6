"""The fault proxy does to real connections what it says, and counts it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import aio_pika
import asyncpg
import pytest

from tests.faults.proxy import Proxy
from tests.faults.weather import Way

SOON_S = 5.0
QUIET_S = 0.15


@dataclass
class Echo:
    """A server that sends back what it gets; what it got is kept, per connection."""

    got: list[bytes] = field(default_factory=list)
    serving: set[asyncio.Task[None]] = field(default_factory=set)
    clients: list[Client] = field(default_factory=list)

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        self.serving.add(asyncio.ensure_future(self._serve(reader, writer)))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = len(self.got)
        self.got.append(b"")
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                self.got[number] += data
                writer.write(data)
                await writer.drain()
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


@asynccontextmanager
async def proxied_echo() -> AsyncIterator[tuple[Echo, Proxy]]:
    """Gives an echo server behind a proxy; every connection is ended at the end."""
    echo = Echo()
    server = await asyncio.start_server(echo.accept, "127.0.0.1", 0)
    async with Proxy("127.0.0.1", server.sockets[0].getsockname()[1]) as proxy:
        yield echo, proxy
        for client in echo.clients:
            await client.close()
    server.close()
    async with asyncio.timeout(SOON_S):
        await asyncio.gather(*echo.serving)


@dataclass
class Client:
    """One connection through the proxy."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def ask(self, said: bytes, within_s: float = SOON_S) -> bytes:
        """Send something and return the same amount of answer."""
        self.writer.write(said)
        async with asyncio.timeout(within_s):
            return await self.reader.readexactly(len(said))

    async def silent(self) -> bool:
        """Tell whether nothing comes for a moment."""
        try:
            async with asyncio.timeout(QUIET_S):
                await self.reader.read(1)
        except TimeoutError:
            return True
        return False

    async def close(self) -> None:
        """End it from this side."""
        self.writer.close()
        with suppress(ConnectionError):
            await self.writer.wait_closed()

    async def ended(self) -> type[BaseException] | None:
        """Return how the connection ended: None for FIN, else the error."""
        try:
            async with asyncio.timeout(SOON_S):
                while await self.reader.read(65536):
                    pass
        except ConnectionError as error:
            return type(error)
        return None


async def opened(echo: Echo, proxy: Proxy) -> Client:
    client = Client(*await asyncio.open_connection("127.0.0.1", proxy.port))
    echo.clients.append(client)
    return client


async def connected(echo: Echo, proxy: Proxy) -> Client:
    client = await opened(echo, proxy)
    assert await client.ask(b"hello") == b"hello"
    return client


async def test_without_faults_bytes_go_both_ways_whole() -> None:
    """A megabyte comes back as it went, and an end is passed on."""
    async with proxied_echo() as (echo, proxy):
        client = await connected(echo, proxy)
        said = bytes(range(256)) * 4096
        assert await client.ask(said) == said
        client.writer.write_eof()
        assert await client.ended() is None
        assert echo.got == [b"hello" + said]
        assert proxy.counts["bytes up"] == proxy.counts["bytes down"] == len(said) + 5
        assert proxy.counts["connections"] == 1


async def test_delay_keeps_order_and_takes_its_time() -> None:
    """Each way takes the delay; what is sent in a row arrives in a row."""
    async with proxied_echo() as (echo, proxy):
        client = await connected(echo, proxy)
        proxy.delay(0.1)
        loop = asyncio.get_running_loop()
        began = loop.time()
        assert await client.ask(b"one") == b"one"
        assert loop.time() - began >= 0.2
        client.writer.write(b"two")
        await asyncio.sleep(0)
        client.writer.write(b"three")
        assert await client.reader.readexactly(8) == b"twothree"
        await proxy.restore()
        began = loop.time()
        assert await client.ask(b"four") == b"four"
        assert loop.time() - began < 0.1
        assert proxy.counts["delayed"] >= 4


async def test_throttle_bounds_the_rate() -> None:
    """A tenth of a second's worth takes a tenth of a second each way, at least."""
    async with proxied_echo() as (echo, proxy):
        client = await connected(echo, proxy)
        proxy.throttle(100_000)
        loop = asyncio.get_running_loop()
        began = loop.time()
        said = b"x" * 20_000
        assert await client.ask(said) == said
        assert loop.time() - began >= 0.2
        assert proxy.counts["throttled"] > 0


async def test_a_throttled_flood_is_held_back_and_then_let_go() -> None:
    """What does not fit waits at its sender, not in the proxy, and arrives whole after all."""
    async with proxied_echo() as (echo, proxy):
        client = await connected(echo, proxy)
        proxy.throttle(50_000)
        said = b"y" * 8_000_000
        client.writer.write(said)
        assert await client.silent() is False
        assert proxy.counts["bytes up"] < 2_000_000
        await proxy.restore()
        async with asyncio.timeout(SOON_S):
            await client.reader.readexactly(len(said) - 1)
        assert len(echo.got[0]) == len(said) + 5


async def test_reset_is_seen_as_a_reset_on_both_sides() -> None:
    """RST, not FIN; the next connection is as good as new."""
    async with proxied_echo() as (echo, proxy):
        client = await connected(echo, proxy)
        proxy.reset()
        assert await client.ended() is ConnectionResetError
        assert proxy.counts["reset"] == 1
        await connected(echo, proxy)
        assert len(echo.got) == 2


async def test_reset_after_so_many_bytes_is_in_the_middle_of_a_message() -> None:
    """What passed before stays passed; the rest never arrives."""
    async with proxied_echo() as (echo, proxy):
        client = await connected(echo, proxy)
        proxy.reset_after(10_000)
        assert await client.ask(b"z" * 4_000) == b"z" * 4_000
        client.writer.write(b"z" * 4_000)
        assert await client.ended() is ConnectionResetError
        assert len(echo.got[0]) <= 5 + 10_000


async def test_half_open_swallows_and_keeps_the_connection() -> None:
    """Nobody is told anything until the network is back; then what lost bytes is reset."""
    async with proxied_echo() as (echo, proxy):
        client = await connected(echo, proxy)
        proxy.half_open()
        client.writer.write(b"lost")
        assert await client.silent()
        newcomer = await opened(echo, proxy)
        newcomer.writer.write(b"lost too")
        assert await newcomer.silent()
        assert echo.got == [b"hello"]
        assert proxy.counts["swallowed"] == 12
        await proxy.restore()
        assert await client.ended() is ConnectionResetError
        assert await newcomer.ended() is ConnectionResetError


async def test_a_half_open_connection_that_was_idle_lives_on() -> None:
    """Nothing was lost on it, so nothing is wrong with it."""
    async with proxied_echo() as (echo, proxy):
        client = await connected(echo, proxy)
        proxy.half_open()
        await proxy.restore()
        assert await client.ask(b"still here") == b"still here"


async def test_a_forgotten_connection_stays_silent_while_new_ones_are_served() -> None:
    """Nobody is told: neither a reset nor an end comes, also when all else is well again."""
    async with proxied_echo() as (echo, proxy):
        client = await connected(echo, proxy)
        proxy.forget()
        client.writer.write(b"lost")
        await connected(echo, proxy)
        await proxy.restore()
        assert await client.silent()
        assert echo.got == [b"hello", b"hello"]


@pytest.mark.parametrize("way", list(Way))
async def test_stalling_one_direction_leaves_the_other(way: Way) -> None:
    """Up: the server gets nothing. Down: it gets it, and its answer waits; nothing is lost."""
    async with proxied_echo() as (echo, proxy):
        client = await connected(echo, proxy)
        proxy.stall(way)
        client.writer.write(b"wait")
        assert await client.silent()
        assert echo.got == [b"hello" if way is Way.UP else b"hellowait"]
        await proxy.restore()
        assert await client.reader.readexactly(4) == b"wait"


async def test_refuse_turns_newcomers_away_and_leaves_the_others() -> None:
    """Refused is refused: nothing listens; after it the same port serves again."""
    async with proxied_echo() as (echo, proxy):
        client = await connected(echo, proxy)
        proxy.refuse()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", proxy.port)
        assert await client.ask(b"still here") == b"still here"
        await proxy.restore()
        await connected(echo, proxy)


async def test_cut_ends_every_connection_in_order() -> None:
    """FIN, not RST; newcomers are served."""
    async with proxied_echo() as (echo, proxy):
        clients = [await connected(echo, proxy) for _ in range(3)]
        proxy.cut()
        assert [await client.ended() for client in clients] == [None] * 3
        assert proxy.counts["cut"] == 3
        await connected(echo, proxy)


async def test_a_server_that_is_away_resets_its_clients() -> None:
    """A proxy cannot refuse for another, so it hangs up."""
    async with Proxy("127.0.0.1", 9) as proxy:
        client = Client(*await asyncio.open_connection("127.0.0.1", proxy.port))
        assert await client.ended() is ConnectionResetError
        assert proxy.counts["unreachable"] == 1
        await client.close()


async def test_no_connection_is_left_behind() -> None:
    """What ended is forgotten, whichever side ended it."""
    async with proxied_echo() as (echo, proxy):
        client = await connected(echo, proxy)
        await client.close()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + SOON_S
        while proxy.connections:
            assert loop.time() < deadline
            await asyncio.sleep(0.01)


async def test_who_comes_in_the_instant_of_the_end_is_turned_away() -> None:
    """Accepted, but not handed over yet, when the proxy ended: nobody would end it later.

    Proved by keeping it: its sockets were told of as unclosed, tests later.
    """
    ours, theirs = socket.socketpair()
    async with proxied_echo() as (_, proxy):
        side = proxy._accept()
    with theirs:
        loop = asyncio.get_running_loop()
        transport, _ = await loop.connect_accepted_socket(lambda: side, ours)
        assert transport.is_closing()
        assert await asyncio.to_thread(theirs.recv, 1) == b""
    assert proxy.connections == 0


@pytest.mark.servers
async def test_it_stands_in_front_of_rabbitmq_and_postgresql(
    amqp_url: str, database_url: str
) -> None:
    """Both speak through it by addresses with user, password and path, and feel a reset."""
    broker, database = (port_of(url) for url in (amqp_url, database_url))
    async with Proxy("127.0.0.1", broker) as amqp, Proxy("127.0.0.1", database) as sql:
        connection = await aio_pika.connect(amqp.address(amqp_url))
        await (await connection.channel()).declare_queue("through", exclusive=True)
        books = await asyncpg.connect(sql.address(database_url))
        assert await books.fetchval("SELECT 1") == 1
        sql.reset()
        with pytest.raises((ConnectionError, asyncpg.PostgresConnectionError)):
            await books.fetchval("SELECT 1")
        await connection.close()
        books.terminate()


def port_of(url: str) -> int:
    return int(url.rpartition("@")[2].partition("/")[0].rpartition(":")[2])
