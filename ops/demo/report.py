"""The end of the demo: what became of every shilling, by both books and by the events."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from pydantic import SecretStr
from rich.text import Text

from ops.cli.links import open_books
from ops.cli.screen import Screen, table
from ops.cli.totals import number_in, pace_lines, reasons_table, states_table
from ops.cli.verifying import Verdict, judge_books, print_comparison
from ops.cli.words import count, plural
from ops.demo.listener import Listener
from payouts.domain.payout import ENDED, OPEN
from payouts.domain.values import RunId
from payouts.storage.totals import RunSummary

EVENTS_WITHIN_S: Final = 20.0
_SHOWN: Final = 20
_MOST: Final = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What the demo found; `events` are completion events by payout, `repeats` came again."""

    expected: int
    run: RunSummary | None
    verdict: Verdict
    events: int
    repeats: int
    ambiguous: int
    most_at: datetime | None

    @property
    def problems(self) -> tuple[str, ...]:
        """What is not as it should be; empty if all is well."""
        totals = self.verdict.books.states
        checks = {
            f"{count(number_in(totals, OPEN))} payouts have not ended": number_in(totals, OPEN) > 0,
            f"{count(number_in(totals, ENDED))} of {count(self.expected)} payouts ended": (
                number_in(totals, ENDED) != self.expected
            ),
            f"{count(self.events)} payouts have a completion event": self.events != self.expected,
            f"{count(self.ambiguous)} payouts have two completion events": self.ambiguous > 0,
        }
        return (*self.verdict.problems, *(told for told, found in checks.items() if found))

    @property
    def fine(self) -> bool:
        """Whether every payout has ended, once, and both books are equal."""
        return not self.problems


async def judge(
    database_url: str, ledger: str, listener: Listener, *, run_id: str, expected: int
) -> Report:
    """Return what became of the run, once its events have come or are late."""
    await listener.heard(expected, within_s=EVENTS_WITHIN_S)
    async with open_books(SecretStr(database_url)) as books:
        return Report(
            expected=expected,
            run=await books.reader.run_summary(RunId(run_id)),
            verdict=await judge_books(books, ledger=ledger, run_id=None, limit=_SHOWN),
            events=listener.payouts,
            repeats=listener.deliveries - listener.payouts,
            ambiguous=listener.ambiguous,
            most_at=listener.heard_by(_MOST),
        )


def print_report(screen: Screen, report: Report) -> None:
    """Write the tables."""
    screen.line()
    if report.run is not None:
        screen.line("Payouts and shillings, by state and reason", style="bold")
        screen.show(reasons_table(report.run.reasons))
        screen.line()
        screen.show(states_table(report.run.states))
        for line in (*pace_lines(report.run, datetime.now(UTC)), *_most(report.run, report)):
            screen.line(line)
    if report.verdict.comparison is not None:
        screen.line()
        screen.line("Our books and the gateway's ledger", style="bold")
        print_comparison(screen, report.verdict.comparison)
    screen.line()
    rows = (
        ("payouts with exactly one completion event id", report.events - report.ambiguous),
        ("completion events delivered again, with the same id", report.repeats),
        ("incidents for a person to look at", report.verdict.books.incidents),
    )
    screen.show(
        table(
            ("what else was counted", "number"),
            ((name, count(n)) for name, n in rows),
            right=("number",),
        )
    )
    for one in report.verdict.incidents:
        screen.line(f"incident: {one.payout_id or ''} {one.kind.value}: {one.detail}")
    screen.line()
    if report.fine:
        told = plural(report.expected, "payout")
        text = f"{told}, all ended; both books are equal, to the cent."
        screen.show(Text(text, style="bold green"))
    for problem in report.problems:
        screen.show(Text(problem, style="bold red"))


def _most(run: RunSummary, report: Report) -> list[str]:
    if report.most_at is None:
        return []
    seconds = max((report.most_at - run.first_created_at).total_seconds(), 0.001)
    rate = report.events * _MOST / seconds
    told = f"{_MOST:.0%} had their completion event after {seconds:.1f} s: {rate:,.0f} payouts/s"
    return [f"{told}; the rest met late, lost and refused answers on purpose"]
