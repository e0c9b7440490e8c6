"""The sessions in which batches are written: few, and with plans that are made once.

A few statements are most of what the database does. Here they go to asyncpg as they are, past
SQLAlchemy's execution (docs/decisions/0012).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final

import asyncpg
import msgspec
from sqlalchemy import TextClause
from sqlalchemy.dialects.postgresql.asyncpg import dialect

from payouts.storage.engine import (
    BATCHES,
    COMMAND_TIMEOUT_S,
    CONNECT_TIMEOUT_S,
    Rows,
    Sessions,
    connecting,
)

_CLOSE_WITHIN_S: Final = 2.0
# A batch would be planned anew each time, though it has but one good plan: each row by its key.
# Left no other, a plan is as good however much a table has grown.
_ONE_PLAN: Final = {
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
}
_DIALECT: Final = dialect()  # type: ignore[no-untyped-call]


class BatchSessions(Sessions):
    """Runs the statements of batches; connects when the first one comes."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._pool: asyncpg.Pool | None = None
        self._opening = asyncio.Lock()

    async def close(self) -> None:
        """Close all connections, also when the caller is being cancelled."""
        if self._pool is not None:
            await asyncio.shield(_close(self._pool))

    async def _fetch(self, statement: TextClause, parameters: Mapping[str, object]) -> Rows:
        query, names = _written(statement)
        pool = await self._opened()
        async with pool.acquire(timeout=CONNECT_TIMEOUT_S) as connection:
            try:
                rows: Rows = await connection.fetch(query, *(parameters[name] for name in names))
            except (OSError, TimeoutError):
                self._leave(pool)
                raise
            return rows

    def _leave(self, pool: asyncpg.Pool) -> None:
        """Connect anew from now on; what is under way in the old pool ends with an error.

        PostgreSQL ends what takes too long before we do. Where even that is not heard of, the
        network has forgotten this connection, and those beside it: each would cost a time-out.
        """
        pool.terminate()
        if self._pool is pool:
            self._pool = None

    async def _opened(self) -> asyncpg.Pool:
        if self._pool is not None:
            return self._pool
        async with self._opening:
            if self._pool is None:
                self._pool = await asyncpg.create_pool(
                    min_size=0,  # Connects with the first batch.
                    max_size=BATCHES,
                    init=_read_json,
                    reset=_as_it_is,
                    **connecting(self._url, COMMAND_TIMEOUT_S, _ONE_PLAN),
                )
            return self._pool


async def _read_json(connection: asyncpg.Connection) -> None:
    """Have JSON come as objects, as SQLAlchemy's connections do."""
    await connection.set_type_codec(
        "jsonb", schema="pg_catalog", encoder=str, decoder=msgspec.json.decode
    )


async def _as_it_is(_: object) -> None:
    """Leave a session as it is: single statements, each its own transaction, change nothing."""


async def _close(pool: asyncpg.Pool) -> None:
    try:
        async with asyncio.timeout(_CLOSE_WITHIN_S):
            await pool.close()
    except TimeoutError:
        pool.terminate()


@lru_cache(maxsize=64)
def _written(statement: TextClause) -> tuple[str, Sequence[str]]:
    """Return the statement as asyncpg takes it, and the names of its parameters in order."""
    compiled = statement.compile(dialect=_DIALECT)
    return str(compiled), tuple(compiled.positiontup or ())
