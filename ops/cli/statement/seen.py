"""What a statement has told so far, in bounded memory."""

from __future__ import annotations

import sqlite3
from types import TracebackType
from typing import Final, Self

_CACHE_KIB: Final = 32 * 1024


class Seen:
    """Remembers receipts and matched payouts in a private temporary SQLite database.

    32 MiB of memory at most, the rest on disk, gone when it is closed. It holds receipts,
    amounts and row numbers, no receiver.
    """

    def __init__(self) -> None:
        self._database = sqlite3.connect("", isolation_level=None)
        self._database.execute(f"PRAGMA cache_size=-{_CACHE_KIB}")
        self._database.execute("PRAGMA synchronous=OFF")
        self._database.execute(
            "CREATE TABLE lines (receipt TEXT, minor INTEGER, line INTEGER,"
            " PRIMARY KEY (receipt, minor)) WITHOUT ROWID"
        )
        self._database.execute(
            "CREATE TABLE payouts (number INTEGER PRIMARY KEY, line INTEGER, receipt TEXT)"
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

    def same_line(self, receipt: str, minor: int, line: int) -> int | None:
        """Return the earlier line of this receipt and amount, or remember this one."""
        added = self._database.execute(
            "INSERT OR IGNORE INTO lines VALUES (?, ?, ?)", (receipt, minor, line)
        )
        if added.rowcount:
            return None
        found = self._database.execute(
            "SELECT line FROM lines WHERE receipt = ? AND minor = ?", (receipt, minor)
        ).fetchone()
        return int(found[0])

    def same_payout(self, number: int, line: int, receipt: str) -> tuple[int, str] | None:
        """Return the earlier line and receipt that told of this payout, or remember this one."""
        added = self._database.execute(
            "INSERT OR IGNORE INTO payouts VALUES (?, ?, ?)", (number, line, receipt)
        )
        if added.rowcount:
            return None
        found = self._database.execute(
            "SELECT line, receipt FROM payouts WHERE number = ?", (number,)
        ).fetchone()
        return int(found[0]), str(found[1])

    def knows(self, number: int) -> bool:
        """Tell whether a line told of this payout."""
        found = self._database.execute("SELECT 1 FROM payouts WHERE number = ?", (number,))
        return found.fetchone() is not None
