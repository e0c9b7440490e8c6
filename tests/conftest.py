"""Real servers for the tests that ask for them: one private pair a session, fresh space a test."""

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import settings

from ops.local import LocalStack

REUSED = "PAYOUTS_TEST_STACK"

settings.register_profile("untimed", deadline=None)  # A machine may be as slow as it is.
settings.load_profile("untimed")


@pytest.fixture(scope="session")
def stack() -> Iterator[LocalStack]:
    """Gives RabbitMQ and PostgreSQL, started when the first test asks.

    `eval "$(python -m ops.local up)"` names a pair that is up already and stays so; it cannot be
    killed by a test, so tests of faults start one of their own all the same.
    """
    kept = os.environ.get(REUSED)
    if kept:
        yield LocalStack.attach(kept)
        return
    stack = LocalStack("test")
    stack.start()
    yield stack
    stack.stop()


@pytest.fixture(scope="session")
def mortal_stack(request: pytest.FixtureRequest) -> Iterator[LocalStack]:
    """Gives servers that a test may kill: those of the session where they are its own."""
    if not os.environ.get(REUSED):
        yield request.getfixturevalue("stack")
        return
    stack = LocalStack("test")
    stack.start()
    yield stack
    stack.stop()


@pytest.fixture(scope="session")
def migrated(stack: LocalStack) -> Iterator[str]:
    """Gives the name of a database with our schema, of which each test gets a copy."""
    from payouts.storage.migrate import upgrade  # noqa: PLC0415 - Unit tests need no database.

    name = f"template_{secrets.token_hex(4)}"
    _apart(lambda: upgrade(asyncio.run(stack.fresh_database(name))))
    yield name
    _apart(lambda: asyncio.run(stack.postgresql.drop_database(name)))


@pytest.fixture
async def database_url(stack: LocalStack, migrated: str) -> AsyncIterator[str]:
    """Gives the address of a database of this test alone: migrated, empty."""
    await asyncio.to_thread(stack.revive)
    name = f"test_{secrets.token_hex(6)}"
    yield await stack.fresh_database(name, template=migrated)
    await asyncio.to_thread(stack.revive)
    await stack.postgresql.drop_database(name)


@pytest.fixture
async def empty_database_url(stack: LocalStack) -> AsyncIterator[str]:
    """Gives the address of a database of this test alone, without any schema."""
    await asyncio.to_thread(stack.revive)
    name = f"test_{secrets.token_hex(6)}"
    yield await stack.fresh_database(name)
    await asyncio.to_thread(stack.revive)
    await stack.postgresql.drop_database(name)


@pytest.fixture
async def amqp_url(stack: LocalStack) -> AsyncIterator[str]:
    """Gives the address of a virtual host of this test alone: empty."""
    await asyncio.to_thread(stack.revive)
    name = f"test-{secrets.token_hex(6)}"
    yield await stack.fresh_vhost(name)
    await asyncio.to_thread(stack.revive)
    await asyncio.to_thread(stack.rabbitmq.drop_vhost, name)


def _apart(step: Callable[[], None]) -> None:
    """Runs a step in a thread of its own, where no event loop of a test is under way."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        pool.submit(step).result()
