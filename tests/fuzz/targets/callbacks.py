"""The callback server's HTTP, as bytes of a connection: the real app over a store in memory."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final, cast

from aiohttp import web

from callback_server.parts import Parts
from callback_server.routes import opened_runner
from payouts.domain.payout import Payout
from payouts.domain.signals import SIGNALS, Signal
from payouts.messaging.event_publisher import AmqpEventPublisher
from payouts.ports import Completion, CompletionOutcome, Incident, Query
from payouts.settings import CallbackSettings
from payouts.storage.store import PostgresStore
from tests.fuzz.mutators.octets import PLAIN
from tests.fuzz.mutators.wire import WIRE
from tests.fuzz.oracle import Finding, Target, judge_text
from tests.fuzz.planted import PASSWORD
from tests.fuzz.targets.soap import result_seeds, timeout_seeds

_STATUS: Final = re.compile(rb"HTTP/1\.[01] (\d{3}) ")
_OURS: Final = frozenset({100, 200, 400, 403, 404, 405, 408, 411, 413, 417, 503})
_ENVIRON: Final = {
    "PAYOUTS_AMQP_URL": "amqp://127.0.0.1/",
    "PAYOUTS_DATABASE_URL": "postgresql://127.0.0.1/payouts",
}
_PIECE: Final = 65_536
_TURNS: Final = 40


class RememberedStore:
    """Knows no payout; remembers only how much it was asked to keep."""

    def __init__(self) -> None:
        self.kept = 0

    async def complete(self, completion: Completion) -> CompletionOutcome:
        """Find no payout."""
        del completion
        return CompletionOutcome(applied=False, payout=None)

    async def find_by_conversation(self, *_: object) -> Payout | None:
        """Find none."""
        return None

    async def find_query(self, *_: object) -> Query | None:
        """Find none."""
        return None

    async def record_incident(self, incident: Incident) -> None:
        """Take what is unmatched, as PostgreSQL would: refusing what it cannot keep."""
        for name in incident.__slots__:
            text = getattr(incident, name)
            if isinstance(text, str) and "\x00" in text:
                raise Finding(f"{name} cannot be kept")
        self.kept += 1


class FixedClock:
    """It is always the same moment."""

    def now(self) -> datetime:
        """Return it."""
        return datetime(2026, 11, 30, tzinfo=UTC)

    def monotonic(self) -> float:
        """Return it in seconds."""
        return 0.0

    async def sleep(self, seconds: float) -> None:
        """Let others run; no time passes."""
        del seconds
        await asyncio.sleep(0)


class Listening(logging.Handler):
    """Hears what is logged, and what signals say; remembers the first thing that is wrong."""

    def __init__(self) -> None:
        super().__init__(level=logging.INFO)
        self.wrong: str | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Hear a log line."""
        self._hear(self.format(record))
        if record.levelno >= logging.ERROR:
            self.wrong = self.wrong or f"logged as an error: {self.format(record)[-1500:]}"

    def _hear(self, text: str) -> None:
        try:
            judge_text(text)
        except Finding as finding:
            self.wrong = self.wrong or str(finding)

    def hear_signal(self, signal: Signal, fields: dict[str, object]) -> None:
        """Hear a signal with its fields."""
        if set(fields) - set(SIGNALS[signal].fields):
            self.wrong = f"{signal} says more than it may"
        # An id is told as it came, whatever it is: it is how a person finds the Result.
        self._hear(repr({name: one for name, one in fields.items() if not name.endswith("_id")}))


class Ear:
    """Fulfils the Telemetry port."""

    def __init__(self, listening: Listening) -> None:
        self._listening = listening

    def emit(self, signal: Signal, /, **fields: object) -> None:
        """Tell what happened."""
        self._listening.hear_signal(signal, fields)


class Wire(asyncio.Transport):
    """A connection in memory: what is written to it is the server's answer."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 4000)})
        self.said = bytearray()
        self.closed = False
        self.paused = False

    def write(self, data: Any) -> None:
        """Take what the server says."""
        self.said += data

    def is_closing(self) -> bool:
        """Tell whether the server has closed."""
        return self.closed

    def close(self) -> None:
        """Close."""
        self.closed = True

    abort = close

    def pause_reading(self) -> None:
        """Take no more for now."""
        self.paused = True

    def resume_reading(self) -> None:
        """Go on."""
        self.paused = False

    def is_reading(self) -> bool:
        """Tell whether the server reads."""
        return not self.paused


class Server:
    """The app behind connections in memory, on an event loop of its own."""

    def __init__(self) -> None:
        self.listening = Listening()
        self.store = RememberedStore()
        self.loop = asyncio.new_event_loop()
        logging.getLogger("aiohttp").addHandler(self.listening)
        logging.getLogger("asyncio").addHandler(self.listening)
        self.runner = self.loop.run_until_complete(self._open())

    async def _open(self) -> web.AppRunner:
        ear, clock, store = Ear(self.listening), FixedClock(), self.store
        parts = Parts(
            CallbackSettings.load(_ENVIRON),
            cast("PostgresStore", store),
            cast("AmqpEventPublisher", None),
            clock,
            ear,
        )
        return await opened_runner(parts.handlers, ear, prefix="/mpesa", drain_s=1)

    def answer(self, data: bytes) -> bytes:
        """Return all that the server says to these bytes of one connection."""
        return self.loop.run_until_complete(self._answer(data))

    async def _answer(self, data: bytes) -> bytes:
        assert self.runner.server is not None
        wire, protocol = Wire(), self.runner.server()
        protocol.connection_made(wire)
        first = len(data) // 3  # So that heads and bodies arrive in pieces.
        pieces = [data[:first], *(data[n : n + _PIECE] for n in range(first, len(data), _PIECE))]
        for piece in pieces:
            for _ in range(_TURNS):
                if not wire.paused:
                    break
                await asyncio.sleep(0)
            if wire.closed or wire.paused:
                break
            if piece:
                protocol.data_received(piece)
            await asyncio.sleep(0)
        for _ in range(_TURNS):
            await asyncio.sleep(0)
        protocol.connection_lost(None)
        for _ in range(6):
            await asyncio.sleep(0)
        return bytes(wire.said)


_SERVER: Final[list[Server]] = []


def read(data: bytes) -> bytes:
    """Return the answers to a connection's bytes."""
    if not _SERVER:
        _SERVER.append(Server())
    server = _SERVER[0]
    said = server.answer(data)
    wrong, server.listening.wrong = server.listening.wrong, None
    if wrong is not None:
        raise Finding(wrong)
    return said


def check(value: object, data: bytes) -> None:
    """See that every answer is one of ours, and repeats nothing."""
    assert isinstance(value, bytes)
    odd = {int(status) for status in _STATUS.findall(value)} - _OURS
    if odd:
        raise Finding(f"answered with {sorted(odd)}: {data[:300]!r}")
    if b"text/plain" not in value:  # There aiohttp tells a sender his own mistake.
        judge_text(value.decode("latin-1"), most=10**9)


def seeds() -> Sequence[bytes]:
    """Give requests as the gateway sends them, and the one for the WSDL."""
    host = b"Host: 127.0.0.1:8310\r\n"
    posts = [(b"result", body) for body in result_seeds()]
    posts += [(b"timeout", body) for body in timeout_seeds()]
    return [
        *(
            b"POST /mpesa/%s HTTP/1.1\r\n%sContent-Type: text/xml\r\nConnection: close\r\n"
            b"Content-Length: %d\r\n\r\n%s" % (path, host, len(body), body)
            for path, body in posts
        ),
        b"GET /mpesa/result?wsdl HTTP/1.1\r\n" + host + b"\r\n",
        b"GET / HTTP/1.1\r\nAuthorization: " + PASSWORD.encode() + b"\r\n\r\n",
    ]


TARGET: Final = Target(
    name="callbacks",
    read=read,
    errors=(),
    check=check,
    seeds=seeds,
    tokens=(
        b"POST /mpesa/result HTTP/1.1\r\n",
        b"Content-Length: ",
        b"Transfer-Encoding: chunked\r\n",
        b"Content-Encoding: gzip\r\n",
        b"\r\n\r\n",
        b"Expect: 100-continue\r\n",
        b"Host: ",
    ),
    mutators=(*WIRE, *WIRE, *PLAIN),
    free=4 * 1024 * 1024,
)
