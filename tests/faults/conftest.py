"""One place for all rounds of a run of tests: servers that may die, simulator, fork server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest_asyncio

from ops.local import LocalStack
from tests.faults.arena import Arena, arena


@pytest_asyncio.fixture(loop_scope="session", scope="session")
async def places(mortal_stack: LocalStack) -> AsyncIterator[Arena]:
    """Gives what all rounds of the session share."""
    await asyncio.to_thread(mortal_stack.revive)
    async with arena(stack=mortal_stack) as made:
        yield made


@pytest_asyncio.fixture(loop_scope="session")
async def place(places: Arena) -> Arena:
    """Gives where a round can be held: its servers are up."""
    await asyncio.to_thread(places.stack.revive)
    return places
