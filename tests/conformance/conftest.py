"""Each store, broker and gateway twice: its twin, and the real one."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.conformance.stores import Bed, open_bed

BOTH = ["twin", pytest.param("real", marks=pytest.mark.servers)]


@pytest.fixture(params=BOTH)
def books_url(request: pytest.FixtureRequest) -> str | None:
    """Give the address of an empty database; None: the twin has none."""
    if request.param == "twin":
        return None
    url: str = request.getfixturevalue("database_url")
    return url


@pytest.fixture
async def bed(books_url: str | None) -> AsyncIterator[Bed]:
    """Give a store and a second one on the same books."""
    async with open_bed(books_url) as bed:
        yield bed
