"""`payouts list`: payouts by state, run, account and age."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

from cyclopts import Parameter
from cyclopts.validators import Number
from rich.text import Text

from ops.cli.exits import Exit, UsageError
from ops.cli.links import open_books
from ops.cli.records import payout_record
from ops.cli.screen import Screen, table
from ops.cli.show import STYLES
from ops.cli.words import duration, moment, money
from payouts.domain.payout import Payout, State
from payouts.domain.values import AccountName, RunId, mask_msisdn
from payouts.settings import DatabaseSettings
from payouts.storage.reading import MAX_LISTED, Listing

_AGE: Final = re.compile(r"(\d{1,9})\s*([smhd])")
_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}

# The choices are told as the contract spells them: in_doubt.
States = Annotated[list[State], Parameter(name="--state", name_transform=str.lower)]
Limit = Annotated[int, Parameter(validator=Number(gte=1, lte=MAX_LISTED))]


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """Which payouts to print.

    Args:
        state: Only these states; say it several times for several.
        run: Only this run.
        account: Only this paying account.
        older_than: Only what was made before that: an age such as 90s, 15m, 2h or 7d, or an
            RFC 3339 instant.
        newer_than: Only what was made since then; as before.
        held: Only what is held.
        limit: How many at most.
    """

    state: States = field(default_factory=list)
    run: str | None = None
    account: str | None = None
    older_than: str | None = None
    newer_than: str | None = None
    held: bool = False
    limit: Limit = 100

    def listing(self, now: datetime) -> Listing:
        """Return what the database is asked for."""
        return Listing(
            states=frozenset(self.state),
            run_id=RunId(self.run) if self.run else None,
            account=AccountName(self.account) if self.account else None,
            older_than=instant_of("--older-than", self.older_than, now),
            newer_than=instant_of("--newer-than", self.newer_than, now),
            held=self.held,
            limit=self.limit,
        )


async def list_payouts(
    *, filters: Annotated[Filters | None, Parameter(name="*")] = None, json: bool = False
) -> Exit:
    """Print payouts, newest first. What has been archived is not listed; `payouts show` finds it.

    Args:
        filters: Which payouts to print.
        json: Write a JSON array.
    """
    wanted = filters or Filters()
    wanted.listing(datetime.now(UTC))  # A mistyped age is told before anything connects.
    settings = DatabaseSettings.load(os.environ)
    async with open_books(settings.database_url) as books:
        now = books.clock.now()
        listing = wanted.listing(now)
        found = await books.reader.list_payouts(listing)
    screen = Screen()
    if json:
        screen.json([payout_record(payout) for payout in found])
    else:
        _print(screen, found, now)
    if len(found) == listing.limit:
        screen.say(f"There may be more; --limit shows up to {MAX_LISTED}.")
    return Exit.DONE


def instant_of(option: str, text: str | None, now: datetime) -> datetime | None:
    """Return the instant that an age or an RFC 3339 text means.

    Raises:
        UsageError: it is neither.
    """
    if text is None:
        return None
    found = _AGE.fullmatch(text.strip())
    try:
        if found is not None:
            return now - timedelta(seconds=int(found[1]) * _UNITS[found[2]])
        instant = datetime.fromisoformat(text.strip())
    except (ValueError, OverflowError):
        instant = None
    if instant is None or instant.tzinfo is None:
        raise UsageError(
            f"{option} must be an age such as 90s, 15m, 2h or 7d, or an instant such as"
            " 2026-11-30T17:00:00+03:00."
        )
    return instant.astimezone(UTC)


def _print(screen: Screen, found: Sequence[Payout], now: datetime) -> None:
    columns = ("payout", "state", "amount", "receiver", "made (UTC)", "age", "run", "reason")
    screen.show(
        table(
            columns,
            (
                (
                    payout.payout_id,
                    Text(payout.state.value, style=STYLES[payout.state]),
                    money(payout.amount_minor, payout.currency),
                    mask_msisdn(payout.msisdn),
                    moment(payout.created_at)[:19],
                    duration((now - payout.created_at).total_seconds()),
                    payout.run_id or "",
                    _why(payout),
                )
                for payout in found
            ),
            right=("amount",),
        )
    )


def _why(payout: Payout) -> str:
    if payout.held is not None:
        return f"held: {payout.held}"
    return f"{payout.reason.code} {payout.reason.klass}" if payout.reason else ""
