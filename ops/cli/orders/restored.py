"""`payouts db restored`: what to do before anything else on a database from an older dump."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from ops.cli.configured import configured_accounts
from ops.cli.exits import Exit, UsageError
from ops.cli.links import Books
from ops.cli.listing import instant_of
from ops.cli.orders.commands import Signed, ordering
from ops.cli.orders.sums import Sums
from ops.cli.screen import Screen
from ops.cli.words import plural

_WHAT_NEXT: Final = (
    "All accounts are paused. Start the workers: they ask about every open payout, and pay"
    " nothing. When `payouts list --state in_doubt` shows only what M-PESA does not know,"
    " `payouts resume ACCOUNT` lets an account go on: that is sent then, under its own id."
)


async def restored(*, signature: Signed, ask_first: str = "7d", yes: bool = False) -> Exit:
    """Tell that this database was restored from an older dump, before workers run on it.

    Pauses all accounts and has every open payout asked about before anything is sent for it.
    M-PESA may have paid since the dump was made. The books may have lost payouts, too; commands
    that come again are asked about first for as long as --ask-first says.

    Args:
        signature: Who orders it, and why.
        ask_first: For how long what is new here is asked about first, such as 12h or 3d.
        yes: Do not ask.
    """
    now = datetime.now(UTC)
    since = instant_of("--ask-first", ask_first, now)
    ask_first_s = 0.0 if since is None else (now - since).total_seconds()
    if ask_first_s <= 0:
        raise UsageError("--ask-first must be a length of time such as 12h or 3d.")
    screen = Screen()
    names = configured_accounts()
    async with ordering(signature) as desk:
        books = desk.books
        told = f"Pause all accounts and ask about {await _open_sum(books)}"
        if yes:
            screen.say(f"{told}.")
        if not screen.confirm(f"{told}?", yes=yes):
            screen.say("Nothing was done.")
            return Exit.FAILED
        # An account that the dump does not know yet must be paused as well.
        await books.statuses(names)
        asked = await books.orders.restored(desk.order(), ask_first_s=ask_first_s)
    if signature.json:
        screen.json({"asked_about": asked, "accounts": sorted(names)})
    else:
        screen.say(f"{plural(asked, 'payout')} to be asked about. {_WHAT_NEXT}")
    return Exit.DONE


async def _open_sum(books: Books) -> Sums:
    sums = Sums()
    for total in await books.oversight.open_by_account():
        sums.add_many(total.currency, total.count, total.amount_minor)
    return sums
