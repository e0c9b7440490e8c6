"""`payouts reconcile FILE.csv`: from the options to the verdict."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from ops.cli.exits import Exit, UsageError
from ops.cli.listing import instant_of
from ops.cli.progress import progress
from ops.cli.screen import Screen
from ops.cli.statement.books import open_statements
from ops.cli.statement.comparing import BATCH, Comparing
from ops.cli.statement.file import StatementFile
from ops.cli.statement.findings import Findings
from ops.cli.statement.lines import LineReader
from ops.cli.statement.rows import Rows
from ops.cli.statement.seen import Seen
from ops.cli.statement.telling import (
    Outcome,
    complain,
    outcome_record,
    print_outcome,
    written_to,
)
from payouts.domain.values import AccountName
from payouts.settings import ReconcileSettings
from payouts.storage.statements import StatementReader, Window

Shown = Annotated[int, Parameter(validator=Number(gte=0, lte=10_000))]


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementOptions:
    """What of a statement is compared, and how much is told.

    Args:
        account: Whose statement it is; needed where several accounts are configured.
        since: From when on the statement tells everything: an age such as 7d, or an RFC 3339
            instant; its first line's time where it is not given.
        until: Until when; as before, its last line's time.
        limit: How many differences to list; all are counted.
        out: Write every line and what it is into this new CSV file.
    """

    account: str | None = None
    since: str | None = None
    until: str | None = None
    limit: Shown = 50
    out: Path | None = None


async def reconcile_statement(
    path: Path,
    /,
    *,
    options: Annotated[StatementOptions | None, Parameter(name="*")] = None,
    json: bool = False,
) -> Exit:
    """Compare an organisation statement (CSV) with the books, both ways, to the cent.

    Each payment in it is looked for here, and each payout that succeeded here within its time is
    looked for in it. Nothing is changed. Exit 0: equal; 3: there are differences.

    Args:
        path: The statement, as the M-PESA organisation portal exports it, or as
            PAYOUTS_STATEMENT_COLUMNS says.
        options: What is compared, and how much is told.
        json: Write one JSON object.
    """
    options = options or StatementOptions()
    settings = ReconcileSettings.load(os.environ)
    account = _account(options.account, settings.account_names)
    now = datetime.now(UTC)
    told = (
        instant_of("--since", options.since, now),
        instant_of("--until", options.until, now),
    )
    reader = LineReader(settings.statement_utc_offset, settings.statement_payments, now)
    screen = Screen()
    with (
        StatementFile(path, settings.statement_columns) as file,
        written_to(options.out) as sink,
        progress(screen, "Comparing", None) as advance,
    ):
        rows = Rows(file=file, reader=reader, findings=Findings(limit=options.limit, sink=sink))
        async with open_statements(settings.database_url) as books:
            outcome = await _compare(rows, books, account, told, advance)
    if json:
        screen.json(outcome_record(outcome))
    else:
        print_outcome(screen, outcome)
    complain(screen, outcome.findings)
    return Exit.DONE if outcome.equal else Exit.UNFINISHED


async def _compare(
    rows: Rows,
    books: StatementReader,
    account: AccountName,
    told: tuple[datetime | None, datetime | None],
    advance: Callable[[int], None],
) -> Outcome:
    """Compare line by line; `told` is the window, where the operator says one."""
    with Seen() as seen:
        comparing = Comparing(books, seen, rows.findings, account)
        for batch in rows.batches(BATCH):
            await comparing.take(batch)
            advance(len(batch))
        since, until = told[0] or rows.first, told[1] or rows.last
        if since is None or until is None:
            raise UsageError(
                "No line of the statement can be compared; --since and --until say what time an"
                " empty statement tells of."
            )
        window = Window(since=since, until=until, account=account)
        await comparing.finish(window)
    return Outcome(window=window, rows=rows.count, findings=rows.findings)


def _account(named: str | None, known: Sequence[AccountName]) -> AccountName:
    listed = ", ".join(sorted(known))
    if named is None:
        if len(known) > 1:
            raise UsageError(f"--account must say whose statement it is; known: {listed}.")
        return known[0]
    if named not in known:
        raise UsageError(f"No account {named} is configured; known: {listed}.")
    return AccountName(named)
