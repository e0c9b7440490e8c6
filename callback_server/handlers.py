"""What the callback server answers: acknowledged only once the effect is durable."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from callback_server.guards import AllowList
from payouts.domain.errors import (
    MessageTooLargeError,
    StoreRefusedError,
    StoreUnavailableError,
    UnreadableMessageError,
)
from payouts.domain.signals import Signal
from payouts.mpesa.acknowledgements import (
    Acknowledgement,
    FaultCode,
    queue_timeout_acknowledgement,
    result_acknowledgement,
    soap_fault,
)
from payouts.mpesa.results import parse_result
from payouts.mpesa.settings import AckNamespace
from payouts.mpesa.timeouts import parse_queue_timeout
from payouts.mpesa.wsdl import result_wsdl
from payouts.ports import Telemetry
from payouts.services.completion import Completions

MAX_BODY_BYTES: Final = 256 * 1024
BODY_WITHIN_S: Final = 10.0
STORE_WITHIN_S: Final = 20.0
XML: Final = "text/xml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Handlers:
    """Handles the two callbacks and the WSDL (contract.md §3)."""

    completions: Completions
    ack_namespace: AckNamespace
    allow: AllowList
    telemetry: Telemetry

    async def result(self, request: web.Request) -> web.Response:
        """Take a GenericAPIResult."""

        async def take(body: bytes) -> None:
            await self.completions.take_result(parse_result(body))

        def say(acknowledgement: Acknowledgement) -> bytes:
            return result_acknowledgement(acknowledgement, self.ack_namespace)

        return await self._take(request, "result", take, say)

    async def timeout(self, request: web.Request) -> web.Response:
        """Take a notifyQueueTimeout."""

        async def take(body: bytes) -> None:
            await self.completions.take_queue_timeout(parse_queue_timeout(body))

        return await self._take(request, "timeout", take, queue_timeout_acknowledgement)

    async def wsdl(self, request: web.Request) -> web.Response:
        """Serve our own WSDL of the Result service, with this server's address in it."""
        if not self._admits(request):
            return self._denied(request)
        if "wsdl" not in {key.lower() for key in request.query}:
            raise web.HTTPMethodNotAllowed("GET", ["POST"])
        return _xml(200, result_wsdl(str(request.url.with_query(None)), self.ack_namespace))

    async def _take(
        self,
        request: web.Request,
        kind: str,
        take: Callable[[bytes], Awaitable[None]],
        say: Callable[[Acknowledgement], bytes],
    ) -> web.Response:
        if not self._admits(request):
            return self._denied(request)
        body = b""
        try:
            body = await _read(request)
            async with asyncio.timeout(STORE_WITHIN_S):
                await take(body)
        except MessageTooLargeError as error:
            return self._refused(kind, 413, error, request.content_length or len(body))
        except UnreadableMessageError as error:
            return self._refused(kind, 400, error, len(body))
        except (StoreUnavailableError, TimeoutError):
            self.telemetry.emit(Signal.STORE_AWAY, doing=f"take a {kind}")
            return _xml(503, say(Acknowledgement.OVERLOAD))
        except StoreRefusedError as error:
            # A defect of ours. It is kept as an incident, asked about, and may be sent again.
            self._tell_refused(kind, 500, error.detail, len(body))
            return _xml(500, say(Acknowledgement.INTERNAL_ERROR))
        return _xml(200, say(Acknowledgement.SUCCESS))

    def _admits(self, request: web.Request) -> bool:
        return self.allow.admits(request.remote, request.headers.get("X-Forwarded-For"))

    def _denied(self, request: web.Request) -> web.Response:
        self.telemetry.emit(Signal.CALLBACK_DENIED, source=request.remote or "")
        return web.Response(status=403, text="This source may not call here.\n")

    def _refused(
        self, kind: str, status: int, error: UnreadableMessageError, size: int
    ) -> web.Response:
        self._tell_refused(kind, status, error.detail, size)
        return _xml(status, soap_fault(FaultCode.CLIENT, str(error)))

    def _tell_refused(self, kind: str, status: int, detail: str, size: int) -> None:
        self.telemetry.emit(
            Signal.RESULT_REFUSED, kind=kind, status=status, detail=detail, size=size
        )


async def _read(request: web.Request) -> bytes:
    if (request.content_length or 0) > MAX_BODY_BYTES:
        raise MessageTooLargeError
    try:
        async with asyncio.timeout(BODY_WITHIN_S):
            return await request.read()
    except web.HTTPRequestEntityTooLarge as error:
        raise MessageTooLargeError from error
    except TimeoutError as error:
        raise UnreadableMessageError("The body did not arrive in time.") from error


def _xml(status: int, body: bytes) -> web.Response:
    return web.Response(status=status, body=body, content_type=XML, charset="utf-8")
