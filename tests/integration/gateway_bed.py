"""A raw TCP gateway whose every byte and hang-up the test decides, and a client of it."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from payouts.domain.values import AccountName
from payouts.mpesa.client import SoapGateway
from payouts.mpesa.settings import Timeouts, TlsOptions
from tests.fixtures.mpesa.messages import NOW, account, response_message

Play = Callable[["Caller"], Awaitable[None]]
QUICK = Timeouts(connect_s=2.0, total_s=5.0)
SHORT = Timeouts(connect_s=2.0, total_s=0.3)
ACCEPTED = response_message(
    "0",
    ConversationID="AG_20260304_00001",
    OriginatorConversationID="600100_ORG_p-1\n  ",
)


@dataclass
class Caller:
    """One connection, as the gateway sees it."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    requests: list[bytes]

    async def request(self) -> bytes:
        """Reads one whole HTTP request and notes it."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = next(
            int(line.split(b":")[1])
            for line in head.split(b"\r\n")
            if line.lower().startswith(b"content-length:")
        )
        message = head + await self.reader.readexactly(length)
        self.requests.append(message)
        return message

    async def answer(
        self, body: bytes, status: str = "200 OK", headers: str = "", *, length: int | None = None
    ) -> None:
        """Writes an HTTP answer; `length` may promise more than comes."""
        promised = len(body) if length is None else length
        head = f"HTTP/1.1 {status}\r\nContent-Type: text/xml\r\n{headers}"
        self.writer.write(f"{head}Content-Length: {promised}\r\n\r\n".encode() + body)
        await self.writer.drain()

    def reset(self) -> None:
        """Hangs up at once, without ceremony."""
        self.writer.transport.abort()


@dataclass
class RawGateway:
    """Where it listens and what it has seen."""

    port: int = 0
    connections: int = 0
    requests: list[bytes] = field(default_factory=list)

    def url(self, scheme: str = "http") -> str:
        """Gives the address that payments are posted to."""
        return f"{scheme}://localhost:{self.port}/mminterface/request"


def always() -> bool:
    """Says that this worker may send."""
    return True


def never() -> bool:
    """Says that this worker's lease has lapsed."""
    return False


async def accept(caller: Caller) -> None:
    """Accepts every request on a kept connection."""
    while True:
        await caller.request()
        await caller.answer(ACCEPTED)


@asynccontextmanager
async def raw_gateway(play: Play, tls: ssl.SSLContext | None = None) -> AsyncIterator[RawGateway]:
    """Serves `play` on each connection until the block ends; leaves no task behind."""
    gateway = RawGateway()
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        gateway.connections += 1
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await play(Caller(reader, writer, gateway.requests))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # The client hung up; that is what some plays are about.
        except asyncio.CancelledError:
            pass  # The test is over.
        finally:
            tasks.discard(task)
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    gateway.port = server.sockets[0].getsockname()[1]
    try:
        yield gateway
    finally:
        server.close()
        running = tuple(tasks)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


@asynccontextmanager
async def client(
    url: str,
    *,
    timeouts: Timeouts = QUICK,
    tls: TlsOptions | None = None,
    connection_limit: int = 10,
    leave: Callable[[AccountName], Awaitable[bool]] | None = None,
) -> AsyncIterator[SoapGateway]:
    """Gives a client of one account whose payments and queries go to `url`."""
    accounts = {AccountName("default"): account(gateway_url=url, query_url=url)}
    gateway = SoapGateway(
        accounts,
        timeouts=timeouts,
        tls=tls,
        now=lambda: NOW,
        connection_limit=connection_limit,
        leave=leave,
    )
    async with gateway:
        yield gateway


def unused_port() -> int:
    """Gives a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
