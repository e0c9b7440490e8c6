"""The command line on real servers: fresh books and a fresh broker for each test."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from cli_bed import Worker, working


@pytest.fixture
def environ(database_url: str) -> dict[str, str]:
    """Gives the settings of commands that look at the database."""
    return {"PAYOUTS_DATABASE_URL": database_url}


@pytest.fixture
def sending(database_url: str, amqp_url: str, tmp_path: Path) -> dict[str, str]:
    """Gives the settings of `payouts send`."""
    return {
        "PAYOUTS_DATABASE_URL": database_url,
        "PAYOUTS_AMQP_URL": amqp_url,
        "PAYOUTS_SHORTCODE": "600000",
        "PAYOUTS_SEND_STATE": str(tmp_path / "state"),
    }


@pytest.fixture
async def worker(database_url: str) -> AsyncIterator[Worker]:
    """Gives who writes payouts into the books."""
    async with working(database_url) as worker:
        yield worker
