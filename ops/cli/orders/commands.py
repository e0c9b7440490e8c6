"""`payouts retry`, `cancel`, `resolve`, `hold`, `release`, `events republish`."""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated

from cyclopts import Parameter

from ops.cli.exits import Exit, UsageError
from ops.cli.links import Books, open_books
from ops.cli.orders.carrying import Errand, carry_out
from ops.cli.orders.selection import by_id, by_id_or_run
from ops.cli.orders.signature import Sign, Signature
from ops.cli.screen import Screen
from payouts.domain.payout import ENDED, OPEN, Payout, State
from payouts.ports import Order
from payouts.settings import OrderSettings
from payouts.storage.reading import Listing

Signed = Annotated[Signature, Parameter(name="*")]

UNSENT = frozenset({State.RECEIVED, State.WAITING})
# A receipt as M-PESA makes them; a test's may be longer.
RECEIPT = re.compile(r"[A-Za-z0-9._-]{1,32}")
_PROOF = ("--reason", "--evidence")


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """Where orders are given: the books, and who gives them."""

    books: Books
    sign: Sign
    settings: OrderSettings

    def order(self) -> Order:
        """Return the head of an order that is given now, by the database's time of day.

        A machine whose clock is ahead must not take a fresh send for an old one.
        """
        return self.sign(self.books.clock.now())


@asynccontextmanager
async def ordering(signature: Signature) -> AsyncIterator[Desk]:
    """Give the books and who signs; nobody's order opens nothing.

    Raises:
        UsageError: nobody is named, or no reason is given.
    """
    signature.check()
    settings = OrderSettings.load(os.environ)
    sign = signature.signed(settings.operator)
    async with open_books(settings.database_url) as books:
        yield Desk(books=books, sign=sign, settings=settings)


async def retry(*payout_ids: str, signature: Signed, yes: bool = False) -> Exit:
    """Pay again what has conclusively failed: a second submission, with an id of its own.

    Refused unless the payout has failed, is the last submission, and nothing contradicts its
    end. One that failed by an operator's word needs another operator.

    Args:
        payout_ids: The payouts.
        signature: Who orders it, and why.
        yes: Do not ask.
    """
    selection = by_id(payout_ids)
    async with ordering(signature) as desk:
        errand = Errand(
            verb="Pay again",
            done="submitted again",
            fits=lambda payout: payout.state is State.FAILED and payout.archived_at is None,
            carry=lambda one: desk.books.orders.retry(one, desk.order()),
            asks=True,
        )
        return await carry_out(
            Screen(), desk.books, errand, selection, yes=yes, json=signature.json
        )


async def cancel(
    *payout_ids: str, run: str | None = None, signature: Signed, yes: bool = False
) -> Exit:
    """End payouts of which nothing is on its way: they fail, and nothing is sent for them.

    What is on its way cannot be called back: `payouts hold` stops what would follow.

    Args:
        payout_ids: The payouts.
        run: All payouts of this run that can be cancelled.
        signature: Who orders it, and why.
        yes: Do not ask.
    """
    selection = by_id_or_run(payout_ids, run, Listing(states=UNSENT))
    async with ordering(signature) as desk:
        errand = Errand(
            verb="Cancel",
            done="cancelled",
            fits=lambda payout: payout.state in UNSENT,
            carry=lambda one: desk.books.orders.cancel(one, desk.order()),
            asks=True,
        )
        return await carry_out(
            Screen(), desk.books, errand, selection, yes=yes, json=signature.json
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """How a payout in doubt has ended; one of the two.

    Args:
        paid: It was paid: the receipt, such as SKU7X1Y2Z3.
        not_paid: It was not paid. To pay it again takes `payouts retry` by another operator.
    """

    paid: str | None = None
    not_paid: bool = False

    def receipt(self) -> str | None:
        """Return the receipt of what was paid; None: it was not.

        Raises:
            UsageError: neither is said, or both.
        """
        if (self.paid is None) is not self.not_paid:
            raise UsageError("Say one of --paid RECEIPT and --not-paid.")
        if self.paid is None:
            return None
        receipt = self.paid.strip()
        if not RECEIPT.fullmatch(receipt):
            raise UsageError("--paid needs the receipt: letters and digits, such as SKU7X1Y2Z3.")
        return receipt


@dataclass(frozen=True, slots=True, kw_only=True)
class Testimony:
    """Who says so, and how it is known.

    Args:
        reason: Where that was seen, and by whom; it stands in the audit for good.
        operator: Who; by default PAYOUTS_OPERATOR, else the login name.
        json: Write for programs.
    """

    reason: Annotated[str, Parameter(name=_PROOF)]
    operator: str | None = None
    json: bool = False


async def resolve(
    payout_id: str,
    /,
    *,
    verdict: Annotated[Verdict | None, Parameter(name="*")] = None,
    testimony: Annotated[Testimony, Parameter(name="*")],
    yes: bool = False,
) -> Exit:
    """End a payout in doubt by what a person has found out, such as in the M-PESA portal.

    Args:
        payout_id: The payout.
        verdict: How it has ended.
        testimony: Who says so, and how it is known.
        yes: Do not ask.
    """
    receipt = (verdict or Verdict()).receipt()
    signature = Signature(reason=testimony.reason, operator=testimony.operator, json=testimony.json)
    json = testimony.json
    async with ordering(signature) as desk:
        orders = desk.books.orders
        errand = Errand(
            verb=f"Declare as paid with receipt {receipt}" if receipt else "Declare as not paid",
            done="succeeded" if receipt else "failed",
            fits=lambda payout: payout.state is State.IN_DOUBT,
            carry=(
                (lambda one: orders.resolve_paid(one, receipt, desk.order()))
                if receipt
                else (
                    lambda one: orders.resolve_not_paid(
                        one, desk.order(), settled_s=desk.settings.resolve_after_s
                    )
                )
            ),
            asks=True,
        )
        return await carry_out(Screen(), desk.books, errand, by_id([payout_id]), yes=yes, json=json)


async def hold(*payout_ids: str, run: str | None = None, signature: Signed) -> Exit:
    """Send nothing (more) for open payouts until they are released.

    What is on its way goes on, and may pay; Results are taken and questions asked as ever.
    `payouts pause --run` also holds what is still to come of a run.

    Args:
        payout_ids: The payouts.
        run: All open payouts of this run.
        signature: Who orders it, and why.
    """
    selection = by_id_or_run(payout_ids, run, Listing(states=OPEN))
    async with ordering(signature) as desk:
        errand = Errand(
            verb="Hold",
            done="held",
            fits=lambda payout: not payout.ended and payout.held is None,
            carry=lambda one: desk.books.orders.hold(one, desk.order()),
            asks=False,
        )
        return await carry_out(
            Screen(), desk.books, errand, selection, yes=True, json=signature.json
        )


async def release(
    *payout_ids: str, run: str | None = None, signature: Signed, yes: bool = False
) -> Exit:
    """Let held payouts go on: what waits to be sent is sent.

    Args:
        payout_ids: The payouts.
        run: All held payouts of this run.
        signature: Who orders it, and why.
        yes: Do not ask.
    """
    selection = by_id_or_run(payout_ids, run, Listing(states=OPEN, held=True))
    async with ordering(signature) as desk:
        errand = Errand(
            verb="Release",
            done="released",
            fits=_is_held,
            carry=lambda one: desk.books.orders.release(one, desk.order()),
            asks=True,
        )
        return await carry_out(
            Screen(), desk.books, errand, selection, yes=yes, json=signature.json
        )


async def republish(*payout_ids: str, run: str | None = None, signature: Signed) -> Exit:
    """Have the completion events of ended payouts published again, with the same ids.

    Consumers that keep to the event's id do nothing twice. A running worker or callback server
    publishes them within seconds.

    Args:
        payout_ids: The payouts.
        run: All ended payouts of this run.
        signature: Who orders it, and why.
    """
    selection = by_id_or_run(payout_ids, run, Listing(states=ENDED))
    async with ordering(signature) as desk:
        errand = Errand(
            verb="Publish again the events of",
            done="to be published again",
            fits=lambda payout: payout.ended,
            carry=lambda one: desk.books.orders.republish(one, desk.order()),
            asks=False,
        )
        return await carry_out(
            Screen(), desk.books, errand, selection, yes=True, json=signature.json
        )


def _is_held(payout: Payout) -> bool:
    return not payout.ended and payout.held is not None
