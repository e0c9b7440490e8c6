"""Which path goes to which handler, and the server that speaks HTTP for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from aiohttp import web
from aiohttp.http import RawRequestMessage
from aiohttp.typedefs import Handler, Middleware

from callback_server.bodies import MAX_BODY_BYTES
from callback_server.complaints import Complaints
from callback_server.handlers import Handlers
from callback_server.visitors import Visitors
from payouts.ports import Telemetry

KEEP_ALIVE_S: Final = 75.0
MAX_HEADERS: Final = 64
MAX_HEADER_BYTES: Final = 4096
READ_BYTES: Final = 16 * 1024
LINGER_S: Final = 5.0  # What is still sent by one who was refused is read for so long.


async def opened_runner(
    handlers: Handlers, telemetry: Telemetry, *, prefix: str, drain_s: float
) -> web.AppRunner:
    """Return the server of the callbacks under `prefix`, set up, all of its buffers bounded.

    Bodies are not decompressed: no gateway compresses, and a small one can grow without end.
    """
    runner = web.AppRunner(
        application(handlers, prefix),
        access_log=None,
        keepalive_timeout=KEEP_ALIVE_S,
        shutdown_timeout=drain_s,
        logger=Complaints(telemetry),
        auto_decompress=False,
        max_line_size=MAX_HEADER_BYTES,
        max_field_size=MAX_HEADER_BYTES,
        max_headers=MAX_HEADERS,
        read_bufsize=READ_BYTES,
        lingering_time=LINGER_S,
    )
    await runner.setup()
    if runner.server is not None:
        runner.server.request_factory = _readable(runner.server.request_factory)
    return runner


def application(handlers: Handlers, prefix: str) -> web.Application:
    """Return the aiohttp application that serves the callbacks under `prefix`."""
    app = web.Application(
        client_max_size=MAX_BODY_BYTES, middlewares=[_attending(handlers.visitors)]
    )
    router = app.router
    router.add_post(f"{prefix}/result", handlers.result, expect_handler=_expect)
    router.add_get(f"{prefix}/result", handlers.wsdl, allow_head=False, expect_handler=_expect)
    router.add_post(f"{prefix}/timeout", handlers.timeout, expect_handler=_expect)
    return app


def _attending(visitors: Visitors) -> Middleware:
    @web.middleware
    async def attend(request: web.Request, handler: Handler) -> web.StreamResponse:
        with visitors.request(request.protocol, request.content.is_eof):
            return await handler(request)

    return attend


async def _expect(request: web.Request) -> None:
    """Answer `Expect: 100-continue`; what else is expected is not repeated to anybody."""
    if request.headers.get("Expect", "").lower() != "100-continue":
        raise web.HTTPExpectationFailed(text="Only 100-continue can be expected.\n")
    if (request.content_length or 0) <= MAX_BODY_BYTES:
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # The answer itself is still to come.


def _readable(make: Callable[..., web.BaseRequest]) -> Callable[..., web.BaseRequest]:
    """Leave out expectations that are no text, over which aiohttp's own answer stumbles."""

    def made(message: RawRequestMessage, *parts: object) -> web.BaseRequest:
        if not message.headers.get("Expect", "").isascii():
            headers = message.headers.copy()
            del headers["Expect"]
            message = message._replace(headers=type(message.headers)(headers))
        return make(message, *parts)

    return made
