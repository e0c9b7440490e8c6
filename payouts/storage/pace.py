"""One rate per account over all workers: evenly spaced slots, reserved from one row.

A reservation moves the row's `next_slot_at` on by k slots in one statement, for the k callers that
wait now, at most a slice's worth. Only spans of time cross the wire, so clocks need not agree.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Self

from sqlalchemy import text

from payouts.domain.errors import PayoutsError, StoreUnavailableError
from payouts.domain.signals import Signal
from payouts.domain.values import AccountName
from payouts.ports import Clock, Telemetry
from payouts.storage.engine import Database

SLICE_S: Final = 0.1
# A slot that passed longer ago than this is lost: made up for, it would be a burst.
LATE_S: Final = 0.1
_AWAY_S: Final = 0.5

# A lost commit of this row only costs the memory of slots that a crash has made past anyway;
# the row is judged after its lock is held, hence clock_timestamp().
_RESERVE: Final = text("""
INSERT INTO accounts AS a (name, next_slot_at)
VALUES (:name, clock_timestamp()
    + make_interval(secs => CAST(:slots AS integer) / CAST(:rate AS double precision)))
ON CONFLICT (name) DO UPDATE SET
    next_slot_at = greatest(a.next_slot_at, clock_timestamp())
        + make_interval(secs => CAST(:slots AS integer)
            / least(CAST(:rate AS double precision), a.pace)),
    pace = CASE WHEN a.pace + 0.05 * CAST(:rate AS double precision)
            * extract(epoch FROM clock_timestamp() - a.raised_at) < CAST(:rate AS double precision)
        THEN a.pace + 0.05 * CAST(:rate AS double precision)
            * extract(epoch FROM clock_timestamp() - a.raised_at)
        END,
    raised_at = CASE WHEN a.pace IS NOT NULL THEN clock_timestamp() END
RETURNING extract(epoch FROM a.next_slot_at - clock_timestamp())::double precision,
    least(CAST(:rate AS double precision), a.pace),
    set_config('synchronous_commit', 'off', true)
""")
_LOWER: Final = text("""
INSERT INTO accounts AS a (name, pace, lowered_at, raised_at)
VALUES (:name, greatest(CAST(:rate AS double precision) * 0.7, CAST(:floor AS double precision)),
    clock_timestamp(), clock_timestamp())
ON CONFLICT (name) DO UPDATE SET
    pace = greatest(least(a.pace, CAST(:rate AS double precision)) * 0.7,
        CAST(:floor AS double precision)),
    lowered_at = clock_timestamp(),
    raised_at = clock_timestamp()
WHERE a.lowered_at IS NULL OR a.lowered_at <= clock_timestamp() - interval '1 second'
RETURNING pace
""")


@dataclass(slots=True)
class _Lane:
    """One account's callers that wait for a slot."""

    name: AccountName
    rate: float
    waiting: deque[asyncio.Future[float]] = field(default_factory=deque)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    throttled: asyncio.Event = field(default_factory=asyncio.Event)


class PostgresPace:
    """Fulfils `Pace`. Use it as an async context; leaving it refuses whoever still waits.

    Args:
        rates: requests per second by account, over all workers; 0: no limit, and no word to
            the database.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        rates: Mapping[AccountName, float],
        telemetry: Telemetry,
    ) -> None:
        self._database = database
        self._clock = clock
        self._telemetry = telemetry
        self._lanes = {name: _Lane(name=name, rate=rate) for name, rate in rates.items() if rate}
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        for lane in self._lanes.values():
            for loop in (self._reserve_slots(lane), self._lower_when_told(lane)):
                self._tasks.append(asyncio.create_task(loop, name=f"pace-{lane.name}"))
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        for lane in self._lanes.values():
            for place in lane.waiting:
                if not place.done():
                    place.set_exception(StoreUnavailableError("(the pace is not kept any more)"))
            lane.waiting.clear()

    async def turn(self, account: AccountName) -> None:
        """Return when the next request of this account may be sent; in the order of asking.

        Raises:
            StoreUnavailableError: the pace is not kept (any more): before or after its context.
        """
        lane = self._lanes.get(account)
        if lane is None:
            return
        while True:
            if not self._tasks:
                raise StoreUnavailableError("(the pace is not kept)")
            place: asyncio.Future[float] = asyncio.get_running_loop().create_future()
            lane.waiting.append(place)
            lane.arrived.set()
            slot = await place
            ahead_s = slot - self._clock.monotonic()
            if ahead_s > 0:
                await self._clock.sleep(ahead_s)
            if self._clock.monotonic() - slot <= LATE_S:
                return

    def slow_down(self, account: AccountName) -> None:
        """Lower the account's pace for all workers, at most once a second."""
        lane = self._lanes.get(account)
        if lane is not None:
            lane.throttled.set()

    async def _reserve_slots(self, lane: _Lane) -> None:
        while True:
            await lane.arrived.wait()
            lane.arrived.clear()
            while lane.waiting:
                if lane.waiting[0].cancelled():
                    lane.waiting.popleft()
                    continue
                await self._reserve_slice(lane)

    async def _reserve_slice(self, lane: _Lane) -> None:
        """Give the first callers their slots, then rest until the last of these is near."""
        wanted = min(len(lane.waiting), max(1, int(lane.rate * SLICE_S)))
        try:
            rows = await self._database.fetch(
                _RESERVE, {"name": lane.name, "rate": lane.rate, "slots": wanted}
            )
        except PayoutsError:
            await self._clock.sleep(_AWAY_S)
            return
        until_end_s, rate = rows[0][:2]
        # What the answer took on its way makes the slots later, never earlier.
        end = self._clock.monotonic() + until_end_s
        for left in range(wanted, 0, -1):
            _give(lane.waiting, end - left / rate)
        rest_s = until_end_s - SLICE_S
        if rest_s > 0:
            await self._clock.sleep(rest_s)

    async def _lower_when_told(self, lane: _Lane) -> None:
        floor = min(lane.rate, max(lane.rate * 0.05, 1.0))
        while True:
            await lane.throttled.wait()
            lane.throttled.clear()
            try:
                rows = await self._database.fetch(
                    _LOWER, {"name": lane.name, "rate": lane.rate, "floor": floor}
                )
            except PayoutsError:
                continue
            if rows:
                self._telemetry.emit(
                    Signal.PACE_LOWERED, account=lane.name, pace=round(rows[0][0], 2)
                )


def _give(waiting: deque[asyncio.Future[float]], slot: float) -> None:
    """Hand a slot to the first caller that has not gone away."""
    while waiting:
        place = waiting.popleft()
        if not place.done():
            place.set_result(slot)
            return
