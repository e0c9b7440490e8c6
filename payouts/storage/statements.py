"""What a statement is compared with: payouts by what its lines name, and by time. Reads only.

Neither needs an index of its own: receipts of a whole batch are found by one scan of the table
(100,000 lines against 1,000,000 payouts: 2 to 3 s), and the window by another. What has been
archived since is compared as well.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncEngine

from payouts.domain.payout import State
from payouts.domain.values import AccountName, PayoutId
from payouts.storage.engine import Database
from payouts.storage.rows import is_open
from payouts.storage.steps import unnested

_PAGE: Final = 1000
_FACTS: Final = (
    "id, payout_id, account, state, amount_minor, currency, msisdn, transaction_id, submitted_at,"
    " completed_at, reason_code, reason_class"
)
_RETRIED_AS: Final = """(
    SELECT r.payout_id FROM payouts r WHERE r.retry_of = p.payout_id
    UNION ALL SELECT r.payout_id FROM archive r WHERE r.retry_of = p.payout_id
)"""
_COLUMNS: Final = ", ".join(f"p.{name}" for name in _FACTS.split(", ")) + f", {_RETRIED_AS}"
_MORE: Final = f"{_FACTS}, originator_conversation_id, conversation_id, created_at"
_ALL: Final = f"(SELECT {_MORE} FROM payouts UNION ALL SELECT {_MORE} FROM archive) p"  # noqa: S608
_KEYS: Final = unnested({"ordinal": "integer", "key": "text"})
_BY_OWN_ID: Final = text(f"""
SELECT g.ordinal, {_COLUMNS} FROM {_KEYS} JOIN {_ALL} ON p.originator_conversation_id = g.key
""")  # noqa: S608
_BY_CONVERSATION_ID: Final = text(f"""
SELECT g.ordinal, {_COLUMNS} FROM {_KEYS} JOIN {_ALL} ON p.conversation_id = g.key
""")  # noqa: S608
_BY_RECEIPT: Final = text(f"""
SELECT g.ordinal, {_COLUMNS} FROM {_KEYS} JOIN {_ALL} ON p.transaction_id = g.key ORDER BY p.id
""")  # noqa: S608
# A payout was paid between its first send and its end: the two tell whether it lies within.
_SUCCEEDED: Final = f"""
SELECT {_COLUMNS} FROM {_ALL}
WHERE p.state = 'succeeded' AND p.created_at <= :until AND p.submitted_at <= :until
    AND p.completed_at >= :since AND p.account = :account
"""  # noqa: S608
_OPEN: Final = f"""
SELECT {_COLUMNS} FROM payouts p
WHERE {is_open("p")} AND p.submitted_at BETWEEN :since AND :until
    AND p.account = :account
"""  # noqa: S608
_DOUBTS: Final = text(f"""
SELECT {_COLUMNS} FROM payouts p WHERE p.state = 'in_doubt'
    AND p.account = :account
ORDER BY p.created_at DESC LIMIT :limit
""")  # noqa: S608

Key = tuple[int, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Booked:
    """A payout, as far as a statement can tell of it; `retried_as` is its next submission."""

    number: int
    payout_id: PayoutId
    account: AccountName
    state: State
    amount_minor: int
    currency: str
    msisdn: str
    transaction_id: str | None
    submitted_at: datetime | None
    completed_at: datetime | None
    reason_code: str | None
    reason_class: str | None
    retried_as: PayoutId | None

    def __repr__(self) -> str:
        """Name the payout without its receiver."""
        return f"Booked({self.payout_id!r}, {self.state.value})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """The time that a statement tells of, both ends included, and whose it is."""

    since: datetime
    until: datetime
    account: AccountName


class StatementReader:
    """Reads what statements are compared with.

    Raises (every method):
        StoreUnavailableError: the database does not answer.
        SchemaError: it has not the tables.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self._database = Database(engine)

    async def by_own_id(self, keys: Sequence[Key]) -> list[tuple[int, Booked]]:
        """Return the payouts of these OriginatorConversationIDs, each with its key's number."""
        return await self._find(_BY_OWN_ID, keys)

    async def by_conversation_id(self, keys: Sequence[Key]) -> list[tuple[int, Booked]]:
        """Return the payouts of these ConversationIDs, each with its key's number."""
        return await self._find(_BY_CONVERSATION_ID, keys)

    async def by_receipt(self, keys: Sequence[Key]) -> list[tuple[int, Booked]]:
        """Return the payouts of these receipts, each with its key's number, oldest first."""
        return await self._find(_BY_RECEIPT, keys)

    async def succeeded(self, window: Window) -> AsyncIterator[Booked]:
        """Give what was paid, or may have been paid, within the window, a page in memory."""
        async for booked in self._stream(_SUCCEEDED, window):
            yield booked

    async def still_open(self, window: Window) -> AsyncIterator[Booked]:
        """Give what was first sent within the window and has not ended, a page in memory."""
        async for booked in self._stream(_OPEN, window):
            yield booked

    async def doubts(self, account: AccountName, *, limit: int) -> list[Booked]:
        """Return what is in doubt, newest first."""
        rows = await self._database.fetch(_DOUBTS, {"account": account, "limit": limit})
        return [_booked(row) for row in rows]

    async def _find(self, statement: TextClause, keys: Sequence[Key]) -> list[tuple[int, Booked]]:
        if not keys:
            return []
        parameters = {"ordinal": [one for one, _ in keys], "key": [key for _, key in keys]}
        rows = await self._database.fetch(statement, parameters)
        return [(row[0], _booked(row[1:])) for row in rows]

    async def _stream(self, statement: str, window: Window) -> AsyncIterator[Booked]:
        named = {"since": window.since, "until": window.until, "account": window.account}
        async with self._database.snapshot() as connection:
            result = await connection.stream(
                text(statement), named, execution_options={"yield_per": _PAGE}
            )
            async for row in result:
                yield _booked(row)


def _booked(row: Sequence[Any]) -> Booked:
    return Booked(
        number=row[0],
        payout_id=row[1],
        account=row[2],
        state=State(row[3]),
        amount_minor=row[4],
        currency=row[5],
        msisdn=row[6],
        transaction_id=row[7],
        submitted_at=row[8],
        completed_at=row[9],
        reason_code=row[10],
        reason_class=row[11],
        retried_as=row[12],
    )
