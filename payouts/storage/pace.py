"""One rate per account over all workers: evenly spaced slots, reserved from one row.

A reservation moves the row's `next_slot_at` on by k slots in one statement, for the k callers that
wait now, at most a slice's worth. A caller gets its turn shortly before its slot, so that its
intent is durable by then, and its request leaves at the slot. Clocks need not agree: how far the
database's is ahead of ours is learned from every answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from typing import Final, Self

from payouts.domain.errors import PayoutsError, StoreUnavailableError
from payouts.domain.signals import Signal
from payouts.domain.values import AccountName
from payouts.ports import Clock, Telemetry
from payouts.storage.engine import Database
from payouts.storage.reservations import Reservations
from payouts.storage.slots import LATEST_S, SLICE_S, Difference, Lane
from payouts.storage.throttles import Observed

LEAVE_WITHIN_S: Final = 10.0
_SURE_S: Final = 0.002
_LOOKS: Final = 5
_LOOK_EVERY_S: Final = 1.0
_AWAY_S: Final = 0.5


class PostgresPace:
    """Fulfils `Pace`. Use it as an async context; leaving it refuses whoever still waits.

    Args:
        limits: requests per second by account, over all workers; 0: no limit but the one that
            the gateway's throttling teaches.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        limits: Mapping[AccountName, float],
        telemetry: Telemetry,
    ) -> None:
        self._reservations = Reservations(database)
        self._clock = clock
        self._telemetry = telemetry
        self._difference = Difference()
        self._sure_until = 0.0
        self._lanes = {name: Lane(name, limit) for name, limit in limits.items()}
        self._observed = {name: Observed() for name, limit in limits.items() if not limit}
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        for lane in self._lanes.values():
            for loop in self._loops(lane):
                self._tasks.append(asyncio.create_task(loop, name=f"pace-{lane.name}"))
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        for lane in self._lanes.values():
            lane.refuse(StoreUnavailableError("(the pace is not kept any more)"))

    async def turn(self, account: AccountName) -> None:
        """Return when a request of this account may be prepared, in the order of asking.

        That is shortly before its slot; `leave` waits for the slot itself.

        Raises:
            StoreUnavailableError: the pace is not kept (any more): before or after its context.
        """
        lane = self._lanes.get(account)
        while lane is not None and not lane.is_open:
            self._check_kept()
            slot = await lane.wait_for_turn()
            if slot is None or self._clock.monotonic() - slot.at <= LATEST_S:
                return

    async def leave(self, account: AccountName) -> bool:
        """Return at a slot, which is then used up: the request has to leave in the same step.

        It takes the next slot that a turn was given for, or waits for one of its own. Returns
        False where it is not to leave: the pace is not kept, or no slot came within
        LEAVE_WITHIN_S, as while the database is away.
        """
        lane = self._lanes.get(account)
        if lane is None:
            return True
        if account in self._observed:
            self._observed[account].sent(self._clock.monotonic())
        if lane.is_open:
            return True
        try:
            async with asyncio.timeout(LEAVE_WITHIN_S):
                await self._slot_of(lane)
        except (TimeoutError, StoreUnavailableError):
            return False
        return True

    def slow_down(self, account: AccountName) -> None:
        """Lower the account's pace for all workers, at most once a second."""
        lane, observed = self._lanes.get(account), self._observed.get(account)
        if lane is not None and (observed is None or observed.throttled(self._clock.monotonic())):
            lane.throttled.set()

    def _loops(self, lane: Lane) -> list[Coroutine[None, None, None]]:
        loops = [
            self._reserve_slots(lane),
            self._give_turns(lane),
            self._move_on(lane),
            self._lower_when_told(lane),
        ]
        if lane.spacing is None:
            loops.append(self._look_for_learned(lane))
        return loops

    def _check_kept(self) -> None:
        if not self._tasks:
            raise StoreUnavailableError("(the pace is not kept)")

    async def _until(self, instant: float) -> None:
        ahead_s = instant - self._clock.monotonic()
        if ahead_s > 0:
            await self._clock.sleep(ahead_s)

    async def _slot_of(self, lane: Lane) -> None:
        while not lane.is_open:
            self._check_kept()
            slot = lane.take(self._clock.monotonic())
            if slot is None:
                slot = await lane.wait_to_leave()
            if slot is None:
                return
            await self._until(slot.at)
            now = self._clock.monotonic()
            if now - slot.at <= LATEST_S:
                lane.left(slot, now)
                return

    async def _reserve_slots(self, lane: Lane) -> None:
        while True:
            await lane.arrived.wait()
            lane.arrived.clear()
            end = 0.0
            while wanted := lane.wanted():
                # As many as go into a slice, and what slow answers have left open before it.
                open_s = lane.lead_s + SLICE_S * 2 - max(end - self._clock.monotonic(), 0.0)
                slots = min(wanted, max(1, int(lane.rate * open_s)))
                end = await self._reserve(lane, slots)
                await self._until(end - lane.lead_s - SLICE_S)

    async def _give_turns(self, lane: Lane) -> None:
        while True:
            await lane.turns_due.wait()
            lane.turns_due.clear()
            while (at := lane.next_turns_at()) is not None:
                await self._until(at)
                lane.give_turns(self._clock.monotonic())

    async def _move_on(self, lane: Lane) -> None:
        """Move slots on at once where requests were late, before those of the next second go."""
        while True:
            await lane.late.wait()
            lane.late.clear()
            await self._reserve(lane, 0)

    async def _reserve(self, lane: Lane, slots: int) -> float:
        """Give the first callers their slots; return the end of the last of these."""
        rate = None if lane.spacing is None else lane.spacing.rate
        owed_s, asked_s = lane.pay(), self._clock.monotonic()
        try:
            found = await self._reservations.reserve(lane.name, slots, rate=rate, late_s=owed_s)
            if found is not None:
                self._hear(found.now_s, asked_s)
                await self._make_sure()
        except PayoutsError:
            lane.owed_s += owed_s  # If it was moved on all the same, a little of the limit is lost.
            await self._clock.sleep(_AWAY_S)
            return asked_s
        answered_s = self._clock.monotonic()
        if found is None:
            lane.open()
            return answered_s
        lane.forget_passed(answered_s)
        lane.rate = found.rate
        end = found.end_s - self._difference.seconds
        for left in range(slots, 0, -1):
            lane.give(lane.slot(end - left / found.rate))
        lane.moved(found.moved_s, answered_s)  # What is laid out wider is so from the next on.
        return end

    def _hear(self, their_s: float, asked_s: float) -> None:
        self._difference.heard(their_s, asked_s=asked_s, answered_s=self._clock.monotonic())

    async def _make_sure(self) -> None:
        """Look at the database's clock until an answer is fast enough to tell the difference.

        Where none is, as on a machine that is very busy, the last few have to do for a second.
        """
        if self._clock.monotonic() < self._sure_until:
            return
        for _ in range(_LOOKS):
            if self._difference.doubt_s <= _SURE_S:
                return
            asked_s = self._clock.monotonic()
            self._hear(await self._reservations.now_s(), asked_s)
        self._sure_until = self._clock.monotonic() + _LOOK_EVERY_S

    async def _lower_when_told(self, lane: Lane) -> None:
        while True:
            await lane.throttled.wait()
            lane.throttled.clear()
            try:
                pace = await self._lower(lane)
            except PayoutsError:
                continue
            if pace is not None:
                if lane.is_open:
                    lane.close(pace)
                self._telemetry.emit(Signal.PACE_LOWERED, account=lane.name, pace=round(pace, 2))

    async def _lower(self, lane: Lane) -> float | None:
        if lane.spacing is not None:
            return await self._reservations.lower(lane.name, rate=lane.spacing.rate)
        own = self._observed[lane.name].rate(self._clock.monotonic())
        return await self._reservations.learn(lane.name, own=own)

    async def _look_for_learned(self, lane: Lane) -> None:
        """Learn within a second what others have learned, while there is anything to send."""
        used = self._observed[lane.name].used
        while True:
            await used.wait()
            used.clear()
            if lane.is_open:
                try:
                    pace = await self._reservations.learned(lane.name)
                except PayoutsError:
                    pace = None
                if pace is not None:
                    lane.close(pace)
            await self._clock.sleep(_LOOK_EVERY_S)
