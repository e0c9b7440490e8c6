"""`payouts db`: the schema of the database."""

from __future__ import annotations

import os

from ops.cli.exits import Exit
from ops.cli.screen import Screen
from payouts.settings import DatabaseSettings


def upgrade() -> Exit:
    """Bring the database to the schema that this version needs; safe to repeat.

    Run it before the workers of a new version start. Those of the version before go on working.
    """
    from payouts.storage import migrate  # noqa: PLC0415 - Alembic is slow to import

    url = DatabaseSettings.load(os.environ).database_url.get_secret_value()
    before = migrate.current(url)
    migrate.upgrade(url)
    after = migrate.current(url)
    screen = Screen()
    if before == after:
        screen.say(f"The schema is at {after} already; nothing was changed.")
    else:
        screen.say(f"The schema was at {before or 'nothing'} and is at {after} now.")
    return Exit.DONE


def current(*, json: bool = False) -> Exit:
    """Print the schema's revision; exit 1 unless it is the one that this version needs.

    Args:
        json: Write one JSON object.
    """
    from payouts.storage import migrate, schema  # noqa: PLC0415 - Alembic is slow to import

    url = DatabaseSettings.load(os.environ).database_url.get_secret_value()
    found, needed = migrate.current(url), schema.head()
    screen = Screen()
    if json:
        screen.json({"revision": found, "needed": needed, "current": found == needed})
    else:
        screen.line(found or "none")
    if found != needed:
        screen.say(f"This version needs {needed}; run `payouts db upgrade`.")
    return Exit.DONE if found == needed else Exit.FAILED
