"""Turns for work that is scarce: in the order of arrival within a source, in rotation between."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class FairShare:
    """Lets `limit` of those who wait go on at a time, source by source.

    However many wait from one source, the next one of another source is second in line.

    Args:
        limit: how many may work at a time.
        rest: whether a turn ends only when the event loop has looked at everything else once;
            for work that keeps the loop from its other tasks.
    """

    def __init__(self, limit: int, *, rest: bool = False) -> None:
        self._free = limit
        self._rest = rest
        self._lines: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()

    @asynccontextmanager
    async def turn(self, source: str) -> AsyncIterator[None]:
        """Hold one turn of this source."""
        if self._free and not self._lines:
            self._free -= 1
        else:
            await self._wait(source)
        try:
            yield
        finally:
            if self._rest:
                asyncio.get_running_loop().call_soon(self._pass_on)
            else:
                self._pass_on()

    async def _wait(self, source: str) -> None:
        called = asyncio.get_running_loop().create_future()
        line = self._lines.setdefault(source, deque())
        line.append(called)
        try:
            await called
        except asyncio.CancelledError:
            if called.done() and not called.cancelled():
                self._pass_on()  # It was called and went away in the same moment.
            raise

    def _pass_on(self) -> None:
        """Give a turn to the first of the next source, or keep it free."""
        while self._lines:
            source, line = self._lines.popitem(last=False)
            called = line.popleft()
            if line:
                self._lines[source] = line  # Behind all other sources.
            if not called.done():
                called.set_result(None)
                return
        self._free += 1
