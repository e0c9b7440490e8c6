"""What became of a request, told from how its transport ended. The heart of paying once."""

from __future__ import annotations

import asyncio
import errno
import ssl
from typing import assert_never

import aiohttp

from payouts.domain.answers import NotSent, NotSentCause, OutcomeUnknown, UnknownCause
from payouts.mpesa.gate import Passage
from payouts.mpesa.tls import is_refused_handshake

_TLS_ERRORS = (
    aiohttp.ClientSSLError,
    aiohttp.ServerFingerprintMismatch,
    ssl.SSLError,
    ssl.CertificateError,
)


def transport_outcome(
    error: Exception, passage: Passage, *, answered: bool
) -> NotSent | OutcomeUnknown:
    """Return what an error in sending or reading proves; in the end only `passage` decides.

    Args:
        error: what aiohttp raised.
        passage: how far the request had come. Not opened: no byte was written, for certain.
        answered: whether the head of an answer had been read.
    """
    words = _words(error)
    match passage:
        case Passage.FENCED:
            return NotSent(
                cause=NotSentCause.FENCED, description="This worker may not send any more."
            )
        case Passage.CLOSED:
            cause = NotSentCause.TLS if _is_of_handshake(error) else NotSentCause.CONNECT
            return NotSent(cause=cause, description=words)
        case Passage.OPENED:
            if not answered and is_refused_handshake(error):
                return NotSent(cause=NotSentCause.TLS, description=words)
            return OutcomeUnknown(cause=_unknown_cause(error), description=words)
        case _ as never:
            assert_never(never)


def _is_of_handshake(error: Exception) -> bool:
    """Tell whether a connection came about, but not TLS over it."""
    if isinstance(error, _TLS_ERRORS):
        return True
    if isinstance(error, aiohttp.ClientConnectorError):
        # TCP that does not connect is refused or times out; only what comes next is reset.
        return isinstance(
            error.os_error, ssl.SSLError | ConnectionResetError | ConnectionAbortedError
        )
    return False


def _unknown_cause(error: Exception) -> UnknownCause:
    if isinstance(error, asyncio.TimeoutError):
        return UnknownCause.TIMEOUT
    if isinstance(error, aiohttp.ClientResponseError | aiohttp.InvalidURL):
        return UnknownCause.UNREADABLE
    return UnknownCause.CONNECTION_LOST


def _words(error: Exception) -> str:
    """Return the error's kind without its text, which may repeat addresses or content."""
    number = getattr(error, "errno", None)
    name = errno.errorcode.get(number) if isinstance(number, int) else None
    kind = type(error).__name__
    return f"{kind} ({name})" if name else kind
