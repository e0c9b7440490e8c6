"""`payouts show`: one payout, its story, and what happens to it next."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from rich.table import Table
from rich.text import Text

from ops.cli.exits import CommandError, Exit
from ops.cli.explain import Explanation, Surroundings, explain
from ops.cli.links import Books, open_books
from ops.cli.orders.audit import print_lines
from ops.cli.records import (
    audit_record,
    explanation_record,
    incident_record,
    payout_record,
    query_record,
    timeline_record,
)
from ops.cli.screen import Screen, table
from ops.cli.words import hide_numbers, moment, money, printable
from payouts.domain.events import Event, instant
from payouts.domain.payout import Payout, State, TimelineEntry
from payouts.domain.values import PayoutId, mask_msisdn
from payouts.ports import Action, AuditEntry, Incident, Query
from payouts.settings import DatabaseSettings

STYLES = {
    State.RECEIVED: "cyan",
    State.SUBMITTING: "cyan",
    State.WAITING: "yellow",
    State.ACCEPTED: "blue",
    State.IN_DOUBT: "bold yellow",
    State.SUCCEEDED: "green",
    State.FAILED: "red",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """All that is known of one payout."""

    payout: Payout
    explanation: Explanation
    timeline: Sequence[TimelineEntry]
    queries: Sequence[Query]
    incidents: Sequence[Incident]
    events: Sequence[Event]
    submissions: Sequence[Payout]
    orders: Sequence[AuditEntry]


async def show(payout_id: str, /, *, json: bool = False) -> Exit:
    """Print a payout's facts and timeline, why it is in its state, what happens next and when.

    Args:
        payout_id: The caller's id of the payout.
        json: Write one JSON object.
    """
    settings = DatabaseSettings.load(os.environ)
    async with open_books(settings.database_url) as books:
        story = await _story(books, PayoutId(payout_id))
    screen = Screen()
    if json:
        screen.json(story_record(story))
    else:
        print_story(screen, story)
    return Exit.DONE


async def _story(books: Books, payout_id: PayoutId) -> Story:
    payout = await books.reader.payout(payout_id)
    if payout is None:
        raise CommandError(
            f"No payout has the id {payout_id}. If its command was published, it waits in its"
            " queue for a worker, or lies among the dead letters."
        )
    submissions = await books.oversight.submissions(payout_id)
    orders = await books.oversight.orders_about([one.payout_id for one in submissions])
    around = await _surroundings(books, payout, submissions, orders)
    return Story(
        payout=payout,
        explanation=explain(payout, around, books.clock.now()),
        timeline=await books.reader.timeline(payout_id),
        queries=await books.reader.queries(payout_id),
        incidents=await books.reader.incidents(payout_id),
        events=await books.reader.events(payout_id),
        submissions=submissions,
        orders=orders,
    )


async def _surroundings(
    books: Books, payout: Payout, submissions: Sequence[Payout], orders: Sequence[AuditEntry]
) -> Surroundings:
    run_paused = None
    if payout.run_id is not None and not payout.ended:
        run_paused = (await books.orders.paused_runs()).get(payout.run_id)
    resolved = [
        order.operator
        for order in orders
        if order.subject == payout.payout_id and order.action == Action.RESOLVE_NOT_PAID
    ]
    later = [one.payout_id for one in submissions if one.retry_of == payout.payout_id]
    return Surroundings(
        account=(await books.statuses([payout.account])).get(payout.account),
        run_paused=run_paused,
        later=later[0] if later else None,
        resolved_by=resolved[-1] if resolved else None,
    )


def story_record(story: Story) -> dict[str, object]:
    """Return the story as `--json` tells it."""
    return {
        **payout_record(story.payout),
        "explanation": explanation_record(story.explanation),
        "timeline": [timeline_record(entry) for entry in story.timeline],
        "queries": [query_record(query) for query in story.queries],
        "incidents": [incident_record(incident) for incident in story.incidents],
        "events": [event_record(event) for event in story.events],
        "submissions": [
            {
                "payout_id": one.payout_id,
                "retry_of": one.retry_of,
                "state": one.state.value,
                "originator_conversation_id": one.originator_conversation_id,
            }
            for one in story.submissions
        ],
        "orders": [audit_record(order) for order in story.orders],
    }


def event_record(event: Event) -> dict[str, object]:
    """Return which event was written, without its data."""
    return {"id": event.event_id, "type": event.type, "time": instant(event.time)}


def print_story(screen: Screen, story: Story) -> None:
    """Write the story for a person."""
    payout = story.payout
    screen.show(
        Text(printable(payout.payout_id), style="bold")
        .append("  ")
        .append(payout.state.value, style=STYLES[payout.state])
    )
    screen.line()
    screen.show(_facts(story))
    screen.line()
    screen.line("Timeline (UTC)", style="bold")
    if payout.archived_at is None:
        screen.show(timeline_table(story.timeline))
    else:
        screen.line("not kept: the payout was archived")
    if story.incidents:
        screen.line()
        screen.line("Incidents, for a person to look at", style="bold red")
        rows = (
            (moment(one.at), one.kind.value, _cell(one.code), _cell(one.detail))
            for one in story.incidents
        )
        screen.show(table(("at", "kind", "code", "detail"), rows))
    if story.events:
        screen.line()
        screen.line("Events", style="bold")
        events = ((moment(one.time), one.type, one.event_id) for one in story.events)
        screen.show(table(("at", "type", "id"), events))
    if len(story.submissions) > 1:
        screen.line()
        screen.line("Submissions, each under an id of its own", style="bold")
        screen.show(submissions_table(story.submissions))
    if story.orders:
        screen.line()
        screen.line("Orders of operators", style="bold")
        print_lines(screen, story.orders)


def submissions_table(submissions: Sequence[Payout]) -> Table:
    """Return one line for each time that a person had the payment submitted."""
    return table(
        ("payout", "state", "made (UTC)", "originator id"),
        (
            (
                one.payout_id,
                Text(one.state.value, style=STYLES[one.state]),
                moment(one.created_at)[:19],
                one.originator_conversation_id,
            )
            for one in submissions
        ),
    )


def _facts(story: Story) -> Table:
    payout, told = story.payout, story.explanation
    facts = {
        "what": told.meaning,
        "why": told.why,
        "next": told.next,
        "when": moment(told.at),
        "held": payout.held or "",
        "amount": money(payout.amount_minor, payout.currency),
        "receiver": mask_msisdn(payout.msisdn),
        "command": payout.command_id,
        "account": payout.account,
        "run": payout.run_id or "",
        "retry of": payout.retry_of or "",
        "attempts": str(payout.attempts),
        "queries": str(len(story.queries)) if story.queries else "",
        "not after": moment(payout.not_after),
        "sent last": moment(payout.last_sent_at),
        "conversation id": payout.conversation_id or "",
        "originator id": payout.originator_conversation_id,
        "receipt": payout.transaction_id or "",
        "archived": moment(payout.archived_at),
    }
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, text in facts.items():
        if text:
            grid.add_row(name, Text(printable(text)))
    return grid


def timeline_table(entries: Sequence[TimelineEntry]) -> Table:
    """Return the story line by line; a note that changed no state shows none."""
    columns = ("at", "who", "what", "state", "attempt", "said by", "code", "detail")
    return table(
        columns,
        (
            (
                moment(entry.at),
                entry.actor,
                entry.kind,
                _step(entry),
                str(entry.attempt),
                _cell(entry.source),
                _cell(entry.code),
                _cell(entry.detail),
            )
            for entry in entries
        ),
        right=("attempt",),
    )


def _step(entry: TimelineEntry) -> Text:
    if entry.to_state is None or entry.to_state is entry.from_state:
        return Text("")
    return Text(entry.to_state.value, style=STYLES[entry.to_state])


def _cell(value: str | None) -> str:
    return hide_numbers(value) if value else ""
