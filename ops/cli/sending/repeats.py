"""Rows that look like a payout that was made lately, under another id: told, never refused."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from payouts.domain.commands import Command
from payouts.domain.values import PayoutId
from payouts.storage.oversight import Earlier, Wanted

# Each look reads all payouts of the time asked about, so few looks; no more waits for
# one than this and a batch.
PER_LOOK: Final = 100_000

Lookup = Callable[[Sequence[Wanted]], Awaitable[Mapping[PayoutId, Earlier]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeat:
    """A row and the payout that it looks like."""

    line: int
    earlier: Earlier

    def told(self, now: datetime) -> str:
        """Return what a person should know; it names no receiver."""
        one = self.earlier
        run = f" of run {one.run_id}" if one.run_id else ""
        days = max(0, (now - one.created_at).days)
        age = "today" if days == 0 else f"{days} d ago"
        return (
            f"line {self.line}: the same receiver and amount as payout {one.payout_id}{run},"
            f" made {age} ({one.state.value})."
        )


class Repeats:
    """Gathers new rows and looks for their like, many at a time.

    Args:
        lookup: gives the earlier payouts that some wanted ones look like.
        found: told each row that has one.
    """

    def __init__(self, lookup: Lookup, found: Callable[[Repeat], None]) -> None:
        self._lookup = lookup
        self._found = found
        self._lines: list[int] = []
        self._wanted: list[Wanted] = []

    async def add(self, rows: Sequence[tuple[int, Command]]) -> None:
        """Note lines and commands that would make payouts; look once enough are there."""
        self._lines += [line for line, _ in rows]
        self._wanted += [
            Wanted(one.payout_id, one.msisdn, one.amount_minor, one.currency) for _, one in rows
        ]
        if len(self._wanted) >= PER_LOOK:
            await self.finish()

    async def finish(self) -> None:
        """Look for what has been gathered."""
        wanted, lines = self._wanted, self._lines
        self._wanted, self._lines = [], []
        if not wanted or not (found := await self._lookup(wanted)):
            return
        for one, line in zip(wanted, lines, strict=True):
            if (earlier := found.get(one.payout_id)) is not None:
                self._found(Repeat(line=line, earlier=earlier))
