"""Which dead letters are meant, and a look for them in bounded memory."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Final

from cyclopts import Parameter
from cyclopts.validators import Number

from ops.cli.exits import UsageError
from payouts.messaging.dead_letter_queue import DeadLetter, OpenedDeadLetters

MAX_CHOSEN: Final = 10_000
# What is looked at stays with RabbitMQ until the look ends, unacknowledged.
MAX_LOOKED_AT: Final = 100_000

Limit = Annotated[int, Parameter(validator=Number(gte=1, lte=MAX_CHOSEN))]


class Why(StrEnum):
    """Why a command was put aside."""

    INVALID = "invalid"
    CONFLICT = "conflict"
    POISON = "poison"


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """Which dead letters are meant.

    Args:
        why: Only what was put aside for this reason.
        payout_id: Only those whose command names this payout.
        limit: How many at most.
    """

    why: Why | None = None
    payout_id: str | None = None
    limit: Limit = 100

    @property
    def narrow(self) -> bool:
        """Tell whether anything is said that leaves some out."""
        return self.why is not None or self.payout_id is not None

    def fits(self, letter: DeadLetter) -> bool:
        """Tell whether this one is meant."""
        return (self.why is None or letter.reason == self.why) and (
            self.payout_id is None or letter.payout_id == self.payout_id
        )


@dataclass(slots=True, kw_only=True)
class Look:
    """One look through the queue; `cut` tells that there is more than was looked at."""

    filters: Filters
    digests: frozenset[str] = field(default_factory=frozenset)
    chosen: int = 0
    looked_at: int = 0

    @property
    def cut(self) -> bool:
        """Tell whether a bound ended the look."""
        return self.chosen >= self.filters.limit or self.looked_at >= MAX_LOOKED_AT

    async def letters(self, opened: OpenedDeadLetters) -> AsyncIterator[DeadLetter]:
        """Give the dead letters that are meant, from the front, one in memory at a time."""
        async for letter in opened.letters(at_most=MAX_LOOKED_AT):
            self.looked_at += 1
            if (self.digests and letter.digest not in self.digests) or not self.filters.fits(
                letter
            ):
                continue
            self.chosen += 1
            yield letter
            if self.cut:
                return


def chosen(digests: tuple[str, ...], filters: Filters, *, everything: bool) -> Look:
    """Return a look for what a person has named, who must have named something.

    Raises:
        UsageError: nothing is named, or --all next to something.
    """
    narrow = bool(digests) or filters.narrow
    if everything and narrow:
        raise UsageError("--all goes alone.")
    if not everything and not narrow:
        raise UsageError("Name dead letters by id, --why or --payout-id, or say --all.")
    return Look(filters=filters, digests=frozenset(digests))
