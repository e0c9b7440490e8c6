"""A network that forgets connections costs one time-out, not one for each of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from urllib.parse import urlsplit

import pytest
from sqlalchemy import text

from payouts.domain.errors import StoreUnavailableError
from payouts.storage import batch_sessions
from payouts.storage.batch_sessions import BatchSessions
from payouts.storage.engine import Database, Sessions, create_engine
from tests.faults.proxy import Proxy

pytestmark = pytest.mark.timeout(60)

TIMEOUT_S = 1.0
WIDTH = 3
SLOW = text("SELECT pg_sleep(0.2)::text")
QUICK = text("SELECT 'here'")


@asynccontextmanager
async def statements(url: str) -> AsyncIterator[Sessions]:
    database = Database(create_engine(url, command_timeout_s=TIMEOUT_S))
    try:
        yield database
    finally:
        await database.close()


@asynccontextmanager
async def batches(url: str) -> AsyncIterator[Sessions]:
    sessions = BatchSessions(url)
    try:
        yield sessions
    finally:
        await sessions.close()


@pytest.mark.parametrize("opened", [statements, batches])
async def test_all_connections_are_left_where_one_has_been_forgotten(
    opened: Callable[[str], AbstractAsyncContextManager[Sessions]],
    storage_database: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The second statement is answered, though all connections were open and none is any more.

    Proved for batches by leaving the other connections in their pool: the second statement runs
    into the next forgotten one. SQLAlchemy leaves its pool by itself.
    """
    monkeypatch.setattr(batch_sessions, "COMMAND_TIMEOUT_S", TIMEOUT_S)
    server = urlsplit(storage_database)
    async with (
        Proxy(server.hostname or "", server.port or 0) as proxy,
        opened(proxy.address(storage_database)) as sessions,
    ):
        await asyncio.gather(*(sessions.fetch(SLOW, {}) for _ in range(WIDTH)))
        assert proxy.connections >= WIDTH
        proxy.forget()

        with pytest.raises(StoreUnavailableError):
            await sessions.fetch(QUICK, {})

        assert await sessions.fetch(QUICK, {}) == [("here",)]
