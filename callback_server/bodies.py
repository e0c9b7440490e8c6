"""Reads bodies within bounds of size, time and memory, whoever sends how many."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from aiohttp import web
from aiohttp.http import HttpProcessingError

from payouts.domain.errors import MessageTooLargeError, PayoutsError, UnreadableMessageError

MAX_BODY_BYTES: Final = 256 * 1024
SMALL_BYTES: Final = 8 * 1024  # Real Results have 1 to 4 KiB.
LARGE_BYTES: Final = 32 * 1024 * 1024
LARGE_BYTES_EACH: Final = 8 * 1024 * 1024


class CrowdedError(PayoutsError):
    """Too many large bodies are being read at a time; send it again."""


class Bodies:
    """Reads bodies; all large ones together, and those of one source, take bounded memory.

    Args:
        within_s: how long one body may take.
    """

    def __init__(self, *, within_s: float) -> None:
        self._within_s = within_s
        self._held: Counter[str] = Counter()
        self._total = 0

    @contextmanager
    def room(self, size: int, source: str) -> Iterator[None]:
        """Hold memory for a body that may grow to `size`; small ones need none.

        Raises:
            CrowdedError: there is no room for it now.
        """
        if size <= SMALL_BYTES:
            yield
            return
        if self._total + size > LARGE_BYTES or self._held[source] + size > LARGE_BYTES_EACH:
            raise CrowdedError
        self._total += size
        self._held[source] += size
        try:
            yield
        finally:
            self._total -= size
            self._held[source] -= size
            if not self._held[source]:
                del self._held[source]

    async def read(self, request: web.Request) -> bytes:
        """Return the whole body.

        Raises:
            MessageTooLargeError: it is too large, as it says itself or as it turns out.
            UnreadableMessageError: it is compressed, broken off, or does not arrive in time.
        """
        if (request.content_length or 0) > MAX_BODY_BYTES:
            raise MessageTooLargeError
        if request.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise UnreadableMessageError("It is compressed.")
        try:
            if request.content.is_eof():  # It came with its head: nothing is waited for.
                return await request.read()
            async with asyncio.timeout(self._within_s):
                return await request.read()
        except web.HTTPRequestEntityTooLarge:
            raise MessageTooLargeError from None
        except TimeoutError:
            raise UnreadableMessageError("The body did not arrive in time.") from None
        except (OSError, HttpProcessingError, web.RequestPayloadError):
            raise UnreadableMessageError("The body broke off.") from None


def announced(request: web.Request) -> int:
    """Return how large a body may become, by what its head says."""
    length = request.content_length
    return MAX_BODY_BYTES if length is None and request.can_read_body else length or 0
