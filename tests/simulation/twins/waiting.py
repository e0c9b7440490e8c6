"""Waiting by true time, which the far side keeps."""

from __future__ import annotations

import asyncio

from tests.simulation.seams import Far


async def rest(far: Far, seconds: float) -> None:
    """Return after so long; whoever calls may have died or been frozen meanwhile."""
    over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def end() -> None:
        if not over.done():
            over.set_result(None)

    far.after(seconds, end)
    await over
