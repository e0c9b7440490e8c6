"""`payouts run show`: how a disbursement run stands."""

from __future__ import annotations

import os
from datetime import UTC, datetime

from ops.cli.exits import CommandError, Exit
from ops.cli.links import open_books
from ops.cli.screen import Screen
from ops.cli.totals import pace_lines, reasons_table, run_record, states_table
from payouts.domain.values import RunId
from payouts.settings import DatabaseSettings


async def show_run(run_id: str, /, *, json: bool = False) -> Exit:
    """Print counts and sums by state and reason, the rate and the estimated end of a run.

    Args:
        run_id: The run that the payouts' commands named.
        json: Write one JSON object.
    """
    settings = DatabaseSettings.load(os.environ)
    async with open_books(settings.database_url) as books:
        summary = await books.reader.run_summary(RunId(run_id))
    if summary is None:
        raise CommandError(f"No payout belongs to the run {run_id}.")
    screen, now = Screen(), datetime.now(UTC)
    if json:
        screen.json(run_record(summary, now))
        return Exit.DONE
    screen.line(run_id, style="bold")
    for line in pace_lines(summary, now):
        screen.line(line)
    screen.line()
    screen.show(states_table(summary.states))
    screen.line()
    screen.show(reasons_table(summary.reasons))
    return Exit.DONE
