"""The books as a statement's comparison reads them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from pydantic import SecretStr

from payouts.storage.engine import Database, create_engine
from payouts.storage.schema import check_schema
from payouts.storage.statements import StatementReader

_READ_WITHIN_S: Final = 600.0  # Large books take their time to be scanned.
_POOL: Final = 2


@asynccontextmanager
async def open_statements(url: SecretStr) -> AsyncIterator[StatementReader]:
    """Give the reader, once the schema is the one that this version needs.

    Raises:
        StoreUnavailableError: the database does not answer.
        SchemaError: `payouts db upgrade` is due.
    """
    engine = create_engine(
        url.get_secret_value(), pool_size=_POOL, command_timeout_s=_READ_WITHIN_S
    )
    database = Database(engine)
    try:
        await check_schema(engine)
        yield StatementReader(engine)
    finally:
        await database.close()
