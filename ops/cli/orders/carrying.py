"""One order for several payouts: shown with count and sum, asked, carried out, told line by line.

What is shown beforehand is a look; the guards are in the database and decide each payout anew.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

from ops.cli.exits import CommandError, Exit
from ops.cli.links import Books
from ops.cli.orders.selection import Selection, must_exist
from ops.cli.orders.sums import Sums
from ops.cli.screen import Screen
from ops.cli.words import count, plural
from payouts.domain.errors import PayoutsError
from payouts.domain.payout import Payout
from payouts.domain.values import PayoutId
from payouts.ports import Carried

_TOLD_HOLDS: Final = 5

Carry = Callable[[PayoutId], Awaitable[Carried]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Errand:
    """What is to be done to each payout.

    Args:
        verb: what the question says, such as `Cancel`.
        done: what a line says of a payout that it was done to, such as `cancelled`.
        fits: whether it can probably be done, for count and sum.
        carry: does it, guarded by the database.
        asks: whether it is irreversible, so that a person has to agree.
        outlook: what happens next, said once at the end.
    """

    verb: str
    done: str
    fits: Callable[[Payout], bool]
    carry: Carry
    asks: bool
    outlook: str = ""


@dataclass(slots=True, kw_only=True)
class Survey:
    """What a look at the selected payouts has shown; `holds` counts the reasons of holds."""

    fitting: Sums = field(default_factory=Sums)
    others: int = 0
    holds: Counter[str] = field(default_factory=Counter)


async def carry_out(
    screen: Screen, books: Books, errand: Errand, selection: Selection, *, yes: bool, json: bool
) -> Exit:
    """Do the errand for each selected payout; exit 0 if all were done, 1 if some were refused.

    Raises:
        UsageError: somebody would have to agree, and nobody is there to be asked.
        CommandError: it was stopped on the way; it says how far it came.
    """
    survey = await _look(books, errand, selection)
    if selection.listing is not None and not survey.fitting.count:
        if selection.listing.run_id is not None:
            await must_exist(books.reader, selection.listing.run_id)
        screen.say(f"{selection.named}: there is nothing to {errand.verb.lower()}.")
        return Exit.DONE
    for line in _warnings(survey, selection):
        screen.say(line, style="yellow")
    if errand.asks and survey.fitting.count:
        whose = f" of {selection.named}" if selection.named else ""
        if yes:
            screen.say(f"{errand.verb}: {survey.fitting}{whose}.")
        if not screen.confirm(f"{errand.verb} {survey.fitting}{whose}?", yes=yes):
            screen.say("Nothing was done.")
            return Exit.FAILED
    return await _Carrying(screen, books, errand, json=json).run(selection)


async def _look(books: Books, errand: Errand, selection: Selection) -> Survey:
    survey = Survey()
    async for page in selection.pages(books.reader):
        for target in page:
            payout = target.payout
            if payout is None or not errand.fits(payout):
                survey.others += 1
                continue
            survey.fitting.add(payout.currency, payout.amount_minor)
            if payout.held is not None and len(survey.holds) < _TOLD_HOLDS:
                survey.holds[payout.held] += 1
    return survey


def _warnings(survey: Survey, selection: Selection) -> list[str]:
    lines = [
        f"{plural(number, 'payout')} held: {why}." for why, number in survey.holds.most_common()
    ]
    if survey.others and selection.listing is None:
        lines.append(f"{plural(survey.others, 'payout')} of those named will be refused.")
    return lines


class _Carrying:
    """Goes through the selected payouts one by one."""

    def __init__(self, screen: Screen, books: Books, errand: Errand, *, json: bool) -> None:
        self._screen = screen
        self._books = books
        self._errand = errand
        self._json = json
        self._done = 0
        self._refused = 0

    async def run(self, selection: Selection) -> Exit:
        async for page in selection.pages(self._books.reader):
            for target in page:
                if selection.listing is not None and (
                    target.payout is None or not self._errand.fits(target.payout)
                ):
                    continue
                self._tell(target.payout_id, await self._carry(target.payout_id))
        refused = f" {count(self._refused)} refused." if self._refused else ""
        self._screen.say(f"{plural(self._done, 'payout')} {self._errand.done}.{refused}")
        if self._done and self._errand.outlook:
            self._screen.say(self._errand.outlook)
        return Exit.FAILED if self._refused else Exit.DONE

    async def _carry(self, payout_id: PayoutId) -> Carried:
        try:
            return await self._errand.carry(payout_id)
        except PayoutsError as error:
            # It may have been carried out all the same: only the books can tell.
            raise CommandError(
                f"{error} {plural(self._done, 'payout')} {self._errand.done} before;"
                f" of {payout_id} it is not known: see `payouts show {payout_id}`."
            ) from None

    def _tell(self, payout_id: PayoutId, carried: Carried) -> None:
        if carried.done:
            self._done += 1
        else:
            self._refused += 1
        payout = carried.payout
        other = payout.payout_id if payout is not None and payout.payout_id != payout_id else None
        if self._json:
            self._screen.record(
                {
                    "payout_id": payout_id,
                    "done": carried.done,
                    "refusal": carried.refusal,
                    "state": None if payout is None else payout.state.value,
                    "held": None if payout is None else payout.held,
                    "submission": other,
                }
            )
            return
        if carried.done:
            made = f" as {other}" if other else ""
            self._screen.line(f"{payout_id}  {self._errand.done}{made}")
        else:
            self._screen.line(f"{payout_id}  refused: {carried.refusal}")
