"""What a comparison found: for people, for programs, and all of it as a file."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.table import Table
from rich.text import Text

from ops.cli.exits import UsageError
from ops.cli.screen import Screen, table
from ops.cli.statement.findings import AGREEING, ALARMING, Finding, Findings, Kind
from ops.cli.words import count, moment, money, plural
from payouts.domain.events import instant
from payouts.domain.values import format_amount
from payouts.storage.statements import Window

_COLUMNS: Final = ("kind", "line", "payout_id", "receipt", "amount", "detail", "command")
_FORMULAS: Final = ("=", "+", "-", "@", "\t", "\r")  # What a spreadsheet would reckon.


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What was compared, and what came of it; `rows` are all lines below the header."""

    window: Window
    rows: int
    findings: Findings

    @property
    def equal(self) -> bool:
        """Tell whether nothing in the statement contradicts the books, or the reverse."""
        return not self.findings.difference_count


@contextmanager
def written_to(path: Path | None) -> Iterator[Callable[[Finding], None]]:
    """Give a function that writes a finding as a line of CSV, for its owner alone to read.

    Raises:
        UsageError: the file cannot be made, or is there already.
    """
    if path is None:
        yield lambda _: None
        return
    try:
        made = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise UsageError(f"{path} is there already; name another file.") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}.") from None
    with os.fdopen(made, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(_COLUMNS)
        yield lambda finding: writer.writerow(map(_harmless, _record(finding).values()))


def outcome_record(outcome: Outcome) -> dict[str, object]:
    """Return the outcome as `--json` tells it."""
    findings = outcome.findings
    return {
        "equal": outcome.equal,
        "account": outcome.window.account,
        "since": instant(outcome.window.since),
        "until": instant(outcome.window.until),
        "lines": outcome.rows,
        "paid_there": findings.there.count,
        "paid_there_sum": format_amount(findings.there.minor),
        "succeeded_here": findings.here.count,
        "succeeded_here_sum": format_amount(findings.here.minor),
        "kinds": [
            {
                "kind": kind.value,
                "difference": kind not in AGREEING,
                "count": findings.tallies[kind].count,
                "sum": format_amount(findings.tallies[kind].minor),
            }
            for kind in Kind
            if kind in findings.tallies
        ],
        "difference_count": findings.difference_count,
        "differences": [_record(one) for one in findings.differences],
    }


def print_outcome(screen: Screen, outcome: Outcome) -> None:
    """Write both sides, every kind with its count and sum, and the kept differences."""
    findings = outcome.findings
    since, until = moment(outcome.window.since)[:19], moment(outcome.window.until)[:19]
    told = plural(outcome.rows, "line")
    screen.line(f"Account {outcome.window.account}, from {since} to {until} (UTC): {told}")
    screen.line()
    rows = [
        (Text("paid out by the statement"), findings.there),
        (Text("succeeded here"), findings.here),
        *(
            (Text(kind.value, style=_style(kind)), findings.tallies[kind])
            for kind in Kind
            if kind in findings.tallies
        ),
    ]
    figures = ((name, count(tally.count), money(tally.minor)) for name, tally in rows)
    screen.show(table(("", "count", "sum"), figures, right=("count", "sum")))
    if findings.differences:
        screen.line()
        screen.show(_differences(findings))
    rest = findings.difference_count - len(findings.differences)
    if rest:
        screen.line(f"and {plural(rest, 'difference')} more; --out FILE.csv writes all.")
    commands = [one.command for one in findings.differences if one.command]
    if commands:
        screen.line()
        screen.line("What to do about what is open here, once you have looked at each:")
        for command in commands:
            screen.line(f"    {command}")
    if outcome.equal:
        screen.line()
        screen.line("The statement and the books are equal.", style="bold green")


def complain(screen: Screen, findings: Findings) -> None:
    """Shout where money may have moved twice, or back."""
    for kind in ALARMING:
        if findings.count(kind):
            screen.complain(
                f"{kind.value}: {plural(findings.count(kind), 'payment')}; look at each."
            )
    if findings.difference_count:
        told = plural(findings.difference_count, "difference")
        screen.complain(f"{told} between the statement and the books.")


def _differences(findings: Findings) -> Table:
    columns = ("difference", "line", "payout", "receipt", "amount", "what")
    return table(
        columns,
        (
            (
                Text(one.kind.value, style=_style(one.kind)),
                "" if one.line is None else one.line,
                one.payout_id or "",
                one.receipt or "",
                money(one.minor),
                one.detail,
            )
            for one in findings.differences
        ),
        right=("line", "amount"),
    )


def _style(kind: Kind) -> str:
    if kind in AGREEING:
        return ""
    return "bold red" if kind in ALARMING else "yellow"


def _record(finding: Finding) -> dict[str, object]:
    return {
        "kind": finding.kind.value,
        "line": finding.line,
        "payout_id": finding.payout_id,
        "receipt": finding.receipt,
        "amount": format_amount(finding.minor),
        "detail": finding.detail,
        "command": finding.command,
    }


def _harmless(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULAS) else value
