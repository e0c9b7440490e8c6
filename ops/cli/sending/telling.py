"""What `payouts send` says about a file: problems, warnings, sums. Pure functions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

from rich.table import Table
from rich.text import Text

from ops.cli.sending.check import Findings, Sum
from ops.cli.sending.journal import Errand, Standing
from ops.cli.sending.publish import WINDOW, Published
from ops.cli.words import count, moment, money, plural, printable
from payouts.domain.values import format_amount


def sums(parts: Mapping[tuple[str, str], Sum]) -> str:
    """Return count and sum in words, such as `1,000 payouts, KES 51,000.00, from default`."""
    told = [
        f"{plural(one.count, 'payout')}, {money(one.minor, currency)}, from account {account}"
        for (account, currency), one in sorted(parts.items())
    ]
    return " and ".join(told) or "nothing"


def problem_lines(findings: Findings) -> Iterator[str]:
    """Yield each kept problem, and how many more there are."""
    yield from map(str, findings.problems)
    rest = findings.problem_count - len(findings.problems)
    if rest:
        yield f"and {count(rest)} more; --max-errors shows more of them."


def warning_lines(
    findings: Findings, *, derived: bool, rows: int, now: datetime | None = None
) -> Iterator[str]:
    """Yield what a person should know before saying yes."""
    if derived and rows:
        yield (
            "There is no payout_id column: ids are made of run, line and content. This file pays"
            " once however often it is sent, but an edited one is a new run, and each of its rows"
            " a new payment."
        )
    for line, earlier in findings.lookalikes:
        yield f"line {line}: the same receiver and amount as line {earlier}, under another id."
    rest = findings.lookalike_count - len(findings.lookalikes)
    if rest:
        yield f"and {count(rest)} more rows with receiver and amount of an earlier one."
    if findings.repeat_count:
        yield (
            f"{plural(findings.repeat_count, 'row')} with receiver and amount of another payout of"
            " the last days (PAYOUTS_SEND_REPEAT_DAYS). See that nobody is paid a second time:"
        )
        seen_at = now or datetime.now(UTC)
        yield from (one.told(seen_at) for one in findings.repeats)
        rest = findings.repeat_count - len(findings.repeats)
        if rest:
            yield f"and {count(rest)} more."
    if findings.sent:
        yield (
            f"Published before, not in the database yet, and not sent again: {sums(findings.sent)}."
        )
    if findings.known_count:
        states = ", ".join(f"{count(n)} {state}" for state, n in sorted(findings.states.items()))
        yield f"Known already, and not sent again: {sums(findings.known)} ({states})."


def resumption(standing: Standing, rows: int) -> str:
    """Return where an interrupted sending goes on, and what may come twice."""
    at = f" ({moment(standing.at)})" if standing.at else ""
    came = (
        f"The sending of this file was interrupted after {count(standing.rows)} of {count(rows)}"
        f" rows{at}. It goes on from there."
    )
    if standing.stopped:
        return came
    return (
        f"{came} It could not end in order: up to {count(WINDOW)} rows behind these may have been"
        " published, too. They are published again under the same ids, which pays nobody twice."
    )


def interruption(begun: Errand, standing: Standing) -> str:
    """Return what a rehearsal tells about an interrupted sending of the same file."""
    return (
        f"A sending of this file to {begun.broker} was interrupted after {count(standing.rows)}"
        " rows. Sent there again, it goes on from there."
    )


def summary(findings: Findings, published: Published | None, run_id: str) -> Table:
    """Return the outcome for a person."""
    facts = {
        "run": run_id,
        "rows": count(findings.rows),
        "new": sums(findings.new),
        "sent before": sums(findings.sent) if findings.sent else "",
        "known already": sums(findings.known) if findings.known else "",
        "published": "" if published is None else count(published.published),
    }
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim")
    grid.add_column(overflow="fold")
    for name, text in facts.items():
        if text:
            grid.add_row(name, Text(printable(text)))
    return grid


def record(findings: Findings, published: Published | None, run_id: str) -> dict[str, object]:
    """Return the outcome for a program; `published` is null where nothing was to be published."""
    return {
        "run_id": run_id,
        "rows": findings.rows,
        "new": _records(findings.new),
        "sent_before": _records(findings.sent),
        "known": _records(findings.known),
        "known_states": dict(sorted(findings.states.items())),
        "published": None if published is None else published.published,
        "same_receiver_and_amount": findings.lookalike_count,
        "repeats": findings.repeat_count,
        "problem_count": findings.problem_count,
        "problems": [
            {"line": one.line, "column": one.column, "text": one.text} for one in findings.problems
        ],
    }


def _records(parts: Mapping[tuple[str, str], Sum]) -> list[dict[str, object]]:
    return [
        {
            "account": account,
            "currency": currency,
            "count": one.count,
            "sum": format_amount(one.minor),
        }
        for (account, currency), one in sorted(parts.items())
    ]
