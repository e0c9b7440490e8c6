"""What the callback server answers: acknowledged only once the effect is durable."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from aiohttp import web

from callback_server.bodies import SMALL_BYTES, Bodies, CrowdedError, announced
from callback_server.fairness import FairShare
from callback_server.guards import AllowList
from callback_server.visitors import Visitors
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

STORE_WITHIN_S: Final = 20.0
XML: Final = "text/xml"
_HOST: Final = re.compile(r"[A-Za-z0-9.:\[\]_-]{1,255}")

M = TypeVar("M")


@dataclass(frozen=True, slots=True)
class _Callback(Generic[M]):
    """One of the two callbacks: how it is read, carried out and answered."""

    kind: str
    parse: Callable[[bytes], M]
    take: Callable[[M], Awaitable[None]]
    say: Callable[[Acknowledgement], bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Handlers:
    """Handles the two callbacks and the WSDL (contract.md §3)."""

    completions: Completions
    ack_namespace: AckNamespace
    allow: AllowList
    telemetry: Telemetry
    bodies: Bodies
    visitors: Visitors
    parsing: FairShare
    taking: FairShare

    async def result(self, request: web.Request) -> web.Response:
        """Take a GenericAPIResult."""

        def say(acknowledgement: Acknowledgement) -> bytes:
            return result_acknowledgement(acknowledgement, self.ack_namespace)

        callback = _Callback("result", parse_result, self.completions.take_result, say)
        return await self._take(request, callback)

    async def timeout(self, request: web.Request) -> web.Response:
        """Take a notifyQueueTimeout."""
        callback = _Callback(
            "timeout",
            parse_queue_timeout,
            self.completions.take_queue_timeout,
            queue_timeout_acknowledgement,
        )
        return await self._take(request, callback)

    async def wsdl(self, request: web.Request) -> web.Response:
        """Serve our own WSDL of the Result service, with this server's address in it."""
        if not self._admits(request):
            return self._denied(request)
        if "wsdl" not in {key.lower() for key in request.query}:
            raise web.HTTPMethodNotAllowed("GET", ["POST"])
        if _HOST.fullmatch(request.host) is None:
            raise web.HTTPBadRequest
        try:
            address = str(request.url.with_query(None))
        except ValueError:  # Such as a port that is no number.
            raise web.HTTPBadRequest from None
        return _xml(200, result_wsdl(address, self.ack_namespace))

    async def _take(self, request: web.Request, callback: _Callback[M]) -> web.Response:
        if not self._admits(request):
            return self._denied(request)
        kind, say = callback.kind, callback.say
        source = self.allow.group(request.remote, request.headers.get("X-Forwarded-For"))
        size = announced(request)
        try:
            with self.bodies.room(size, source):
                body = await self.bodies.read(request)
                size = len(body)
                with self.visitors.whole(request.protocol):
                    message = await self._parsed(callback.parse, body, source)
                    del body
                    async with asyncio.timeout(STORE_WITHIN_S), self.taking.turn(source):
                        await callback.take(message)
        except MessageTooLargeError as error:
            return self._refused(kind, 413, error, size)
        except UnreadableMessageError as error:
            return self._refused(kind, 400, error, size)
        except (StoreUnavailableError, TimeoutError):
            self.telemetry.emit(Signal.STORE_AWAY, doing=f"take a {kind}")
            return _xml(503, say(Acknowledgement.OVERLOAD))
        except CrowdedError:
            self._tell_refused(kind, 503, "Too many large bodies at a time.", size)
            return _xml(503, say(Acknowledgement.OVERLOAD))
        except StoreRefusedError as error:
            # Not even its incident could be written: a defect. It may be sent again.
            self._tell_refused(kind, 500, error.detail, size)
            return _xml(500, say(Acknowledgement.INTERNAL_ERROR))
        return _xml(200, say(Acknowledgement.SUCCESS))

    async def _parsed(self, parse: Callable[[bytes], M], body: bytes, source: str) -> M:
        """Return what a body says; large ones take turns, as they keep the loop from others."""
        if len(body) <= SMALL_BYTES:
            return parse(body)
        async with self.parsing.turn(source):
            return parse(body)

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


def _xml(status: int, body: bytes) -> web.Response:
    return web.Response(status=status, body=body, content_type=XML, charset="utf-8")
