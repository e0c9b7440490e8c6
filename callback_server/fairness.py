"""Turns for what is scarce: within a source by arrival, between sources in rotation."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict, deque
from contextlib import AbstractAsyncContextManager
from typing import Generic, TypeVar

T = TypeVar("T")


class Rotation(Generic[T]):
    """Holds what waits: however much waits of one source, the next of another is second in line."""

    def __init__(self) -> None:
        self._lines: OrderedDict[str, deque[T]] = OrderedDict()

    def __bool__(self) -> bool:
        """Tell whether anything waits."""
        return bool(self._lines)

    def push(self, source: str, item: T) -> None:
        """Put something behind the others of its source."""
        self._lines.setdefault(source, deque()).append(item)

    def pop(self) -> T:
        """Return the next of the next source, which then is behind all others."""
        source, line = self._lines.popitem(last=False)
        item = line.popleft()
        if line:
            self._lines[source] = line
        return item


class FairShare:
    """Lets `limit` of those who wait go on at a time, source by source.

    Args:
        limit: how many may work at a time.
        rest: for how many times its own time a turn keeps others waiting after its end; for
            work that keeps the event loop from everything else.
    """

    def __init__(self, limit: int, *, rest: float = 0.0) -> None:
        self._free = limit
        self._rest = rest
        self._waiting: Rotation[asyncio.Future[None]] = Rotation()

    def turn(self, source: str) -> AbstractAsyncContextManager[None]:
        """Hold one turn of this source."""
        return _Turn(self, source)

    async def begin(self, source: str) -> None:
        """Return once it is this source's turn; to be followed by `end`."""
        if self._free and not self._waiting:
            self._free -= 1
        else:
            await self._wait(source)

    def end(self, began: float) -> None:
        """Pass on a turn that began then, at once or after its rest."""
        if self._rest:
            rest_s = self._rest * (time.monotonic() - began)
            asyncio.get_running_loop().call_later(rest_s, self._pass_on)
        else:
            self._pass_on()

    async def _wait(self, source: str) -> None:
        called = asyncio.get_running_loop().create_future()
        self._waiting.push(source, called)
        try:
            await called
        except asyncio.CancelledError:
            if called.done() and not called.cancelled():
                self._pass_on()  # It was called and went away in the same moment.
            raise

    def _pass_on(self) -> None:
        """Give a turn to the next one, or keep it free."""
        while self._waiting:
            called = self._waiting.pop()
            if not called.done():
                called.set_result(None)
                return
        self._free += 1


class _Turn(AbstractAsyncContextManager[None]):
    """One turn; written out, as each Result takes one."""

    __slots__ = ("_began", "_share", "_source")

    def __init__(self, share: FairShare, source: str) -> None:
        self._share = share
        self._source = source
        self._began = 0.0

    async def __aenter__(self) -> None:
        await self._share.begin(self._source)
        self._began = time.monotonic()

    async def __aexit__(self, *_: object) -> None:
        self._share.end(self._began)
