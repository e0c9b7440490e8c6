"""Runs the migrations on the connection that `payouts.storage.migrate` hands over.

Developers who call `alembic` itself give the address: `alembic -x url=postgresql://… upgrade head`.
"""

from __future__ import annotations

import asyncio

from alembic import context
from sqlalchemy import Connection, text

from payouts.storage.engine import create_engine
from payouts.storage.tables import METADATA

_LOCK = text("SELECT pg_advisory_xact_lock(7216, 1)")  # One migration at a time.


def _migrate(connection: Connection) -> None:
    with connection.begin():
        connection.execute(_LOCK)
        context.configure(connection=connection, target_metadata=METADATA, transactional_ddl=True)
        context.run_migrations()


async def _migrate_at(url: str) -> None:
    engine = create_engine(url, autocommit=False)
    try:
        async with engine.connect() as connection:
            await connection.run_sync(_migrate)
    finally:
        await engine.dispose()


def _run() -> None:
    connection = context.config.attributes.get("connection")
    if isinstance(connection, Connection):
        _migrate(connection)
        return
    asyncio.run(_migrate_at(context.get_x_argument(as_dictionary=True)["url"]))


_run()
