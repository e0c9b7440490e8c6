"""The rounds: sent in one go; stopped by Ctrl-C at random places; killed at random places."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from signal import SIGINT, SIGKILL, Signals
from typing import Final

from ops.bench.errors import BenchError
from ops.bench.sending.tally import Tally, take
from ops.bench.sending.tries import Bed, Order, Try, attempt
from ops.cli.sending.publish import WINDOW

INTERRUPTED: Final = 128 + SIGINT

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """How a try ended that a signal stopped: rows that were noted then, and its exit status."""

    rows: int
    status: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """What a round has shown.

    Args:
        name: what was done.
        stops: what the signals did, in order.
        last: the try that came to the end.
        missing: rows that are not in the queue.
        repeated: rows that are in it more than once.
        allowed: as many may be, by what is promised.
    """

    name: str
    stops: Sequence[Stop]
    last: Try
    missing: int
    repeated: int
    allowed: int

    @property
    def fine(self) -> bool:
        """Whether every row came, and no more came twice than may."""
        return self.missing == 0 and self.repeated <= self.allowed


async def in_one_go(bed: Bed, rows: int, tell: Tell) -> Round:
    """Send a file that nobody interrupts."""
    last = await asyncio.to_thread(attempt, bed)
    return await _round("in one go", bed, rows, (), last, tell)


async def interrupted(
    bed: Bed, rows: int, number: Signals, places: Sequence[int], tell: Tell
) -> Round:
    """Send a file with a signal at each of these rows, each time again, and at last to its end.

    Raises:
        BenchError: a try was not stopped as it should be.
    """
    stops: list[Stop] = []
    for place in places:
        stopped = await asyncio.to_thread(attempt, bed, Order(number=number, rows=place))
        noted = bed.noted()
        if not noted:
            break  # It was at its end before the signal came.
        stops.append(Stop(rows=noted[-1], status=stopped.status))
        tell(
            f"{number.name} at row {place:,}: ended with {stopped.status}, {stops[-1].rows:,} noted"
        )
        if stopped.status != (INTERRUPTED if number is SIGINT else -number):
            raise BenchError(f"It ended with {stopped.status}: {stopped.said}")
    last = await asyncio.to_thread(attempt, bed)
    return await _round(f"{number.name}, {len(stops)} times", bed, rows, stops, last, tell)


def random_places(seed: int, rows: int, count: int) -> list[int]:
    """Return so many rows, in the order of the file, at which to interrupt."""
    return sorted(Random(seed).sample(range(1, rows), count))  # noqa: S311 - not for secrets


async def _round(
    name: str, bed: Bed, rows: int, stops: Sequence[Stop], last: Try, tell: Tell
) -> Round:
    if last.status != 0:
        raise BenchError(f"{name}: it ended with {last.status}: {last.said}")
    tell(f"{name}: sent; taking {rows:,} commands out of the queue")
    tally = await take(bed.amqp_url, rows, at_least=rows)
    killed = [stop for stop in stops if stop.status == -SIGKILL]
    check_places(tally, killed)
    return Round(
        name=name,
        stops=stops,
        last=last,
        missing=tally.missing,
        repeated=len(tally.repeated),
        allowed=len(killed) * WINDOW,
    )


def check_places(tally: Tally, killed: Sequence[Stop]) -> None:
    """Raise BenchError if a row came twice that is not right behind a place of a kill."""
    for row in tally.repeated:
        if not any(stop.rows <= row < stop.rows + WINDOW for stop in killed):
            raise BenchError(f"Row {row + 1:,} came {tally.times[row]} times.")
