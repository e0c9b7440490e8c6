"""`payouts accounts`, `pause`, `resume`: whether a paying account sends."""

from __future__ import annotations

import getpass
import os
from datetime import UTC, datetime

from rich.text import Text

from ops.cli.exits import Exit, UsageError
from ops.cli.links import Books, open_books
from ops.cli.records import account_record
from ops.cli.screen import Screen, table
from ops.cli.words import money, plural
from payouts.domain.payout import State
from payouts.domain.values import AccountName
from payouts.ports import AccountStatus
from payouts.settings import DatabaseSettings
from payouts.settings.loading import Loading
from payouts.storage.reading import MAX_LISTED, Listing

_HELD = frozenset({State.RECEIVED, State.WAITING})


async def accounts(*, json: bool = False) -> Exit:
    """Print how each configured account stands: paused or not, refusals, pace, balance.

    Args:
        json: Write a JSON array.
    """
    names = _configured()
    settings = DatabaseSettings.load(os.environ)
    async with open_books(settings.database_url) as books:
        found = await books.statuses(names)
    statuses = [found[name] for name in sorted(names)]
    screen = Screen()
    if json:
        screen.json([account_record(status) for status in statuses])
        return Exit.DONE
    columns = ("account", "sends", "refusals in a row", "pace", "utility balance", "why")
    screen.show(table(columns, map(_row, statuses), right=("refusals in a row", "utility balance")))
    return Exit.DONE


async def pause(account: str, /, *, reason: str, json: bool = False) -> Exit:
    """Stop an account: nothing more is sent from it until it is resumed.

    Workers heed it within seconds. What is on its way goes on; new commands are taken in and
    wait. Results are taken as ever.

    Args:
        account: The account's name.
        reason: Why; everybody who looks sees it.
        json: Write one JSON object.
    """
    return await _set(account, paused=True, reason=reason, json=json)


async def resume(account: str, /, *, reason: str, yes: bool = False, json: bool = False) -> Exit:
    """Let a paused account send again, what waits first; the refusals are forgotten.

    Args:
        account: The account's name.
        reason: Why it may go on.
        yes: Do not ask.
        json: Write one JSON object.
    """
    return await _set(account, paused=False, reason=reason, yes=yes, json=json)


async def _set(account: str, *, paused: bool, reason: str, json: bool, yes: bool = True) -> Exit:
    name = AccountName(account)
    known = _configured()
    if name not in known:
        raise UsageError(f"No account {account} is configured; known: {', '.join(sorted(known))}.")
    if not reason.strip():
        raise UsageError("--reason must say why.")
    settings = DatabaseSettings.load(os.environ)
    screen = Screen()
    async with open_books(settings.database_url) as books:
        if not paused and not await _agreed(screen, books, name, yes=yes):
            screen.say(f"Account {name} stays as it is.")
            return Exit.FAILED
        status = await books.accounts.set_paused(
            name, paused=paused, reason=f"{reason.strip()} ({_who()})", at=datetime.now(UTC)
        )
    if json:
        screen.json(account_record(status))
    else:
        screen.say(f"Account {name} {'is paused' if status.paused else 'sends again'}.")
    return Exit.DONE


async def _agreed(screen: Screen, books: Books, name: AccountName, *, yes: bool) -> bool:
    sums = await _held(books, name)
    told = " and ".join(
        f"{plural(number, 'payout')}, {money(minor, currency)}"
        for currency, (number, minor) in sorted(sums.items())
    )
    question = f"Resume account {name}? Waiting to be sent: {told or 'nothing'}."
    if yes:
        screen.say(f"Waiting to be sent: {told or 'nothing'}.")
    return screen.confirm(question, yes=yes)


async def _held(books: Books, name: AccountName) -> dict[str, tuple[int, int]]:
    """Return count and sum of what waits to be sent, by currency, a page in memory at a time."""
    sums: dict[str, tuple[int, int]] = {}
    last = None
    while True:
        listing = Listing(states=_HELD, account=name, limit=MAX_LISTED, after=last)
        page = await books.reader.list_payouts(listing)
        for payout in page:
            number, minor = sums.get(payout.currency, (0, 0))
            sums[payout.currency] = (number + 1, minor + payout.amount_minor)
        if len(page) < MAX_LISTED:
            return sums
        last = page[-1]


def _configured() -> tuple[AccountName, ...]:
    loading = Loading(os.environ)
    names = loading.account_names()
    loading.finish()
    return names


def _who() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown user"


def _row(status: AccountStatus) -> tuple[object, ...]:
    balance = status.utility_balance_minor
    return (
        status.name,
        Text("no, paused", style="bold red") if status.paused else Text("yes", style="green"),
        status.refusals,
        f"{status.pace:g}/s" if status.pace else "",
        "" if balance is None else money(balance),
        (status.paused_reason or "") if status.paused else "",
    )
