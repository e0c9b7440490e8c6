"""`payouts verify`: the books, in themselves and against the other side's ledger."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated, Final

from cyclopts import Parameter
from cyclopts.validators import Number
from rich.text import Text

from ops.cli.comparison import Comparing, Comparison
from ops.cli.exits import Exit
from ops.cli.ledger import Paid, read_ledger
from ops.cli.links import Books, open_books
from ops.cli.records import incident_record, payout_record
from ops.cli.screen import Screen, table
from ops.cli.totals import number_in, state_record, states_table
from ops.cli.words import count, hide_numbers, moment, money, plural
from payouts.domain.payout import OPEN, Payout, State
from payouts.domain.values import RunId, format_amount
from payouts.ports import Incident
from payouts.settings import DatabaseSettings
from payouts.storage.reading import Listing
from payouts.storage.totals import BookTotals

_SHOWN_INCIDENTS: Final = 20
Shown = Annotated[int, Parameter(validator=Number(gte=1, lte=10_000))]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What was found; `comparison` None where there was no ledger."""

    books: BookTotals
    doubts: list[Payout]
    incidents: list[Incident]
    comparison: Comparison | None

    @property
    def problems(self) -> tuple[str, ...]:
        """What does not agree, in words; empty while all does."""
        found = list(self.books.problems)
        if self.comparison is not None and self.comparison.difference_count:
            told = plural(self.comparison.difference_count, "difference")
            found.append(f"{told} between the books and the ledger")
        return tuple(found)


async def verify(
    *, ledger: str | None = None, run: str | None = None, limit: Shown = 50, json: bool = False
) -> Exit:
    """Prove that the books balance; with a ledger, that both sides say the same, to the cent.

    In themselves: received = succeeded + failed + open, in count and in money; exactly one
    completion event for each payout that has ended; in the archive what orders have moved there,
    no more and no less. Against a ledger: everything was paid once;
    whatever succeeded is in it with the same amount and receipt; nothing is in it that failed or
    is unknown here. What is in doubt and what became an incident is listed. Exit 1 on any
    difference.

    Args:
        ledger: The simulator's address, such as http://127.0.0.1:8320, or a file of JSON lines
            or CSV with originator_conversation_id, amount and receipt.
        run: Only this run.
        limit: How many differences and doubts to list; all are counted.
        json: Write one JSON object.
    """
    settings = DatabaseSettings.load(os.environ)
    run_id = RunId(run) if run else None
    async with open_books(settings.database_url) as books:
        verdict = await judge_books(books, ledger=ledger, run_id=run_id, limit=limit)
    screen = Screen()
    if json:
        screen.json(verdict_record(verdict))
    else:
        _print(screen, verdict)
    for problem in verdict.problems:
        screen.complain(problem)
    return Exit.FAILED if verdict.problems else Exit.DONE


async def judge_books(
    books: Books, *, ledger: str | None, run_id: RunId | None, limit: int
) -> Verdict:
    """Return how the books stand, compared with a ledger where there is one."""
    comparison = None
    if ledger is not None:
        with Comparing(run_id=run_id, limit=limit) as comparing:
            ours = _ours(books, run_id)
            comparison = await comparing.run(ours, read_ledger(ledger), books.existing)
    doubts = Listing(states=frozenset({State.IN_DOUBT}), run_id=run_id, limit=limit)
    return Verdict(
        books=await books.reader.books(run_id),
        doubts=await books.reader.list_payouts(doubts),
        incidents=await books.reader.incidents(limit=_SHOWN_INCIDENTS) if run_id is None else [],
        comparison=comparison,
    )


async def _ours(books: Books, run_id: RunId | None) -> AsyncIterator[Paid]:
    async for entry in books.reader.paid_entries(run_id):
        yield Paid(
            originator_conversation_id=entry.originator_conversation_id,
            amount_minor=entry.amount_minor,
            receipt=entry.transaction_id,
        )


def verdict_record(verdict: Verdict) -> dict[str, object]:
    """Return the verdict as `--json` tells it."""
    books = verdict.books
    return {
        "balanced": not verdict.problems,
        "problems": list(verdict.problems),
        "received": [
            {"currency": currency, "count": number, "sum": format_amount(minor)}
            for currency, (number, minor) in sorted(books.received.items())
        ],
        "states": [state_record(one) for one in books.states],
        "archived": [state_record(one) for one in books.archived],
        "ended_without_event": books.ended_without_event,
        "events_without_end": books.events_without_end,
        "unpublished_events": books.unpublished,
        "incident_count": books.incidents,
        "incidents": [incident_record(one) for one in verdict.incidents],
        "in_doubt": [payout_record(one) for one in verdict.doubts],
        "ledger": comparison_record(verdict.comparison),
    }


def comparison_record(comparison: Comparison | None) -> dict[str, object] | None:
    """Return the comparison as `--json` tells it."""
    if comparison is None:
        return None
    return {
        "paid": comparison.theirs,
        "paid_sum": format_amount(comparison.their_minor),
        "succeeded": comparison.ours,
        "succeeded_sum": format_amount(comparison.our_minor),
        "paid_but_open": comparison.open_count,
        "paid_but_open_sum": format_amount(comparison.open_minor),
        "difference_count": comparison.difference_count,
        "differences": [
            {
                "kind": one.kind.value,
                "originator_conversation_id": one.originator_conversation_id,
                "detail": one.detail,
            }
            for one in comparison.differences
        ],
    }


def _print(screen: Screen, verdict: Verdict) -> None:
    books = verdict.books
    screen.show(states_table(books.states))
    screen.line()
    open_count = number_in(books.states, OPEN)
    screen.line(
        f"{count(number_in(books.states))} received = {_number(books, State.SUCCEEDED)} succeeded"
        f" + {_number(books, State.FAILED)} failed + {count(open_count)} open"
    )
    if books.archived:
        screen.line(f"{count(number_in(books.archived))} of these are in the archive")
    screen.line(f"{plural(books.unpublished, 'event')} not published yet")
    if verdict.comparison is not None:
        screen.line()
        print_comparison(screen, verdict.comparison)
    if verdict.doubts:
        screen.line()
        screen.line("In doubt", style="bold yellow")
        rows = (
            (
                one.payout_id,
                money(one.amount_minor, one.currency),
                moment(one.doubt_since),
                f"{one.reason.code} {one.reason.klass}" if one.reason else "",
                moment(one.next_action_at) or "a person",
            )
            for one in verdict.doubts
        )
        screen.show(table(("payout", "amount", "since", "reason", "asked next"), rows))
    if verdict.incidents:
        screen.line()
        screen.line(f"Incidents ({count(books.incidents)})", style="bold red")
        lines = (
            (moment(one.at), one.kind.value, one.payout_id or "", hide_numbers(one.detail))
            for one in verdict.incidents
        )
        screen.show(table(("at", "kind", "payout", "detail"), lines))
    if not verdict.problems:
        screen.line()
        screen.show(Text("The books balance.", style="bold green"))


def _number(books: BookTotals, state: State) -> str:
    return count(number_in(books.states, {state}))


def print_comparison(screen: Screen, comparison: Comparison) -> None:
    """Write both sides next to each other, and each kept difference."""
    rows = [
        ("paid by their ledger", count(comparison.theirs), money(comparison.their_minor)),
        ("succeeded here", count(comparison.ours), money(comparison.our_minor)),
    ]
    if comparison.open_count:
        told = (count(comparison.open_count), money(comparison.open_minor))
        rows.append(("paid, and not ended here yet", *told))
    rows.append(("differences", count(comparison.difference_count), ""))
    screen.show(table(("books", "payouts", "sum"), rows, right=("payouts", "sum")))
    if comparison.differences:
        screen.line()
        kept = (
            (one.kind.value, one.originator_conversation_id, one.detail)
            for one in comparison.differences
        )
        screen.show(table(("difference", "originator id", "detail"), kept))
    rest = comparison.difference_count - len(comparison.differences)
    if rest:
        screen.line(f"and {count(rest)} more; --limit shows more of them.")
