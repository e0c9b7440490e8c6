"""What stands in a file twice, found in bounded memory."""

from __future__ import annotations

import hashlib
import secrets
import sqlite3
from types import TracebackType
from typing import Final, Self

from payouts.domain.commands import Command

_CACHE_KIB: Final = 64 * 1024
_TABLES: Final = ("ids", "payments")


class Duplicates:
    """Remembers every id and every pair of receiver and amount by a 16-byte digest.

    A private temporary SQLite database keeps them: 64 MiB of memory at most, the rest on disk,
    gone when it is closed. The digests are keyed with a random key, so that no receiver's
    number can be read from the disk.
    """

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)
        self._database = sqlite3.connect("", isolation_level=None)
        self._database.execute(f"PRAGMA cache_size=-{_CACHE_KIB}")
        self._database.execute("PRAGMA synchronous=OFF")
        for name in _TABLES:
            self._database.execute(
                f"CREATE TABLE {name} (digest BLOB PRIMARY KEY, line INTEGER) WITHOUT ROWID"
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

    def same_id(self, payout_id: str, line: int) -> int | None:
        """Return the earlier line with this id, or remember this one."""
        return self._first("ids", payout_id, line)

    def same_payment(self, command: Command, line: int) -> int | None:
        """Return the earlier line with this receiver and amount, or remember this one."""
        content = f"{command.msisdn}|{command.amount_minor}|{command.currency}"
        return self._first("payments", content, line)

    def _first(self, name: str, content: str, line: int) -> int | None:
        digest = hashlib.blake2b(
            content.encode(errors="surrogatepass"), digest_size=16, key=self._key
        ).digest()
        added = self._database.execute(
            f"INSERT OR IGNORE INTO {name} VALUES (?, ?)",  # noqa: S608 - our own two names
            (digest, line),
        )
        if added.rowcount:
            return None
        found = self._database.execute(
            f"SELECT line FROM {name} WHERE digest = ?",  # noqa: S608 - as above
            (digest,),
        ).fetchone()
        return int(found[0])
