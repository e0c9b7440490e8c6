"""The M-PESA gateway over HTTP: sends a request once and tells honestly what is known of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from datetime import datetime
from functools import partial
from types import TracebackType
from typing import Final, Self

import aiohttp
from yarl import URL

from payouts.domain.answers import (
    Answer,
    BrokerAnswer,
    NotSent,
    OutcomeUnknown,
    Response,
    UnknownCause,
)
from payouts.domain.errors import SettingsError, UnreadableMessageError
from payouts.domain.payout import Payout
from payouts.domain.values import AccountName, OriginatorConversationId
from payouts.mpesa.gate import GatedBody
from payouts.mpesa.outcomes import transport_outcome
from payouts.mpesa.queries import MAX_RECORD_BYTES, parse_broker_record
from payouts.mpesa.requests import Requests
from payouts.mpesa.responses import parse_response
from payouts.mpesa.settings import GatewayAccount, Timeouts, TlsOptions
from payouts.mpesa.soap import MAX_BODY_BYTES, SoapFaultError
from payouts.mpesa.tls import client_context

_OK: Final = 200
_FAULT_STATUS: Final = 500
_HEADERS: Final = {
    "Content-Type": "text/xml;charset=UTF-8",
    "SOAPAction": '""',
    "User-Agent": "mpesa-payouts",
}
# A TLS 1.3 server refuses our certificate only after the handshake has ended on our side.
_SETTLE_S: Final = 0.2


class SoapGateway:
    """Speaks to the gateway for several accounts over one pool of connections.

    A request leaves at most once: nothing is sent again, no redirect is followed, no proxy of
    the environment is used. `NotSent` is answered only when no byte of the request was written
    (or the TLS handshake itself was refused); whatever goes wrong later is `OutcomeUnknown`. If
    a call is cancelled, nobody knows what became of its request.

    Args:
        accounts: by the name that payouts carry.
        timeouts: how long to wait.
        tls: client certificate and authorities for https; None: the system's authorities.
        now: an aware UTC clock, for stamps.
        connection_limit: most connections at once; make it no smaller than the requests in
            flight, or some wait for a connection within their time.
        leave: waits for the slot in which the next request of an account leaves; False: there
            is none. Without it requests leave as soon as they can.

    Raises:
        SettingsError: a certificate cannot be used; nothing was connected yet.
    """

    def __init__(
        self,
        accounts: Mapping[AccountName, GatewayAccount],
        *,
        timeouts: Timeouts,
        tls: TlsOptions | None,
        now: Callable[[], datetime],
        connection_limit: int,
        leave: Callable[[AccountName], Awaitable[bool]] | None = None,
    ) -> None:
        self._accounts = dict(accounts)
        self._requests = {name: Requests(account) for name, account in accounts.items()}
        self._timeouts = timeouts
        self._tls = client_context(tls)
        self._now = now
        self._connection_limit = connection_limit
        self._leave = leave
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        """Open the pool; no connection is made yet."""
        keep_alive_s = self._timeouts.keep_alive_s
        if keep_alive_s > 0:
            connector = aiohttp.TCPConnector(
                limit=self._connection_limit, ssl=self._tls, keepalive_timeout=keep_alive_s
            )
        else:
            connector = aiohttp.TCPConnector(
                limit=self._connection_limit, ssl=self._tls, force_close=True
            )
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers=_HEADERS,
            # Compressed answers are not asked for and not unpacked, so that none can swell.
            auto_decompress=False,
            skip_auto_headers=("Accept-Encoding",),
            trust_env=False,
            timeout=aiohttp.ClientTimeout(
                total=self._timeouts.total_s, sock_connect=self._timeouts.connect_s
            ),
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close every connection."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def submit(self, payout: Payout, *, may_send: Callable[[], bool]) -> Answer:
        """Send the payment once, if `may_send` holds in the instant before its first byte.

        Raises:
            InvalidCommandError: a text of the payout cannot be written in XML; nothing was sent.
            SettingsError: its account is not configured; nothing was sent.
        """
        requests, account = self._account(payout.account)
        message = requests.payment(payout, self._now())
        body = self._gated(payout.account, message, may_send)
        return await self._ask(account.gateway_url, body, payout.originator_conversation_id)

    async def ask_core(
        self,
        payout: Payout,
        query_id: OriginatorConversationId,
        *,
        may_send: Callable[[], bool],
    ) -> Answer:
        """Send a TransactionStatusQuery; what it finds comes later, as a Result of `query_id`.

        Raises:
            SettingsError: its account is not configured; nothing was sent.
        """
        requests, account = self._account(payout.account)
        message = requests.status_query(payout, query_id, self._now())
        body = self._gated(payout.account, message, may_send)
        return await self._ask(account.gateway_url, body, query_id)

    async def ask_broker(self, payout: Payout) -> BrokerAnswer:
        """Look the payout up in the broker's log; it moves no money.

        Raises:
            SettingsError: its account is not configured, or has no query address.
        """
        requests, account = self._account(payout.account)
        if not account.query_url:
            raise SettingsError((f"account {account.name} has no query address",))
        body = self._gated(payout.account, requests.broker_query(payout, self._now()))
        read = await self._post(account.query_url, body, MAX_RECORD_BYTES)
        if not isinstance(read, bytes):
            return read
        try:
            return parse_broker_record(read, payout.originator_conversation_id)
        except UnreadableMessageError as error:
            return _unreadable(error)

    def can_ask_broker(self, account: AccountName) -> bool:
        """Tell whether the broker's log can be asked for this account."""
        return bool(self._account(account)[1].query_url)

    async def probe(self, account: AccountName) -> bool:
        """Tell whether the gateway can be connected to; nothing is sent beyond TLS."""
        url = URL(self._account(account)[1].gateway_url)
        secure = url.scheme == "https"
        try:
            async with asyncio.timeout(self._timeouts.connect_s):
                reader, writer = await asyncio.open_connection(
                    url.host, url.port, ssl=self._tls if secure else None
                )
        except OSError:
            return False
        try:
            return await _stays_open(reader) if secure else True
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    def _account(self, name: AccountName) -> tuple[Requests, GatewayAccount]:
        try:
            return self._requests[name], self._accounts[name]
        except KeyError:
            raise SettingsError((f"account {name} is not configured",)) from None

    def _gated(
        self, name: AccountName, message: bytes, may_send: Callable[[], bool] | None = None
    ) -> GatedBody:
        leave = self._leave
        return GatedBody(message, may_send, leave=None if leave is None else partial(leave, name))

    async def _ask(self, url: str, body: GatedBody, named: OriginatorConversationId) -> Answer:
        read = await self._post(url, body, MAX_BODY_BYTES)
        if not isinstance(read, bytes):
            return read
        try:
            response = parse_response(read)
        except UnreadableMessageError as error:
            return _unreadable(error)
        return _about(response, named)

    async def _post(
        self, url: str, body: GatedBody, limit: int
    ) -> bytes | NotSent | OutcomeUnknown:
        """Return the body of an answer with status 200, or what else became of the request.

        Another status is no answer of the interface, whatever its body says: 200 is documented
        for every refusal, and a 5xx may come from a proxy after the request went on (§1.1).
        """
        if self._session is None:
            raise RuntimeError("the gateway is used outside of its context")
        answered = False
        try:
            async with self._session.post(url, data=body, allow_redirects=False) as answer:
                answered = True
                read = await _read(answer, limit)
                status = answer.status
        except Exception as error:  # noqa: BLE001 - whatever it was, only the gate decides
            return transport_outcome(error, body.passage, answered=answered)
        finally:
            body.abandon()
        if status != _OK:
            return _other_status(status, read)
        if read is None:
            return OutcomeUnknown(
                cause=UnknownCause.UNREADABLE, description=f"More than {limit} bytes."
            )
        return read


async def _read(answer: aiohttp.ClientResponse, limit: int) -> bytes | None:
    """Return the whole body, or None where it is longer than `limit`; the rest is not read."""
    parts: list[bytes] = []
    size = 0
    async for part in answer.content.iter_any():
        size += len(part)
        if size > limit:
            answer.close()
            return None
        parts.append(part)
    return b"".join(parts)


async def _stays_open(reader: asyncio.StreamReader) -> bool:
    """Tell whether the peer keeps the connection, rather than refusing our certificate."""
    try:
        async with asyncio.timeout(_SETTLE_S):
            await reader.read(1)
    except TimeoutError:
        return True
    except OSError:
        return False
    return False


def _other_status(status: int, body: bytes | None) -> OutcomeUnknown:
    if status == _FAULT_STATUS and body:
        try:
            parse_response(body)
        except SoapFaultError as error:
            return _unreadable(error)
        except UnreadableMessageError:
            pass
    return OutcomeUnknown(cause=UnknownCause.HTTP_STATUS, description=f"HTTP {status}")


def _unreadable(error: UnreadableMessageError) -> OutcomeUnknown:
    if isinstance(error, SoapFaultError):
        return OutcomeUnknown(cause=UnknownCause.SOAP_FAULT, description=error.code)
    return OutcomeUnknown(cause=UnknownCause.UNREADABLE, description=error.detail)


def _about(response: Response, named: OriginatorConversationId) -> Answer:
    """Return the Response unless it names another request; a broker's refusal names none."""
    told = response.originator_conversation_id
    if told is not None and told != named:
        return OutcomeUnknown(
            cause=UnknownCause.OTHER_ID, description="The answer names another request."
        )
    return response
