"""`payouts accounts`: whether a paying account sends, and what waits for it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from rich.text import Text

from ops.cli.configured import configured_accounts
from ops.cli.exits import Exit
from ops.cli.links import open_books
from ops.cli.orders.sums import told
from ops.cli.records import Record, account_record
from ops.cli.screen import Screen, table
from ops.cli.words import money, plural, relative
from payouts.domain.values import AccountName, format_amount
from payouts.ports import AccountStatus
from payouts.settings import DatabaseSettings
from payouts.storage.oversight import OpenTotal


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """An account as the books and the configuration know it."""

    status: AccountStatus
    configured: bool
    open: Sequence[OpenTotal]


async def accounts(*, json: bool = False) -> Exit:
    """Print how each account stands: paused or cut off, refusals, pace, balance, open payouts.

    Accounts that are not configured here are told as well while payouts of theirs are open:
    where no worker serves one, nobody sends or asks about these.

    Args:
        json: Write a JSON array.
    """
    names = configured_accounts()
    settings = DatabaseSettings.load(os.environ)
    async with open_books(settings.database_url) as books:
        totals = await books.oversight.open_by_account()
        wanted = sorted({*names, *(total.account for total in totals)})
        found = await books.statuses(wanted)
        now = books.clock.now()
    standings = [
        Standing(
            status=found[name],
            configured=name in names,
            open=[total for total in totals if total.account == name],
        )
        for name in wanted
    ]
    screen = Screen()
    if json:
        screen.json([_record(one) for one in standings])
        return Exit.DONE
    columns = ("account", "sends", "open", "refusals in a row", "pace", "utility balance", "why")
    screen.show(
        table(
            columns,
            (_row(one, now) for one in standings),
            right=("refusals in a row", "utility balance"),
        )
    )
    for name in _unserved(standings):
        screen.say(
            f"Account {name} is not configured here; see that a worker serves it, or nobody"
            " sends or asks about its payouts.",
            style="yellow",
        )
    return Exit.DONE


def _unserved(standings: Iterable[Standing]) -> list[AccountName]:
    return [one.status.name for one in standings if not one.configured]


def _record(standing: Standing) -> Record:
    return {
        **account_record(standing.status),
        "configured": standing.configured,
        "open": [
            {
                "currency": total.currency,
                "count": total.count,
                "sum": format_amount(total.amount_minor),
                "held": total.held,
            }
            for total in standing.open
        ],
    }


def _row(standing: Standing, now: datetime) -> tuple[object, ...]:
    status = standing.status
    held = sum(total.held for total in standing.open)
    waiting = told({one.currency: (one.count, one.amount_minor) for one in standing.open})
    return (
        status.name if standing.configured else f"{status.name} (not configured)",
        _sends(status),
        "" if not standing.open else f"{waiting}, {held} held" if held else waiting,
        status.refusals,
        _pace(status, now),
        _balance(status, now),
        (status.paused_reason or "") if status.paused else "",
    )


def _sends(status: AccountStatus) -> Text:
    if status.paused:
        return Text("no, paused", style="bold red")
    if status.cut_off_workers:
        return Text(f"cut off from {plural(status.cut_off_workers, 'worker')}", style="bold yellow")
    return Text("yes", style="green")


def _pace(status: AccountStatus, now: datetime) -> str:
    if status.pace is None:
        return ""
    when = f", lowered {relative(status.lowered_at, now)}" if status.lowered_at else ""
    return f"{status.pace:.1f}/s{when}"


def _balance(status: AccountStatus, now: datetime) -> str:
    if status.utility_balance_minor is None:
        return ""
    when = f" ({relative(status.balance_at, now)})" if status.balance_at else ""
    return f"{money(status.utility_balance_minor)}{when}"
