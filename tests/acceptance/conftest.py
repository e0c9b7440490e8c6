"""One running product per test module; tests keep to their own payout ids."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from ops.local import LocalStack
from tests.acceptance.world import World, running_world


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def world(
    stack: LocalStack, migrated: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[World]:
    """Gives a worker, a callback server, the simulator and a listening downstream."""
    folder: Path = tmp_path_factory.mktemp("world")
    name = f"world_{secrets.token_hex(6)}"
    database_url = await stack.fresh_database(name, template=migrated)
    amqp_url = await stack.fresh_vhost(f"world-{secrets.token_hex(6)}")
    async with running_world(amqp_url, database_url, folder) as world:
        await asyncio.gather(world.start_callback_server(), world.start_worker())
        await world.listen()
        yield world
