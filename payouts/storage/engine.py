"""The connection pool, and the one way in which statements are run and their errors told.

Every write is one statement, and connections are in autocommit: a commit is one round trip.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from types import MappingProxyType
from typing import Any, Final

import asyncpg
from sqlalchemy import TextClause
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from payouts.storage.faults import DEADLOCK, SERIALIZATION, sqlstate_of, translate

CONNECT_TIMEOUT_S: Final = 5.0
COMMAND_TIMEOUT_S: Final = 15.0
POOL_SIZE: Final = 4
POOL_OVERFLOW: Final = 3
BATCHES: Final = 5  # One for each kind of batch; none opens two at a time.
CONNECTIONS: Final = POOL_SIZE + POOL_OVERFLOW + BATCHES
_TRIES: Final = 5
_SESSION: Final = {
    "application_name": "payouts",
    "timezone": "UTC",
    "synchronous_commit": "on",
    "lock_timeout": "8000",
    "jit": "off",
    # A generic plan made while a table was empty would stay after it has grown.
    "plan_cache_mode": "force_custom_plan",
    # Batches look rows up by unique keys; a disk where that is dear is not what this is run on.
    "random_page_cost": "1.1",
}
FAULTS: Final = (
    SQLAlchemyError,
    OSError,
    TimeoutError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
)
Rows = Sequence[tuple[Any, ...]]


def create_engine(
    url: str,
    *,
    autocommit: bool = True,
    pool_size: int = POOL_SIZE,
    command_timeout_s: float = COMMAND_TIMEOUT_S,
) -> AsyncEngine:
    """Return an engine for a `postgresql://` address; nothing connects yet.

    The address is read by asyncpg as libpq would read it (`sslmode`, several hosts, a socket's
    folder); `command_timeout_s` bounds each statement. Through PgBouncer in transaction mode:
    docs/decisions/0012.
    """

    async def connect() -> asyncpg.Connection:
        return await asyncpg.connect(**connecting(url, command_timeout_s))

    return create_async_engine(
        "postgresql+asyncpg://",
        async_creator=connect,
        pool_size=pool_size,
        max_overflow=POOL_OVERFLOW,
        pool_timeout=CONNECT_TIMEOUT_S,
        pool_use_lifo=True,
        hide_parameters=True,
        isolation_level="AUTOCOMMIT" if autocommit else "READ COMMITTED",
    )


def connecting(
    url: str, command_timeout_s: float, settings: Mapping[str, str] = MappingProxyType({})
) -> dict[str, Any]:
    """Return how asyncpg connects: as all sessions do, and with these settings besides."""
    # The server gives up before the client does, so that an outcome is rarely unknown.
    server_settings = {
        **_SESSION,
        "statement_timeout": str(int(command_timeout_s * 800)),
        **settings,
    }
    return {
        "dsn": _plain(url),
        "timeout": CONNECT_TIMEOUT_S,
        "command_timeout": command_timeout_s,
        "server_settings": server_settings,
    }


def _plain(url: str) -> str:
    scheme, separator, rest = url.partition("://")
    return f"{scheme.partition('+')[0]}{separator}{rest}"


class Sessions(ABC):
    """Runs single statements; every failure comes out as an error of our own tree."""

    async def fetch(self, statement: TextClause, parameters: Mapping[str, object]) -> Rows:
        """Run one statement in a transaction of its own and return its rows, committed.

        Two processes that wait for each other's rows are told so by PostgreSQL and try again.

        Raises:
            StoreUnavailableError: the database is away, or the outcome is not known.
            StoreRefusedError: a constraint or a trigger refused it; nothing was changed.
        """
        tries = 1
        while True:
            try:
                return await self._fetch(statement, parameters)
            except FAULTS as error:
                if tries == _TRIES or sqlstate_of(error) not in {DEADLOCK, SERIALIZATION}:
                    raise translate(error) from None
                tries += 1

    @abstractmethod
    async def _fetch(self, statement: TextClause, parameters: Mapping[str, object]) -> Rows: ...


class Database(Sessions):
    """Runs statements of every kind on the connections of an engine."""

    def __init__(self, engine: AsyncEngine) -> None:
        self.engine = engine

    async def _fetch(self, statement: TextClause, parameters: Mapping[str, object]) -> Rows:
        async with self.engine.connect() as connection:
            try:
                result = await connection.execute(statement, parameters)
            except (OSError, TimeoutError):
                await connection.invalidate()
                raise
            return result.all()

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[AsyncConnection]:
        """Give a connection whose statements all see the books at one instant, read only."""
        try:
            async with self.engine.connect() as connection:
                await connection.execution_options(
                    isolation_level="REPEATABLE READ", postgresql_readonly=True
                )
                yield connection
        except FAULTS as error:
            raise translate(error) from None

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """Give a connection whose statements are one commit, made on leaving without an error.

        Raises:
            StoreUnavailableError: the database is away, or the outcome is not known.
            StoreRefusedError: a constraint or a trigger refused it; nothing was changed.
        """
        try:
            async with self.engine.connect() as connection:
                await connection.execution_options(isolation_level="READ COMMITTED")
                async with connection.begin():
                    yield connection
        except FAULTS as error:
            raise translate(error) from None

    async def close(self) -> None:
        """Close all connections, also when the caller is being cancelled."""
        await asyncio.shield(self.engine.dispose())
