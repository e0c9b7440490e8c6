"""The twin of the database: `PayoutStore`, `Outbox` and `Orders` in memory, with the SQL's guards.

    books = Books(watch)                         # the committed rows, shared by all processes
    store = TwinStore(books, far, faults, clock) # one session per process

Every call goes to the far side, commits in one step without an await, and comes back after
another delay: so others interleave before and after, and a caller that dies in between has
committed or not, by chance. `faults` decides what is lost on the way (StoreUnavailableError), what
is committed unheard, and what is committed late. `Books.without` takes guards out (guards.py).

What PostgreSQL does in two statements (a batch that looks for what it did not insert) is one step
here. Ids of progress events are as repeatable as the real ones, but not equal to them.
"""

from __future__ import annotations

from tests.simulation.twins.accounts import Accounts, Workers
from tests.simulation.twins.books import Books, Statement
from tests.simulation.twins.completing import Completing
from tests.simulation.twins.doubts import Doubts
from tests.simulation.twins.guards import GUARDS
from tests.simulation.twins.intake import Intake
from tests.simulation.twins.orders import Orders
from tests.simulation.twins.outbox import Outbox
from tests.simulation.twins.session import Settings
from tests.simulation.twins.sweeps import Sweeps
from tests.simulation.twins.tables import Tables
from tests.simulation.twins.transitions import Transitions

__all__ = ["GUARDS", "Books", "Settings", "Statement", "Tables", "TwinStore"]


class TwinStore(
    Orders,
    Intake,
    Transitions,
    Completing,
    Sweeps,
    Doubts,
    Workers,
    Accounts,
    Outbox,
):
    """One process's session with the twin's database."""
