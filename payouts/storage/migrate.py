"""Brings the database to the schema that this version needs, from wherever it is installed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import Connection

from payouts.storage.engine import FAULTS, create_engine
from payouts.storage.faults import translate
from payouts.storage.schema import check_server, scripts

STEP_WITHIN_S: Final = 4 * 3600.0  # An index over large books takes its time.
R = TypeVar("R")


def upgrade(url: str, revision: str = "head") -> None:
    """Bring the schema to `revision`; does nothing where it is there already.

    Several may be started at once; they run one after the other, each in one transaction.

    Raises:
        StoreUnavailableError: the database does not answer; nothing was changed.
        SchemaError: the server is older than PostgreSQL 15.
    """
    _with_connection(url, lambda connection: _upgrade(connection, revision))


def downgrade(url: str, revision: str) -> None:
    """Take the schema back to `revision` (`base`: nothing is left), with the data in it."""
    _with_connection(url, lambda connection: command.downgrade(_config(connection), revision))


def current(url: str) -> str | None:
    """Return the revision that the database has; None for none."""
    return _with_connection(url, _current)


def _upgrade(connection: Connection, revision: str) -> None:
    check_server(connection)
    connection.rollback()
    command.upgrade(_config(connection), revision)


def _current(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(scripts()).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def _with_connection(url: str, step: Callable[[Connection], R]) -> R:
    """Run a step on a connection of its own, in a thread: Alembic is synchronous."""

    async def run() -> R:
        engine = create_engine(url, autocommit=False, command_timeout_s=STEP_WITHIN_S)
        try:
            async with engine.connect() as connection:
                return await connection.run_sync(step)
        finally:
            await engine.dispose()

    try:
        with ThreadPoolExecutor(max_workers=1) as pool:
            return pool.submit(asyncio.run, run()).result()
    except FAULTS as error:
        raise translate(error) from None
