"""Who ordered what and why: a chain of lines, each with the hash of the line before.

Whoever changes, takes out or slips in a line breaks the chain from there on. Lines cut off at its
end are missed only by whoever kept the head's hash; `payouts audit verify --head` compares it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import UTC
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from payouts.ports import Action, AuditCheck, AuditEntry, Order
from payouts.storage.steps import MAX_DESCRIPTION, storable

NOTHING_BEFORE: Final = "0" * 64
_PAGE: Final = 1000
_COLUMNS: Final = "number, at, operator, action, subject, reason, details, hash"

# One writer at a time: each line needs the hash of the one before.
_LOCK: Final = text("SELECT pg_advisory_xact_lock(727002)")
_LAST: Final = text("SELECT number, hash FROM audit ORDER BY number DESC LIMIT 1")
_ADD: Final = text(f"""
INSERT INTO audit ({_COLUMNS}) VALUES (:number, CAST(:at AS timestamptz), :operator, :action,
    :subject, :reason, CAST(CAST(:details AS text) AS jsonb), :hash)
""")  # noqa: S608
_LINES: Final = text(f"""
SELECT {_COLUMNS} FROM audit
WHERE number < coalesce(CAST(:before AS bigint), 9223372036854775807)
ORDER BY number DESC LIMIT :limit
""")  # noqa: S608
_OF_SUBJECT: Final = text(
    f"SELECT {_COLUMNS} FROM audit WHERE subject = :subject ORDER BY number LIMIT :limit"  # noqa: S608
)
_CHAIN: Final = text(f"SELECT {_COLUMNS} FROM audit ORDER BY number")  # noqa: S608


async def write_line(
    connection: AsyncConnection,
    action: Action,
    subject: str,
    order: Order,
    details: Mapping[str, str],
) -> int:
    """Add a line in the transaction of what it is about, and return its number.

    The next writer waits for its commit.
    """
    await connection.execute(_LOCK)
    last = (await connection.execute(_LAST)).first()
    number, previous = (last[0] + 1, last[1]) if last else (1, NOTHING_BEFORE)
    entry = AuditEntry(
        number=number,
        at=order.at.astimezone(UTC),
        operator=_said(order.operator),
        action=action.value,
        subject=_said(subject),
        reason=_said(order.reason),
        details={_said(key): _said(value) for key, value in details.items()},
    )
    await connection.execute(
        _ADD,
        {
            "number": entry.number,
            "at": entry.at,
            "operator": entry.operator,
            "action": entry.action,
            "subject": entry.subject,
            "reason": entry.reason,
            "details": json.dumps(dict(entry.details)),
            "hash": hash_of(entry, previous),
        },
    )
    return entry.number


async def lines(
    connection: AsyncConnection, *, before: int | None, limit: int
) -> Sequence[AuditEntry]:
    """Return lines, newest first."""
    rows = await connection.execute(_LINES, {"before": before, "limit": limit})
    return [_entry_of(row) for row in rows]


async def lines_about(
    connection: AsyncConnection, subject: str, *, limit: int
) -> Sequence[AuditEntry]:
    """Return the lines about one subject, oldest first."""
    rows = await connection.execute(_OF_SUBJECT, {"subject": subject, "limit": limit})
    return [_entry_of(row) for row in rows]


async def check(connection: AsyncConnection) -> AuditCheck:
    """Compute the chain anew from its beginning, a page in memory at a time."""
    number, head = 0, NOTHING_BEFORE
    chain = await connection.stream(_CHAIN, execution_options={"yield_per": _PAGE})
    async for row in chain:
        entry = _entry_of(row)
        if entry.number != number + 1 or entry.hash != hash_of(entry, head):
            return AuditCheck(entries=number, head=head, broken_at=number + 1)
        number, head = entry.number, entry.hash
    return AuditCheck(entries=number, head=head, broken_at=None)


def hash_of(entry: AuditEntry, previous: str) -> str:
    """Return the hash of a line: SHA-256 over the line before's and all its own fields, as JSON."""
    facts = [
        previous,
        entry.number,
        entry.at.astimezone(UTC).isoformat(timespec="microseconds"),
        entry.operator,
        entry.action,
        entry.subject,
        entry.reason,
        dict(entry.details),
    ]
    written = json.dumps(facts, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(written.encode()).hexdigest()


def _said(words: str) -> str:
    return storable(words.strip(), MAX_DESCRIPTION) or ""


def _entry_of(row: Sequence[Any]) -> AuditEntry:
    return AuditEntry(
        number=row[0],
        at=row[1],
        operator=row[2],
        action=row[3],
        subject=row[4],
        reason=row[5],
        details=row[6],
        hash=row[7],
    )
