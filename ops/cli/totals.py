"""Counts and sums by state and reason, as tables and as records. Pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

from rich.table import Table
from rich.text import Text

from ops.cli.screen import table
from ops.cli.show import STYLES
from ops.cli.words import count, duration, moment, money
from payouts.domain.events import instant
from payouts.domain.payout import ENDED, OPEN, State
from payouts.domain.values import format_amount
from payouts.storage.totals import ReasonTotal, RunSummary, StateTotal

_SURE_RATE = 0.01  # Ended payouts per second below which an estimate would be a guess.


def number_in(states: Iterable[StateTotal], wanted: Iterable[State] = State) -> int:
    """Return how many payouts stand in the wanted states."""
    chosen = frozenset(wanted)
    return sum(one.count for one in states if one.state in chosen)


def seconds_left(summary: RunSummary) -> float | None:
    """Return how long the run takes at its present rate; None where nobody can tell."""
    still = number_in(summary.states, OPEN)
    if still == 0:
        return 0.0
    return still / summary.ended_per_s if summary.ended_per_s >= _SURE_RATE else None


def reasons_table(reasons: Sequence[ReasonTotal]) -> Table:
    """Return counts and sums by state and reason, in the order of a payout's life."""
    order = list(State)
    rows = sorted(reasons, key=lambda one: (order.index(one.state), one.currency, -one.count))
    return table(
        ("state", "class", "code", "payouts", "sum"),
        (
            (
                Text(one.state.value, style=STYLES[one.state]),
                one.klass or "",
                one.code or "",
                count(one.count),
                money(one.amount_minor, one.currency),
            )
            for one in rows
        ),
        right=("payouts", "sum"),
    )


def states_table(states: Sequence[StateTotal]) -> Table:
    """Return counts and sums by state, and what they come to together."""
    made = table(
        ("state", "payouts", "sum"),
        (
            (
                Text(one.state.value, style=STYLES[one.state]),
                count(one.count),
                money(one.amount_minor, one.currency),
            )
            for one in states
        ),
        right=("payouts", "sum"),
    )
    made.add_section()
    for currency in sorted({one.currency for one in states}):
        own = [one for one in states if one.currency == currency]
        minor = sum(one.amount_minor for one in own)
        made.add_row("all", count(number_in(own)), money(minor, currency), style="bold")
    return made


def pace_lines(summary: RunSummary, now: datetime) -> list[str]:
    """Return rate and estimated end, or how long the run took."""
    still = number_in(summary.states, OPEN)
    began = f"began {moment(summary.first_created_at)}"
    if still == 0:
        ended = summary.last_completed_at or now
        took = (ended - summary.first_created_at).total_seconds()
        ended_count = number_in(summary.states, ENDED)
        overall = f"{ended_count / max(took, 0.001):,.1f} payouts/s"
        return [f"{began}, ended {moment(ended)} after {duration(took)}: {overall}"]
    left = seconds_left(summary)
    rate = f"{summary.ended_per_s:,.1f} payouts/s over the last minute"
    if left is None:
        return [began, f"{count(still)} open; hardly any end now, so no end can be foretold"]
    at = moment(now + timedelta(seconds=left))
    return [began, f"{count(still)} open; {rate}; at that rate done in {duration(left)} ({at})"]


def run_record(summary: RunSummary, now: datetime) -> dict[str, object]:
    """Return a run as `--json` tells it."""
    left = seconds_left(summary)
    return {
        "run_id": summary.run_id,
        "total": number_in(summary.states),
        "open": number_in(summary.states, OPEN),
        "states": [state_record(one) for one in summary.states],
        "reasons": [
            {
                "state": one.state.value,
                "class": one.klass,
                "code": one.code,
                "currency": one.currency,
                "count": one.count,
                "sum": format_amount(one.amount_minor),
            }
            for one in summary.reasons
        ],
        "first_created_at": instant(summary.first_created_at),
        "last_created_at": instant(summary.last_created_at),
        "last_completed_at": instant(summary.last_completed_at),
        "ended_per_s": round(summary.ended_per_s, 3),
        "estimated_end": None
        if left is None
        else instant(now.astimezone(UTC) + timedelta(seconds=left)),
    }


def state_record(total: StateTotal) -> dict[str, object]:
    """Return one state's count and sum."""
    return {
        "state": total.state.value,
        "currency": total.currency,
        "count": total.count,
        "sum": format_amount(total.amount_minor),
    }
