"""Floods a callback server, from a process and from addresses of its own.

`python -m tests.faults.flooding KIND PORT SOURCES CONNECTIONS`; it says `pressing` when it has
opened that many, ends when it is told to, and then says how many it opened in all.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from tests.acceptance.test_callbacks import result

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Attack = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

_HEAD: Final = "POST /mpesa/result HTTP/1.1\r\nHost: a\r\nContent-Type: text/xml\r\n"
_DRIBBLE_S: Final = 0.3
_PAUSE_S: Final = 0.2


def head(length: int) -> bytes:
    """Return the head of a Result of `length` bytes."""
    return f"{_HEAD}Content-Length: {length}\r\n\r\n".encode()


async def dribble(writer: asyncio.StreamWriter, data: bytes) -> None:
    """Send one byte at a time, slowly."""
    while data:
        writer.write(data[:1])
        data = data[1:]
        await writer.drain()
        await asyncio.sleep(_DRIBBLE_S)


async def slow_heads(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Never come to the end of a head."""
    await dribble(writer, _HEAD.encode() + b"X-Slow: " + b"a" * 3000)


async def slow_bodies(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Announce a body and send it slowly."""
    writer.write(head(4000))
    await dribble(writer, b"<" * 4000)


async def idle(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    """Say nothing, and stay."""
    await reader.read(1)


async def oversized(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send more than is taken, without saying so before."""
    writer.write(f"{_HEAD}Transfer-Encoding: chunked\r\n\r\n".encode())
    for _ in range(40):
        writer.write(b"4000\r\n" + b"x" * 0x4000 + b"\r\n")
        await writer.drain()
    await reader.read(64)


async def heavy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send the largest bodies that are looked at, each as costly to read as can be."""
    many = b"".join(b"<e%x a='%d'/>" % (n, n) for n in range(2000))
    body = b"<Envelope><Body><ResultMsg><l>" + many + b"x" * 150_000 + b"</l></ResultMsg></Body>"
    await answered(reader, writer, body)


async def unknown(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send well-formed Results of payouts that nobody knows."""
    await answered(reader, writer, result(f"600000_ORG_{os.urandom(8).hex()}"))


async def answered(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, body: bytes) -> None:
    """Send a body and wait for the beginning of the answer."""
    writer.write(head(len(body)) + body)
    await writer.drain()
    await reader.read(64)


async def garbage(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send what is no HTTP at all."""
    writer.write(b"\x16\x03\x01" + os.urandom(2000))
    await writer.drain()
    await reader.read(64)


async def vanishing(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Leave in the middle of a body, with a reset."""
    writer.write(head(4000) + b"<" * 2000)
    await writer.drain()
    writer.transport.abort()


ATTACKS: Final[Mapping[str, Attack]] = {
    attack.__name__: attack
    for attack in (
        slow_heads,
        slow_bodies,
        idle,
        oversized,
        heavy,
        unknown,
        garbage,
        vanishing,
    )
}


def say(text: str) -> None:
    """Tell the test, at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


class Flood:
    """Keeps so many connections busy, each opened anew when it ends."""

    def __init__(self, attack: Attack, port: int, sources: int, connections: int) -> None:
        self._attack = attack
        self._port = port
        self._sources = sources
        self._pressing = connections
        self.opened = 0

    async def one(self, number: int) -> None:
        """Attack over one connection after another."""
        source = f"127.0.1.{1 + number % self._sources}"
        while True:
            try:
                reader, writer = await asyncio.open_connection(
                    "127.0.0.1", self._port, local_addr=(source, 0)
                )
            except OSError:
                await asyncio.sleep(_PAUSE_S)
                continue
            self.opened += 1
            if self.opened == self._pressing:
                say("pressing")
            with contextlib.suppress(OSError):
                await self._attack(reader, writer)
            writer.transport.abort()
            await asyncio.sleep(_PAUSE_S)


async def main(kind: str, port: str, sources: str, connections: str) -> None:
    """Flood until SIGTERM comes."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    flood = Flood(ATTACKS[kind], int(port), int(sources), int(connections))
    tasks = [asyncio.create_task(flood.one(n)) for n in range(int(connections))]
    await stop.wait()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    say(str(flood.opened))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
