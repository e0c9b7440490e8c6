"""Which payouts an order is about, a page in memory at a time, however many they are."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from ops.cli.exits import CommandError, UsageError
from payouts.domain.payout import Payout
from payouts.domain.values import PayoutId, RunId
from payouts.storage.reading import Listing, PayoutsReader

PAGE: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One payout that an order is about; `payout` None: no payout has this id."""

    payout_id: PayoutId
    payout: Payout | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Payouts by id, or all that a listing finds.

    Args:
        payout_ids: these, in this order; empty: those of `listing`.
        listing: which ones otherwise.
        named: what a person calls them.
    """

    payout_ids: tuple[PayoutId, ...] = ()
    listing: Listing | None = None
    named: str = ""

    async def pages(self, reader: PayoutsReader) -> AsyncIterator[Sequence[Target]]:
        """Give what is selected, in pages."""
        if self.listing is None:
            for start in range(0, len(self.payout_ids), PAGE):
                ids = self.payout_ids[start : start + PAGE]
                found = await reader.existing(ids)
                yield [Target(payout_id=one, payout=found.get(one)) for one in ids]
            return
        last: Payout | None = None
        while True:
            page = await reader.list_payouts(replace(self.listing, limit=PAGE, after=last))
            yield [Target(payout_id=one.payout_id, payout=one) for one in page]
            if len(page) < PAGE:
                return
            last = page[-1]


def by_id(payout_ids: Sequence[str]) -> Selection:
    """Return these payouts, each once.

    Raises:
        UsageError: none is named.
    """
    if not payout_ids:
        raise UsageError("Name at least one payout.")
    return Selection(payout_ids=tuple(PayoutId(one) for one in dict.fromkeys(payout_ids)))


def by_id_or_run(payout_ids: Sequence[str], run: str | None, listing: Listing) -> Selection:
    """Return these payouts, or those of a run that the listing finds.

    Raises:
        UsageError: both are named, or neither.
    """
    if run is None:
        if not payout_ids:
            raise UsageError("Name at least one payout, or a run with --run.")
        return by_id(payout_ids)
    if payout_ids:
        raise UsageError("Name payouts or --run, not both.")
    return Selection(listing=replace(listing, run_id=RunId(run)), named=f"run {run}")


async def must_exist(reader: PayoutsReader, run_id: RunId) -> None:
    """Return if the run has a payout, so that a mistyped name is not taken for a run at rest.

    Raises:
        CommandError: no payout belongs to it.
    """
    if not await reader.list_payouts(Listing(run_id=run_id, limit=1)):
        raise CommandError(f"No payout belongs to the run {run_id}.")
