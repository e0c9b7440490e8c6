"""What M-PESA truly did, as seen at its gate: the auditor's ground to stand on."""

from __future__ import annotations

from collections import defaultdict
from typing import NamedTuple


class Payment(NamedTuple):
    """Money that moved."""

    own_id: str
    amount_minor: int
    receiver: str
    receipt: str


class Truth:
    """Keeps by the id on the wire what arrived, what was paid, and what was left unpaid for good.

    `sends` counts the requests of which bytes left a process; those that neither arrived nor
    were lost are on their way.
    """

    def __init__(self) -> None:
        self.sends: defaultdict[str, int] = defaultdict(int)
        self.last_sent_s: dict[str, float] = {}
        self.arrivals: defaultdict[str, int] = defaultdict(int)
        self.payments: defaultdict[str, list[Payment]] = defaultdict(list)
        self.declined: set[str] = set()
        self.not_found: defaultdict[str, int] = defaultdict(int)

    def paid(self, own_id: str) -> bool:
        """Tell whether money moved under this id."""
        return bool(self.payments.get(own_id))

    def receipt(self, own_id: str) -> str | None:
        """Return the receipt of the payment under this id."""
        payments = self.payments.get(own_id)
        return payments[0].receipt if payments else None
