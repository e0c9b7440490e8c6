"""Brings the database to the schema that this version needs, from wherever it is installed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from importlib.util import find_spec
from typing import Final, TypeVar

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncEngine

from payouts.domain.errors import SchemaError
from payouts.storage.engine import FAULTS, create_engine
from payouts.storage.faults import translate

OLDEST_SERVER: Final = 150000
STEP_WITHIN_S: Final = 4 * 3600.0  # An index over large books takes its time.
# The oldest revision whose programs may run on this schema, as its migration has said.
_SINCE: Final = text("""
SELECT substring(obj_description(to_regclass('alembic_version'), 'pg_class')
    FROM '^payouts since ([0-9]{4})$')
""")
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


def head() -> str:
    """Return the revision that this version needs."""
    return revisions()[0]


@lru_cache(maxsize=1)
def revisions() -> Sequence[str]:
    """Return the revisions that this version knows, the newest first."""
    scripts = ScriptDirectory.from_config(_config()).walk_revisions()
    known = tuple(script.revision for script in scripts)
    if not known:
        raise SchemaError("(this installation has no migrations)")
    return known


async def check_schema(engine: AsyncEngine) -> None:
    """Return if the database has a schema on which this version may run.

    It is the one that this version needs, or a newer one whose migration has said that the
    versions before it may run on: so what restarts during a rolling upgrade finds its way.

    Raises:
        SchemaError: it has another one, or none, or the server is too old.
        StoreUnavailableError: the database does not answer.
    """
    try:
        async with engine.connect() as connection:
            found = await connection.run_sync(_current)
            await connection.run_sync(_check_server)
            since = None if found is None else (await connection.execute(_SINCE)).scalar_one()
    except FAULTS as error:
        raise translate(error) from None
    known = await asyncio.to_thread(revisions)
    newer = found is not None and found not in known
    if found != known[0] and not (newer and since is not None and since <= known[0]):
        raise SchemaError(f"(it is at {found or 'nothing'}, needed is {known[0]})")


def _upgrade(connection: Connection, revision: str) -> None:
    _check_server(connection)
    connection.rollback()
    command.upgrade(_config(connection), revision)


def _check_server(connection: Connection) -> None:
    version = connection.execute(
        text("SELECT current_setting('server_version_num')::integer")
    ).scalar_one()
    if version < OLDEST_SERVER:
        raise SchemaError(f"(PostgreSQL 15 or newer is needed, this is {version // 10000})")


def _current(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _config(connection: Connection | None = None) -> Config:
    spec = find_spec("migrations")
    folders = list(spec.submodule_search_locations or ()) if spec else []
    if not folders:
        raise SchemaError("(this installation has no migrations)")
    config = Config()
    config.set_main_option("script_location", folders[0].replace("%", "%%"))
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
