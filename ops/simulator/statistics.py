"""What happened, in numbers, and the raw messages of the latest conversations."""

from collections import Counter, OrderedDict
from dataclasses import dataclass, field
from typing import Any

from ops.simulator.books import Books
from ops.simulator.records import money

_NAMED = 100


@dataclass(slots=True)
class Callbacks:
    """Counts of one kind of callback; `sent` counts posts, repeats included."""

    sent: int = 0
    acknowledged: int = 0
    resent: int = 0
    failed: int = 0


@dataclass(slots=True)
class Statistics:
    """Counts since the start or the last reset; they are not kept over a restart."""

    requests: int = 0
    accepted: int = 0
    queued: int = 0
    expired: int = 0
    duplicates: int = 0
    malformed: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    queries: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    results: Callbacks = field(default_factory=Callbacks)
    timeouts: Callbacks = field(default_factory=Callbacks)

    def report(self, books: Books) -> dict[str, Any]:
        """Guarantees plain values for JSON, those of the books among them."""
        return {
            "requests": self.requests,
            "accepted": self.accepted,
            "queued": self.queued,
            "expired": self.expired,
            "paid": len(books.ledger),
            "sum": money(books.total),
            "failed": dict(self.failed),
            "refused": dict(self.refused),
            "duplicates": self.duplicates,
            "malformed": self.malformed,
            "results": _plain(self.results),
            "timeouts": _plain(self.timeouts),
            "queries": dict(self.queries),
            "faults": dict(self.faults),
            "double_payments": len(books.twice),
            "double_payment_ids": list(books.twice)[:_NAMED],
            "float": {code: money(cents) for code, cents in books.floats.items()},
        }


def _plain(callbacks: Callbacks) -> dict[str, int]:
    return {
        "sent": callbacks.sent,
        "acknowledged": callbacks.acknowledged,
        "resent": callbacks.resent,
        "failed": callbacks.failed,
    }


class MessageLog:
    """Guarantees the raw messages of the latest `limit` ids, in the order they passed."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._logged: OrderedDict[str, dict[str, list[bytes]]] = OrderedDict()

    def add(self, originator: str, kind: str, message: bytes) -> None:
        """Guarantees that `message` is listed; `kind` is the element that will carry it."""
        if not self._limit:
            return
        known = self._logged.get(originator)
        if known is None:
            known = self._logged[originator] = {}
            if len(self._logged) > self._limit:
                self._logged.popitem(last=False)
        known.setdefault(kind, []).append(message)

    def of(self, originator: str) -> dict[str, list[bytes]] | None:
        """Guarantees what is still logged of that id, by kind; none when nothing is."""
        return self._logged.get(originator)

    def clear(self) -> None:
        """Guarantees an empty log."""
        self._logged.clear()
