"""Our books against the other side's ledger, payment by payment, in bounded memory."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from types import TracebackType
from typing import Final, Self

from ops.cli.ledger import Paid
from payouts.domain.payout import Payout, State
from payouts.domain.values import PayoutId, RunId, format_amount

_CACHE_KIB: Final = 64 * 1024
_BATCH: Final = 500
_PARTS: Final = 3

Existing = Callable[[Sequence[PayoutId]], Awaitable[Mapping[PayoutId, Payout]]]


class Kind(StrEnum):
    """In what two books can differ."""

    TWICE = "paid more than once"
    NOT_PAID = "succeeded here, not in their ledger"
    OTHER_AMOUNT = "another amount"
    OTHER_RECEIPT = "another receipt"
    FAILED_HERE = "paid, but failed here"
    UNKNOWN_HERE = "paid, but unknown here"


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One payment on which the books differ."""

    kind: Kind
    originator_conversation_id: str
    detail: str = ""


@dataclass(slots=True, kw_only=True)
class Comparison:
    """What came of comparing; `differences` and `open_here` are cut at `limit`, counts are not.

    `open_here` are payments that the other side made and that have not ended here: no
    difference yet, as a Result or a query will tell us.
    """

    limit: int
    theirs: int = 0
    their_minor: int = 0
    ours: int = 0
    our_minor: int = 0
    differences: list[Difference] = field(default_factory=list)
    difference_count: int = 0
    open_here: list[Difference] = field(default_factory=list)
    open_count: int = 0
    open_minor: int = 0

    def differ(self, kind: Kind, originator: str, detail: str = "") -> None:
        """Count a difference, and keep it while there is room."""
        self.difference_count += 1
        if len(self.differences) < self.limit:
            self.differences.append(
                Difference(kind=kind, originator_conversation_id=originator, detail=detail)
            )


class Comparing:
    """Holds one line per payment in a private temporary SQLite database (64 MiB of memory).

    Ours are taken in first: what succeeds here while the ledger is being read is then looked up
    again, instead of being missed in a ledger that was read before.
    """

    def __init__(self, *, run_id: RunId | None, limit: int) -> None:
        self.outcome = Comparison(limit=limit)
        self._run_id = run_id
        self._database = sqlite3.connect("", isolation_level=None)
        self._database.execute(f"PRAGMA cache_size=-{_CACHE_KIB}")
        self._database.execute("PRAGMA synchronous=OFF")
        self._database.execute(
            "CREATE TABLE lines (id TEXT PRIMARY KEY, ours INTEGER, minor INTEGER, receipt TEXT,"
            " times INTEGER, paid INTEGER, paid_receipt TEXT) WITHOUT ROWID"
        )
        self._database.execute("BEGIN")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._database.close()

    async def run(
        self, ours: AsyncIterable[Paid], theirs: AsyncIterable[Paid], existing: Existing
    ) -> Comparison:
        """Return what the two say differently."""
        async for entry in ours:
            self._take_ours(entry)
        async for entry in theirs:
            self._take_theirs(entry)
        await self._look_up(existing)
        self._judge()
        return self.outcome

    def _take_ours(self, entry: Paid) -> None:
        self._database.execute(
            "INSERT INTO lines VALUES (?, 1, ?, ?, 0, 0, NULL)"
            " ON CONFLICT (id) DO UPDATE SET ours = 1, minor = excluded.minor,"
            " receipt = excluded.receipt",
            (entry.originator_conversation_id, entry.amount_minor, entry.receipt),
        )

    def _take_theirs(self, entry: Paid) -> None:
        self._database.execute(
            "INSERT INTO lines VALUES (?, 0, 0, NULL, 1, ?, ?) ON CONFLICT (id) DO UPDATE"
            " SET times = times + 1, paid = paid + excluded.paid,"
            " paid_receipt = coalesce(paid_receipt, excluded.paid_receipt)",
            (entry.originator_conversation_id, entry.amount_minor, entry.receipt),
        )

    async def _look_up(self, existing: Existing) -> None:
        """Find out how payments stand here that had not succeeded when ours were taken in."""
        async for batch in self._strangers():
            ids = {originator: payout_id_of(originator) for originator, _ in batch}
            known = await existing([one for one in ids.values() if one is not None])
            for originator, minor in batch:
                payout_id = ids[originator]
                payout = known.get(payout_id) if payout_id is not None else None
                if payout is not None and payout.originator_conversation_id != originator:
                    payout = None
                self._place(originator, minor, payout)

    async def _strangers(self) -> AsyncIterator[Sequence[tuple[str, int]]]:
        last = ""
        while True:
            found = self._database.execute(
                "SELECT id, paid FROM lines WHERE ours = 0 AND id > ? ORDER BY id LIMIT ?",
                (last, _BATCH),
            ).fetchall()
            if not found:
                return
            yield found
            last = found[-1][0]

    def _place(self, originator: str, minor: int, payout: Payout | None) -> None:
        if self._run_id is not None and (payout is None or payout.run_id != self._run_id):
            self._database.execute("DELETE FROM lines WHERE id = ?", (originator,))
        elif payout is None:
            self.outcome.differ(Kind.UNKNOWN_HERE, originator, format_amount(minor))
        elif payout.state is State.SUCCEEDED:
            self._take_ours(
                Paid(
                    originator_conversation_id=originator,
                    amount_minor=payout.amount_minor,
                    receipt=payout.transaction_id,
                )
            )
        elif payout.state is State.FAILED:
            self.outcome.differ(Kind.FAILED_HERE, originator, format_amount(minor))
        else:
            self.outcome.open_count += 1
            self.outcome.open_minor += minor
            if len(self.outcome.open_here) < self.outcome.limit:
                self.outcome.open_here.append(
                    Difference(
                        kind=Kind.UNKNOWN_HERE,
                        originator_conversation_id=originator,
                        detail=payout.state.value,
                    )
                )

    def _judge(self) -> None:
        outcome = self.outcome
        for line in self._database.execute("SELECT * FROM lines ORDER BY id"):
            originator, ours, minor, receipt, times, paid, paid_receipt = line
            outcome.theirs += times
            outcome.their_minor += paid
            if times > 1:
                outcome.differ(Kind.TWICE, originator, f"{times} times")
            if not ours:
                continue
            outcome.ours += 1
            outcome.our_minor += minor
            if times == 0:
                outcome.differ(Kind.NOT_PAID, originator, format_amount(minor))
            elif times == 1 and paid != minor:
                detail = f"{format_amount(minor)} here, {format_amount(paid)} there"
                outcome.differ(Kind.OTHER_AMOUNT, originator, detail)
            elif times == 1 and receipt and paid_receipt and receipt != paid_receipt:
                outcome.differ(Kind.OTHER_RECEIPT, originator, f"{receipt} here, {paid_receipt}")


def payout_id_of(originator_conversation_id: str) -> PayoutId | None:
    """Return the payout id inside an id of ours (contract.md §4); None where it is not ours."""
    parts = originator_conversation_id.split("_", _PARTS - 1)
    return PayoutId(parts[-1]) if len(parts) == _PARTS and parts[-1] else None
