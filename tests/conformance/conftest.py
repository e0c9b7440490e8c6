"""Each store, broker and gateway twice: its twin, and the real one."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor

import asyncpg
import pytest

from ops.local import LocalStack
from tests.conformance.stores import Bed, open_bed

BOTH = ["twin", pytest.param("real", marks=pytest.mark.servers)]
_EMPTY = """
    DO $$ DECLARE found record; BEGIN
        SET LOCAL session_replication_role = 'replica';
        FOR found IN SELECT tablename FROM pg_tables WHERE schemaname = 'public'
            AND tablename <> 'alembic_version'
        LOOP
            EXECUTE 'DELETE FROM ' || quote_ident(found.tablename);
        END LOOP;
    END $$
"""


@pytest.fixture(scope="session")
def one_database(stack: LocalStack, migrated: str) -> Iterator[str]:
    """Give the address of one migrated database for all of these tests, which are small."""
    name = f"conformance_{secrets.token_hex(4)}"
    with ThreadPoolExecutor(max_workers=1) as apart:
        yield apart.submit(
            lambda: asyncio.run(stack.fresh_database(name, template=migrated))
        ).result()
        apart.submit(lambda: asyncio.run(stack.postgresql.drop_database(name))).result()


@pytest.fixture(params=BOTH)
def books_url(request: pytest.FixtureRequest) -> str | None:
    """Give the address of a database without a row; None: the twin has none."""
    if request.param == "twin":
        return None
    url: str = request.getfixturevalue("one_database")
    with ThreadPoolExecutor(max_workers=1) as apart:
        apart.submit(lambda: asyncio.run(_emptied(url))).result()
    return url


async def _emptied(url: str) -> None:
    """Take every row out; no trigger guards what a test has left."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(_EMPTY)
    finally:
        await connection.close()


@pytest.fixture
async def bed(books_url: str | None) -> AsyncIterator[Bed]:
    """Give a store and a second one on the same books."""
    async with open_bed(books_url) as bed:
        yield bed


@pytest.fixture(params=BOTH)
def amqp_address(request: pytest.FixtureRequest) -> str | None:
    """Give the address of a virtual host of this test alone; None: the twin has none."""
    if request.param == "twin":
        return None
    url: str = request.getfixturevalue("amqp_url")
    return url


@pytest.fixture(scope="session")
def key_place(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Give the path where simulators keep one key, which takes long to make."""
    return str(tmp_path_factory.mktemp("simulator") / "certificate.pem")


@pytest.fixture(params=["twin", "real"])
def certificate(request: pytest.FixtureRequest, key_place: str) -> str | None:
    """Give the path of a simulator's key; None: the twin has none."""
    return None if request.param == "twin" else key_place
