"""A declared topology on a virtual host of each test's own."""

from collections.abc import AsyncIterator

import pytest
from messaging_bed import Bed


@pytest.fixture
async def bed(amqp_url: str) -> AsyncIterator[Bed]:
    """Give a connection, a topology and publishers."""
    async with Bed(amqp_url) as bed:
        yield bed
