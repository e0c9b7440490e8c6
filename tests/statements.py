"""Organisation statements for tests, made of the simulator's ledger as the portal would export it.

Shares no code with the product.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from typing import Any

import aiohttp

NAIROBI = timezone(timedelta(hours=3))
HEADER = (
    "Receipt No.",
    "Completion Time",
    "Initiation Time",
    "Details",
    "Transaction Status",
    "Paid In",
    "Withdrawn",
    "Balance",
    "Balance Confirmed",
    "Reason Type",
    "Other Party Info",
    "Linked Transaction ID",
    "A/C No.",
)
REASONS = {
    "BusinessPayment": "Business Payment to Customer via API",
    "SalaryPayment": "Salary Payment to Customer via API",
    "PromotionPayment": "Promotion Payment to Customer via API",
    "SalaryPaymentWithWithdrawalChargePaid": "Salary Payment with Withdrawal Charge Paid via API",
    "BusinessPaymentWithWithdrawalChargePaid": "Business Payment with Withdrawal Charge Paid",
}


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One line of a statement; amounts are texts such as `12.50`, always above 0."""

    receipt: str
    at: datetime
    amount: str
    details: str = "Business Payment"
    status: str = "Completed"
    paid_in: bool = False
    reason: str = REASONS["BusinessPayment"]
    party: str = ""
    linked: str = ""

    def cells(self) -> tuple[str, ...]:
        """Gives the cells as the portal writes them."""
        moment = self.at.astimezone(NAIROBI).strftime("%d-%m-%Y %H:%M:%S")
        units, cents = self.amount.split(".")
        grouped = f"{int(units):,}.{cents}"
        money_in, money_out = (grouped, "") if self.paid_in else ("", f"-{grouped}")
        return (
            self.receipt,
            moment,
            moment,
            self.details,
            self.status,
            money_in,
            money_out,
            "1,000,000.00",
            "true",
            self.reason,
            self.party,
            self.linked,
            "",
        )


@dataclass(frozen=True, kw_only=True)
class Statement:
    """A statement that a test can change before it is written."""

    entries: tuple[Entry, ...]
    preamble: tuple[str, ...] = ("Organization Name:,Twiga Tea", "Short Code:,600000", "")
    delimiter: str = ","
    encoding: str = "utf-8"
    header: Sequence[str] = field(default=HEADER)

    def text(self) -> str:
        """Gives the file's text, newest first as the portal exports it."""
        out = io.StringIO()
        out.writelines(f"{line}\r\n" for line in self.preamble)
        writer = csv.writer(out, delimiter=self.delimiter)
        writer.writerow(self.header)
        writer.writerows(
            entry.cells() for entry in sorted(self.entries, key=lambda one: one.at, reverse=True)
        )
        return out.getvalue()

    def content(self) -> bytes:
        """Gives the file."""
        return self.text().encode(self.encoding)

    def without(self, receipt: str) -> Statement:
        """Gives it without the lines of a receipt."""
        kept = tuple(entry for entry in self.entries if entry.receipt != receipt)
        return replace(self, entries=kept)

    def changed(self, receipt: str, /, **facts: Any) -> Statement:
        """Gives it with other facts in the line of a payment."""
        entries = tuple(
            replace(entry, **facts)
            if entry.receipt == receipt and "Charge" not in entry.reason
            else entry
            for entry in self.entries
        )
        return replace(self, entries=entries)

    def plus(self, *more: Entry) -> Statement:
        """Gives it with more lines."""
        return replace(self, entries=(*self.entries, *more))


def of_ledger(payments: Iterable[Mapping[str, Any]]) -> Statement:
    """Makes the statement of a ledger: each payment, and its charge under the same receipt."""
    entries: list[Entry] = []
    for payment in payments:
        at = datetime.fromisoformat(payment["paid_at"])
        own_id, number = payment["originator_conversation_id"], payment["msisdn"]
        party = f"{number} - JUMA OTIENO"
        reason = REASONS[payment["command_id"]]
        paid = Entry(
            receipt=payment["receipt"],
            at=at,
            amount=payment["amount"],
            details=f"{reason} to {party}. Original conversation ID is {own_id}.",
            reason=reason,
            party=party,
        )
        charge = Entry(
            receipt=payment["receipt"],
            at=at,
            amount="9.00",
            details="Business Payment Charge",
            reason="Business Payment Charge",
            linked=payment["receipt"],
        )
        entries += [paid, charge]
    return Statement(entries=tuple(entries))


async def ledger_at(address: str) -> list[dict[str, Any]]:
    """Fetches the ledger of a simulator at `http://host:port`."""
    timeout = aiohttp.ClientTimeout(total=30)
    async with (
        aiohttp.ClientSession(timeout=timeout) as session,
        session.get(f"{address}/simulator/ledger") as answer,
    ):
        answer.raise_for_status()
        return [json.loads(line) async for line in answer.content]
