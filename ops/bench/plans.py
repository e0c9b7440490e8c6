"""What the product's own calls ask of the database, and how that is answered.

A call is made up to its first write, which is kept from the server; each of its statements is
then explained and carried out in a transaction that is rolled back. So every figure is of the
statement that the product sends, with the parameters that it sends.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import event, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

Call = Callable[[], Awaitable[object]]

_READS: Final = ("SELECT", "(SELECT", "BEGIN", "SHOW")
_ROWS_READ: Final = text("""
SELECT coalesce(sum(seq_tup_read + coalesce(idx_tup_fetch, 0)), 0)::bigint
FROM pg_stat_xact_user_tables
""")


class _KeptBackError(Exception):
    """A write that was only to be seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A statement as it goes to the driver, with its parameters."""

    statement: str
    parameters: tuple[Any, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How statements were answered: by which indexes, which tables whole, how many rows read."""

    indexes: frozenset[str]
    whole: frozenset[str]
    rows: int


async def plan_of(engine: AsyncEngine, call: Call) -> Plan:
    """Return how all statements of a call are answered; nothing of it stays.

    Args:
        engine: the one that the call uses.
        call: to be made up to its first write.
    """
    asked = await _asked_by(engine, call)
    indexes: set[str] = set()
    whole: set[str] = set()
    rows = 0
    for one in asked:
        async with _rolled_back(engine) as connection:
            # The server counts on until it reports, now and then: only the difference is ours.
            rows -= (await connection.execute(_ROWS_READ)).scalar_one()
            told = await connection.exec_driver_sql(
                f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {one.statement}", one.parameters
            )
            found = told.scalar_one()
            rows += (await connection.execute(_ROWS_READ)).scalar_one()
        _walk((json.loads(found) if isinstance(found, str) else found)[0]["Plan"], indexes, whole)
    return Plan(indexes=frozenset(indexes), whole=frozenset(whole), rows=rows)


async def _asked_by(engine: AsyncEngine, call: Call) -> list[Asked]:
    asked: list[Asked] = []
    with _watching(engine, asked):
        try:
            await call()
        except _KeptBackError:
            return asked
    return asked


@contextmanager
def _watching(engine: AsyncEngine, asked: list[Asked]) -> Iterator[None]:
    def look(*of: Any) -> None:
        _, _, statement, parameters, _, _ = of
        asked.append(Asked(statement=statement.strip(), parameters=tuple(parameters)))
        if not asked[-1].statement.startswith(_READS):
            raise _KeptBackError

    event.listen(engine.sync_engine, "before_cursor_execute", look)
    try:
        yield
    finally:
        event.remove(engine.sync_engine, "before_cursor_execute", look)


@asynccontextmanager
async def _rolled_back(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    async with engine.connect() as connection:
        await connection.execution_options(isolation_level="READ COMMITTED")
        transaction = await connection.begin()
        try:
            yield connection
        finally:
            await transaction.rollback()


def _walk(node: Mapping[str, Any], indexes: set[str], whole: set[str]) -> None:
    if "Index Name" in node:
        indexes.add(node["Index Name"])
    if node["Node Type"] == "Seq Scan":
        whole.add(node["Relation Name"])
    for below in node.get("Plans", ()):
        _walk(below, indexes, whole)
