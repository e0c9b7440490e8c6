"""`payouts archive`: move what ended long ago out of the live books, and keep its ids for life."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Final

from ops.cli.exits import CommandError, Exit, UsageError
from ops.cli.listing import instant_of
from ops.cli.orders.commands import Desk, Signed, ordering
from ops.cli.orders.sums import Sums
from ops.cli.progress import progress
from ops.cli.screen import Screen
from ops.cli.words import moment
from payouts.domain.errors import PayoutsError
from payouts.domain.events import instant
from payouts.storage.retention import YOUNGEST

_OPTION: Final = "--older-than"


async def archive(*, older_than: str, signature: Signed, yes: bool = False) -> Exit:
    """Move payouts that ended long ago out of the live books into the archive, for good.

    An archived payout is still known by its ids for life: its command is recognised, a late
    Result finds it, `payouts show`, `run show`, `verify` and `reconcile` still tell of it. Its
    timeline is dropped, and `list` leaves it out. What is open, not published yet or has an
    incident stays, and so do its other submissions.

    It works in short batches beside running workers, and rests half of the time. It may be
    stopped at any time; ordered again, it goes on.

    Args:
        older_than: What ended before that: an age such as 90d, at least 1d, or an RFC 3339
            instant.
        signature: Who orders it, and why.
        yes: Do not ask.
    """
    _ended_before(older_than, datetime.now(UTC))  # A mistyped age is told before anything connects.
    screen = Screen()
    async with ordering(signature) as desk:
        before = _ended_before(older_than, desk.books.clock.now())
        asked = Sums()
        for currency, (number, minor) in (await desk.books.retention.survey(before)).items():
            asked.add_many(currency, number, minor)
        done = Sums()
        if asked.count:
            told = f"Archive {asked} that ended before {moment(before)}"
            if yes:
                screen.say(f"{told}.")
            if not screen.confirm(f"{told}?", yes=yes):
                screen.say("Nothing was done.")
                return Exit.FAILED
            await _carry_out(screen, desk, before, asked, done)
        await desk.books.retention.forget(before)
    if signature.json:
        screen.json({"ended_before": instant(before), "archived": done.records()})
    screen.say(f"{_told(done)} archived." if asked.count else "There is nothing to archive.")
    return Exit.DONE


async def _carry_out(screen: Screen, desk: Desk, before: datetime, asked: Sums, done: Sums) -> None:
    """Archive batch by batch, resting after each for as long as it took."""
    clock = desk.books.clock
    batches = desk.books.retention.archive(desk.order(), before=before, asked=asked.by_currency)
    try:
        with progress(screen, "archived", asked.count) as advance:
            began = clock.monotonic()
            async for moved in batches:
                for currency, (number, minor) in moved.items():
                    done.add_many(currency, number, minor)
                    advance(number)
                await clock.sleep(clock.monotonic() - began)
                began = clock.monotonic()
    except PayoutsError as error:
        raise CommandError(f"{error} {_told(done)} archived before; {_AGAIN}") from None
    except asyncio.CancelledError:
        screen.say(f"Stopped. {_told(done)} archived; {_AGAIN}")
        raise


_AGAIN: Final = "order it again to go on."


def _told(sums: Sums) -> str:
    return str(sums) if sums.count else "No payout"


def _ended_before(older_than: str, now: datetime) -> datetime:
    before = instant_of(_OPTION, older_than, now)
    if before is None or before > now - YOUNGEST:
        raise UsageError(f"{_OPTION} must be at least 1d ago: what is younger may be asked about.")
    return before
