"""What an error of the driver means: try again, or the program asked for what is refused.

Nothing of the driver's text is repeated but the name of what refused: its details quote rows,
and rows hold personal data.
"""

from __future__ import annotations

import asyncpg

from payouts.domain.errors import (
    PayoutsError,
    SchemaError,
    StoreRefusedError,
    StoreUnavailableError,
)

DEADLOCK = "40P01"
SERIALIZATION = "40001"

# Data, integrity, syntax and rights, limits such as an index entry's size, RAISE.
_REFUSALS = frozenset({"22", "23", "42", "54", "P0"})
_NO_SCHEMA = frozenset({"42P01", "42703", "42704", "42883"})


def sqlstate_of(error: BaseException) -> str | None:
    """Return PostgreSQL's five characters, if the server said any."""
    driver = _driver_error(error)
    return driver.sqlstate if isinstance(driver, asyncpg.PostgresError) else None


def translate(error: BaseException) -> PayoutsError:
    """Return the error of our tree for one of the driver, SQLAlchemy or the network."""
    driver = _driver_error(error)
    if isinstance(driver, asyncpg.PostgresError):
        return _of_server(driver)
    return StoreUnavailableError(f"({type(driver).__name__})")


def _of_server(error: asyncpg.PostgresError) -> PayoutsError:
    state = error.sqlstate or ""
    name = getattr(error, "constraint_name", None) or type(error).__name__
    if state in _NO_SCHEMA:
        return SchemaError(f"({state})")
    if state[:2] in _REFUSALS:
        return StoreRefusedError(f"({name}, {state})")
    return StoreUnavailableError(f"({name}, {state})")


def _driver_error(error: BaseException) -> BaseException:
    """Return what asyncpg raised, below the two wrappings of SQLAlchemy."""
    below: BaseException | None = error
    for _ in range(4):
        if below is None or isinstance(below, asyncpg.PostgresError | asyncpg.InterfaceError):
            break
        below = getattr(below, "orig", None) or below.__cause__
    return error if below is None else below
