"""Which schema the database has, and which this version needs.

Every program asks at its start, so this does without Alembic, which is slow to import.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncEngine

from payouts.domain.errors import SchemaError
from payouts.storage.engine import FAULTS
from payouts.storage.faults import translate

OLDEST_SERVER: Final = 150000
# The oldest revision whose programs may run on this schema, as its migration has said.
_SINCE: Final = text("""
SELECT to_regclass('alembic_version') IS NOT NULL, substring(
    obj_description(to_regclass('alembic_version'), 'pg_class') FROM '^payouts since ([0-9]{4})$')
""")
_FOUND: Final = text("SELECT version_num FROM alembic_version")


def head() -> str:
    """Return the revision that this version needs."""
    return revisions()[0]


@lru_cache(maxsize=1)
def revisions() -> Sequence[str]:
    """Return the revisions that this version knows, the newest first.

    A migration's file begins with its revision, and these count up; a test compares with Alembic.
    """
    names = (path.name for path in (scripts() / "versions").glob("[0-9]*_*.py"))
    known = tuple(sorted((name.partition("_")[0] for name in names), reverse=True))
    if not known:
        raise SchemaError("(this installation has no migrations)")
    return known


def scripts() -> Path:
    """Return the folder of the migrations, from wherever they are installed."""
    spec = find_spec("migrations")
    folders = list(spec.submodule_search_locations or ()) if spec else []
    if not folders:
        raise SchemaError("(this installation has no migrations)")
    return Path(folders[0])


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
            await connection.run_sync(check_server)
            begun, since = (await connection.execute(_SINCE)).one()
            found = (await connection.execute(_FOUND)).scalar() if begun else None
    except FAULTS as error:
        raise translate(error) from None
    known = await asyncio.to_thread(revisions)
    newer = found is not None and found not in known
    if found != known[0] and not (newer and since is not None and since <= known[0]):
        raise SchemaError(f"(it is at {found or 'nothing'}, needed is {known[0]})")


def check_server(connection: Connection) -> None:
    """Raise SchemaError where the server is too old."""
    version = connection.execute(
        text("SELECT current_setting('server_version_num')::integer")
    ).scalar_one()
    if version < OLDEST_SERVER:
        raise SchemaError(f"(PostgreSQL 15 or newer is needed, this is {version // 10000})")
