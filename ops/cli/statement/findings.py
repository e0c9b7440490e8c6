"""What came of a comparison: counts and sums of each kind, the differences themselves bounded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final


class Kind(StrEnum):
    """What a line, or a payout that no line tells of, turned out to be."""

    MATCHED = "matched"
    MISSING_HERE = "missing here"
    MISSING_THERE = "missing there"
    PAID_TWICE = "paid twice there"
    FAILED_HERE = "paid there, failed here"
    OPEN_HERE = "paid there, open here"
    REVERSED = "reversed there"
    OTHER_STATUS = "different status"
    OTHER_AMOUNT = "different amount"
    OTHER_RECEIPT = "different receipt"
    OTHER_RECEIVER = "different receiver"
    OTHER_ACCOUNT = "different account"
    SHARED = "one receipt for several payouts here"
    UNREADABLE = "unreadable line"
    CHARGE = "charge"
    INCOMING = "money in"
    ELSEWHERE = "other business"
    NOT_COMPLETED = "not completed there"
    REPEATED = "line repeated"
    EDGE = "succeeded here, at an end of the window"
    WAITING = "open here, not there"


# Told, and no difference: nothing of it contradicts the books.
AGREEING: Final = frozenset(
    {
        Kind.MATCHED,
        Kind.CHARGE,
        Kind.INCOMING,
        Kind.ELSEWHERE,
        Kind.NOT_COMPLETED,
        Kind.REPEATED,
        Kind.EDGE,
        Kind.WAITING,
    }
)
# Somebody may have been paid twice, or not have what the books say they have.
ALARMING: Final = (Kind.PAID_TWICE, Kind.FAILED_HERE, Kind.REVERSED, Kind.SHARED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line, or one payout, and what is to be said of it.

    Args:
        line: its line in the file; None for what only the books know.
        minor: the money of the line; of the payout where there is no line.
        detail: what differs, without personal data.
        command: what settles it, where one command does.
    """

    kind: Kind
    minor: int
    line: int | None = None
    payout_id: str | None = None
    receipt: str | None = None
    detail: str = ""
    command: str = ""


@dataclass(slots=True, kw_only=True)
class Tally:
    """How many, and how much money in minor units."""

    count: int = 0
    minor: int = 0

    def add(self, minor: int) -> None:
        """Count one in."""
        self.count += 1
        self.minor += minor


@dataclass(slots=True, kw_only=True)
class Findings:
    """Counts everything; keeps the first `limit` differences, and hands everything to `sink`.

    `there` is what the statement says was paid out, `here` what the books say of its time.
    """

    limit: int
    sink: Callable[[Finding], None]
    tallies: dict[Kind, Tally] = field(default_factory=dict)
    there: Tally = field(default_factory=Tally)
    here: Tally = field(default_factory=Tally)
    differences: list[Finding] = field(default_factory=list)

    def tell(self, finding: Finding) -> None:
        """Count a finding in, and keep it if it is a difference and there is room."""
        self.tallies.setdefault(finding.kind, Tally()).add(finding.minor)
        if finding.kind not in AGREEING and len(self.differences) < self.limit:
            self.differences.append(finding)
        self.sink(finding)

    def count(self, kind: Kind) -> int:
        """Return how many of a kind were found."""
        return self.tallies[kind].count if kind in self.tallies else 0

    @property
    def difference_count(self) -> int:
        """How many differences there are, kept or not."""
        return sum(one.count for kind, one in self.tallies.items() if kind not in AGREEING)
