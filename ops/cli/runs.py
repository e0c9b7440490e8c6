"""`payouts run show`: how a disbursement run stands."""

from __future__ import annotations

import os
from collections.abc import Mapping

from ops.cli.exits import CommandError, Exit
from ops.cli.links import open_books
from ops.cli.orders.sums import told
from ops.cli.records import Record
from ops.cli.screen import Screen
from ops.cli.totals import pace_lines, reasons_table, run_record, states_table
from payouts.domain.values import RunId, format_amount
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
        paused = (await books.orders.paused_runs()).get(RunId(run_id))
        held = await books.oversight.held_in(RunId(run_id))
        now = books.clock.now()
    if summary is None:
        halted = f" It is paused: {paused}." if paused is not None else ""
        raise CommandError(f"No payout belongs to the run {run_id}.{halted}")
    screen = Screen()
    if json:
        screen.json({**run_record(summary, now), **_stops_record(paused, held)})
        return Exit.DONE
    screen.line(run_id, style="bold")
    for line in pace_lines(summary, now):
        screen.line(line)
    if paused is not None:
        screen.line(f"paused: {paused}", style="bold red")
    if held:
        screen.line(f"held: {told(held)}", style="yellow")
    screen.line()
    screen.show(states_table(summary.states))
    screen.line()
    screen.show(reasons_table(summary.reasons))
    return Exit.DONE


def _stops_record(paused: str | None, held: Mapping[str, tuple[int, int]]) -> Record:
    return {
        "paused": paused is not None,
        "paused_reason": paused,
        "held": [
            {"currency": currency, "count": number, "sum": format_amount(minor)}
            for currency, (number, minor) in sorted(held.items())
        ],
    }
