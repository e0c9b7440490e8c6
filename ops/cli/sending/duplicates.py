"""What stands in a file twice, found in bounded memory."""

from __future__ import annotations

import hashlib
import secrets
import sqlite3
from collections.abc import Sequence
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
        self._keyed = hashlib.blake2b(digest_size=16, key=secrets.token_bytes(32))
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

    def same_ids(self, ids: Sequence[tuple[int, str]]) -> dict[int, int]:
        """Return the earlier line of each line whose id stood there before; remember the rest.

        Args:
            ids: lines and their ids, in the order of the file.
        """
        return self._earlier("ids", ids)

    def same_payments(self, payments: Sequence[tuple[int, Command]]) -> dict[int, int]:
        """Return the earlier line of each line with its receiver and amount; remember the rest.

        Args:
            payments: lines and their commands, in the order of the file.
        """
        contents = [
            (line, f"{command.msisdn}|{command.amount_minor}|{command.currency}")
            for line, command in payments
        ]
        return self._earlier("payments", contents)

    def _earlier(self, name: str, contents: Sequence[tuple[int, str]]) -> dict[int, int]:
        database = self._database
        rows = [(self._digest(content), line) for line, content in contents]
        before = database.total_changes
        database.executemany(
            f"INSERT OR IGNORE INTO {name} VALUES (?, ?)",  # noqa: S608 - our own two names
            rows,
        )
        if database.total_changes - before == len(rows):
            return {}
        found = f"SELECT line FROM {name} WHERE digest = ?"  # noqa: S608 - as above
        firsts = {line: database.execute(found, (digest,)).fetchone()[0] for digest, line in rows}
        return {line: first for line, first in firsts.items() if first != line}

    def _digest(self, content: str) -> bytes:
        running = self._keyed.copy()
        running.update(content.encode(errors="surrogatepass"))
        return running.digest()
