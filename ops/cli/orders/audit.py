"""`payouts audit`: who ordered what and why, and whether the chain of lines is whole."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import Annotated, Final

from cyclopts import Parameter
from cyclopts.validators import Number

from ops.cli.exits import Exit, UsageError
from ops.cli.links import Books, open_books
from ops.cli.records import audit_record
from ops.cli.screen import Screen, table
from ops.cli.words import count, hide_numbers, moment
from payouts.ports import AuditEntry
from payouts.settings import DatabaseSettings

MAX_LINES: Final = 10_000
_PAGE: Final = 1000
_SHOWN_HASH: Final = 12
_HASH: Final = re.compile(r"[0-9a-f]{64}")

Limit = Annotated[int, Parameter(validator=Number(gte=1, lte=MAX_LINES))]
Before = Annotated[int | None, Parameter(validator=Number(gte=1))]


async def list_lines(
    *, about: str | None = None, limit: Limit = 50, before: Before = None, json: bool = False
) -> Exit:
    """Print orders, newest first: when, who, what, about what, and why.

    Args:
        about: Only orders about this payout, run, account or dead letter.
        limit: How many at most.
        before: Only lines with a smaller number, such as the last one of the page before.
        json: Write a JSON array.
    """
    settings = DatabaseSettings.load(os.environ)
    async with open_books(settings.database_url) as books:
        found = await _lines(books, about, before=before, limit=limit)
    screen = Screen()
    if json:
        screen.json([audit_record(one) for one in found])
        return Exit.DONE
    print_lines(screen, found)
    if len(found) == limit:
        screen.say(f"There may be more: --before {found[-1].number}.")
    return Exit.DONE


async def _lines(
    books: Books, about: str | None, *, before: int | None, limit: int
) -> Sequence[AuditEntry]:
    if about is None:
        return await books.orders.audit_lines(before=before, limit=limit)
    found = await books.oversight.orders_about([about])
    older = [one for one in found if before is None or one.number < before]
    return older[::-1][:limit]


async def verify(*, head: str | None = None, json: bool = False) -> Exit:
    """Compute the chain of the audit anew; exit 1 if a line was changed, taken out or slipped in.

    Keep the hash that it prints somewhere else. Given as --head the next time, it shows that
    no line up to that one was cut off or written anew.

    Args:
        head: The hash of an earlier verification; its line must still be there.
        json: Write one JSON object.
    """
    wanted = None if head is None else head.strip().lower()
    if wanted is not None and _HASH.fullmatch(wanted) is None:
        raise UsageError("--head must be a hash as `payouts audit verify` prints it.")
    settings = DatabaseSettings.load(os.environ)
    async with open_books(settings.database_url) as books:
        checked = await books.orders.check_audit()
        kept = wanted is None or wanted == checked.head or await _has_line(books, wanted)
    whole = checked.broken_at is None and kept
    screen = Screen()
    if json:
        screen.json(
            {
                "whole": whole,
                "entries": checked.entries,
                "head": checked.head,
                "broken_at": checked.broken_at,
                "head_found": None if wanted is None else kept,
            }
        )
    elif whole:
        screen.line(checked.head)
        screen.say(f"The audit is whole: {count(checked.entries)} lines.")
    if checked.broken_at is not None:
        screen.complain(
            f"The audit is broken at line {checked.broken_at}: that line, or the one before it,"
            " is not what was written."
        )
    if not kept:
        screen.complain("No line has the hash of --head: lines were cut off or written anew.")
    return Exit.DONE if whole else Exit.FAILED


async def _has_line(books: Books, wanted: str) -> bool:
    before: int | None = None
    while True:
        page = await books.orders.audit_lines(before=before, limit=_PAGE)
        if any(one.hash == wanted for one in page):
            return True
        if len(page) < _PAGE:
            return False
        before = page[-1].number


def print_lines(screen: Screen, lines: Sequence[AuditEntry]) -> None:
    """Write lines of the audit for a person."""
    rows = (
        (
            str(one.number),
            moment(one.at)[:19],
            one.operator,
            one.action,
            one.subject,
            hide_numbers(one.reason),
            ", ".join(f"{name} {value}" for name, value in sorted(one.details.items())),
            one.hash[:_SHOWN_HASH],
        )
        for one in lines
    )
    columns = ("line", "at (UTC)", "who", "what", "about", "why", "details", "hash")
    screen.show(table(columns, rows, right=("line",)))
