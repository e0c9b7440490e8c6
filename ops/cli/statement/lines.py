"""What a line of a statement is: a payout, its charge, money that came in, or something else."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from enum import Enum
from typing import Final

from ops.cli.statement.cells import (
    conversations_in,
    instant_of,
    is_receipt,
    money_of,
    own_ids_in,
    receiver_of,
)

_LOOK: Final = 512
_OLDEST: Final = 2007  # M-PESA began then.
_CLOCKS_DIFFER: Final = timedelta(days=1)
# “Withdrawal charge paid” is a kind of payment, not a charge.
_CHARGE: Final = re.compile(r"\b(charges?|fees?|commission|tariff|tax|duty|levy)\b")
_CHARGE_PAID: Final = re.compile(r"\bcharges? paid\b")
_REVERSAL: Final = re.compile(r"\brevers(al|ed|e)\b")
_PARTY_STARTS: Final = re.compile(r"[0-9]{5,}|[0-9]+\*")
_COMPLETED: Final = frozenset(
    {"completed", "complete", "success", "successful", "succeeded", "paid", "processed"}
)


class Sort(Enum):
    """What a line is about. Only what left the account can be a payout."""

    PAYOUT = "a payment of the kind that payouts are"
    UNKNOWN = "money that left otherwise, unless its receipt is known here"
    CHARGE = "a charge"
    REVERSAL = "money that came back"
    INCOMING = "money that came in"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line, as far as it is compared; it keeps no free text and is small, whatever came.

    Args:
        number: where it begins in the file, from 1.
        at: when M-PESA completed it.
        minor: what left the account; for a reversal what came back. Never negative.
        completed: whether its status says so; a statement without that column has only such.
        own_ids: what can be our OriginatorConversationID.
        receipts: its receipt; for a reversal that of the payment which was reversed.
        receiver: the receiver's number, perhaps masked; None where it is not told.
    """

    number: int
    receipt: str
    at: datetime
    minor: int
    completed: bool
    sort: Sort
    own_ids: tuple[str, ...]
    conversation_ids: tuple[str, ...]
    receipts: tuple[str, ...]
    receiver: str | None

    def __repr__(self) -> str:
        """Name the line without its receiver."""
        return f"Line({self.number}, {self.sort.name})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """A line that nothing can be said about, and why."""

    number: int
    why: str


class LineReader:
    """Reads lines; what has no receipt and no money, such as a total's caption, is None.

    Args:
        zone: the local time of the statement.
        payments: what is found in the reason or the details of payouts.
        now: nothing can have been paid much later.
    """

    def __init__(self, zone: timezone, payments: re.Pattern[str], now: datetime) -> None:
        self._zone = zone
        self._latest = now + _CLOCKS_DIFFER
        self._payments = re.compile(payments.pattern, payments.flags | re.IGNORECASE)

    def read(self, number: int, cells: Mapping[str, str]) -> Line | Unreadable | None:
        """Return what the line tells."""
        receipt = cells.get("receipt", "")
        try:
            out, back = _money(cells)
            if not receipt and not out and not back:
                return None
            if not is_receipt(receipt):
                return Unreadable(number=number, why="the receipt cannot be read")
            at = instant_of(cells.get("completed", ""), self._zone)
            self._check(at)
        except ValueError as error:
            return Unreadable(number=number, why=str(error))
        sort = self._sort(cells, out)
        details = cells.get("details", "")
        reversal = sort is Sort.REVERSAL
        return Line(
            number=number,
            receipt=receipt,
            at=at,
            minor=back if sort in {Sort.REVERSAL, Sort.INCOMING} else out,
            completed=cells.get("status", "completed").lower() in _COMPLETED,
            sort=sort,
            own_ids=tuple(own_ids_in(f"{cells.get('originator', '')} {details}"))[:4],
            conversation_ids=tuple(conversations_in(details))[:4],
            receipts=_receipts(receipt, cells.get("linked", ""), details if reversal else ""),
            receiver=receiver_of(cells.get("party", ""), details),
        )

    def _check(self, at: datetime) -> None:
        # One such line would make the whole window wrong.
        if at.year < _OLDEST or at > self._latest:
            raise ValueError("the time cannot be right")

    def _sort(self, cells: Mapping[str, str], out: int) -> Sort:
        reason, details = cells.get("reason", "")[:_LOOK], cells.get("details", "")[:_LOOK]
        # A person may be called Levy: what comes after the number is a name.
        caption = (reason or _PARTY_STARTS.split(details, 1)[0]).lower()
        if not out:
            return Sort.REVERSAL if _REVERSAL.search(caption) else Sort.INCOMING
        if _CHARGE.search(_CHARGE_PAID.sub("", caption)):
            return Sort.CHARGE
        # A reversal of what came in, such as a customer's mistaken payment, is not ours.
        found = self._payments.search(f"{reason} {details}")
        return Sort.PAYOUT if found and not _REVERSAL.search(caption) else Sort.UNKNOWN


def _money(cells: Mapping[str, str]) -> tuple[int, int]:
    """Return what left and what came in, in minor units."""
    if "withdrawn" in cells or "paid_in" in cells:
        return abs(money_of(cells.get("withdrawn", ""))), abs(money_of(cells.get("paid_in", "")))
    return abs(money_of(cells.get("amount", ""))), 0


def _receipts(receipt: str, linked: str, details: str) -> tuple[str, ...]:
    """Return the receipts under which the books may know the payment, the line's own last."""
    if not details:
        return (receipt,)
    named = [word for word in re.findall(r"\b[A-Z0-9]{9,12}\b", details[:_LOOK]) if word != receipt]
    return tuple(dict.fromkeys([*filter(is_receipt, [linked]), *named[:2], receipt]))
