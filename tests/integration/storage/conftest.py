"""One database for all tests of the storage, emptied for each: its tests are many and small."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack

import asyncpg
import pytest
from pace_bed import FREE, Ears, Open
from storage_bed import ACCOUNT, Bed, StandingClock, open_bed

from ops.local import LocalStack
from payouts.storage.engine import Database, create_engine
from payouts.storage.orders import PostgresOrders
from payouts.storage.pace import PostgresPace

_TABLES = (
    "archive_sums",
    "archive",
    "payouts",
    "timeline",
    "events",
    "queries",
    "incidents",
    "workers",
    "accounts",
    "paused_runs",
    "suspects",
    "audit",
)


@pytest.fixture(scope="session")
def storage_database(stack: LocalStack, migrated: str) -> Iterator[str]:
    """Give the address of a migrated database of these tests."""
    name = f"storage_{secrets.token_hex(4)}"
    with ThreadPoolExecutor(max_workers=1) as apart:
        yield apart.submit(
            lambda: asyncio.run(stack.fresh_database(name, template=migrated))
        ).result()
        apart.submit(lambda: asyncio.run(stack.postgresql.drop_database(name))).result()


@pytest.fixture
async def books_url(stack: LocalStack, storage_database: str) -> str:
    """Give the address of that database, without a row."""
    await asyncio.to_thread(stack.revive)
    connection = await asyncpg.connect(storage_database)
    try:
        await connection.execute("SET session_replication_role = 'replica'")  # No triggers.
        await connection.execute(";".join(f"DELETE FROM {table}" for table in _TABLES))  # noqa: S608
    finally:
        await connection.close()
    return storage_database


@pytest.fixture
async def bed(books_url: str) -> AsyncIterator[Bed]:
    """Give a store on an empty database."""
    async with open_bed(books_url) as bed:
        yield bed


@pytest.fixture
async def other(books_url: str) -> AsyncIterator[Bed]:
    """Give a second store on the same database, as another process would have."""
    async with open_bed(books_url) as bed:
        yield bed


@pytest.fixture
def orders(bed: Bed) -> PostgresOrders:
    """Give the orders on the bed's books."""
    return PostgresOrders(bed.store._context)


@pytest.fixture
def ears() -> Ears:
    """Give a telemetry that remembers."""
    return Ears()


@pytest.fixture
async def open_pace(books_url: str, ears: Ears) -> AsyncIterator[Open]:
    """Give a way to open paces, each as in a process of its own."""
    async with AsyncExitStack() as stack:

        async def open_one(rate: float) -> PostgresPace:
            database = Database(create_engine(books_url, pool_size=2))
            stack.push_async_callback(database.close)
            rates = {ACCOUNT: rate, FREE: 0.0}
            return await stack.enter_async_context(
                PostgresPace(database, StandingClock(), rates, ears)
            )

        yield open_one
