"""The slots of one account in one process: who waits for one, and which wait for a request. Pure.

Instants are in seconds of this process's monotonic clock.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from math import ceil, exp, floor, inf
from typing import Final

from payouts.domain.values import AccountName

OVER: Final = 0.02  # What any one second may hold above the limit.
ROOM_S: Final = 0.0204  # By what requests may come closer together on their way, at least.
LATEST_S: Final = 0.25  # A slot that passed longer ago is lost.
SLICE_S: Final = 0.05  # What is reserved at a time; its turns are given together.
_FULLEST: Final = 0.99
_LATE_AT_MOST_S: Final = 0.025
_WIDE_FOR_S: Final = 4.0
_STAYS: Final = exp(-1 / _WIDE_FOR_S)  # What is left of it at the end of the second it is for.
_WIDEST_S: Final = 0.06
_WIDER: Final = 0.2
_LEAST_LEAD_S: Final = 0.05
_MOST_LEAD_S: Final = 0.25
_LONGER: Final = 1.5
_SHORTER: Final = 0.98
_DRIFT: Final = 0.0002  # By what two clocks may run apart, at most, in a second.


class Spacing:
    """How slots are laid out so that no second holds too many requests, though some are late.

    If all are on time, one request more than a second may hold takes a little longer than a
    second. The difference is the room for lateness: half of it is ours, half is the network's.
    Where a limit is small the slots have to make that room, since then 2 % are less than one
    request. Where requests were later than that, the slots are laid out wider for a while.

    Args:
        limit: requests per second.
    """

    def __init__(self, limit: float) -> None:
        self._most = max(floor(limit * (1 + OVER)), ceil(limit))
        self._room_s = self._most / min(limit * _FULLEST, self._most / (1 + ROOM_S)) - 1
        self._wider_s = 0.0
        self._wider_at = 0.0

    @property
    def rate(self) -> float:
        """Slots in a second, at most: a little below the limit."""
        return self._most / (1 + self._room_s + self._wider_s)

    @property
    def late_s(self) -> float:
        """How late after its slot a request may leave without harm."""
        return min(self._room_s / 2, _LATE_AT_MOST_S) + self._wider_s * _STAYS

    def widen(self, seconds: float, now: float) -> None:
        """Make more room, as slots had to be moved on by so much; it is given up again in time."""
        kept = exp((self._wider_at - now) / _WIDE_FOR_S)
        self._wider_s = min(self._wider_s * kept + _WIDER * seconds, _WIDEST_S)
        self._wider_at = now


class Difference:
    """How far the database's clock is ahead of ours, as exactly as the fastest answers tell."""

    def __init__(self) -> None:
        self._low_s = self._high_s = self._at_s = 0.0
        self._has_heard = False

    @property
    def seconds(self) -> float:
        """The difference, right to half of what the fastest answers took."""
        return (self._low_s + self._high_s) / 2

    @property
    def doubt_s(self) -> float:
        """By how much `seconds` may be wrong."""
        return (self._high_s - self._low_s) / 2

    def heard(self, their_s: float, *, asked_s: float, answered_s: float) -> None:
        """Narrow it by an instant of theirs that was between the question and its answer.

        What was known grows wider with time. Where both do not fit, a clock was set: what was
        known is forgotten.
        """
        low_s, high_s = their_s - answered_s, their_s - asked_s
        drift_s = _DRIFT * (answered_s - self._at_s)
        known_low_s, known_high_s = self._low_s - drift_s, self._high_s + drift_s
        if self._has_heard and known_low_s <= high_s and low_s <= known_high_s:
            low_s, high_s = max(low_s, known_low_s), min(high_s, known_high_s)
        self._low_s, self._high_s, self._at_s = low_s, high_s, answered_s
        self._has_heard = True


@dataclass(frozen=True, slots=True)
class Slot:
    """When a request may leave.

    Args:
        at: the instant.
        late_s: how late after it a request may leave without harm.
        charged_s: what this process's late requests had been charged before it was laid out, ever.
    """

    at: float
    late_s: float
    charged_s: float


Place = asyncio.Future[Slot | None]


class Lane:
    """One account's callers that wait for a slot, and the slots that wait for a request.

    A slot is nobody's own: whoever comes first to leave takes the next one. So what was given to
    a command that is not sent is not lost, and whoever is slow takes a later one.

    `lead_s` is how long before its slot a turn is given, so that a request is ready by then. It
    follows what that takes: it grows when a slot passes unused, and shrinks while requests wait.

    A request that leaves late crowds the second after it. So the slots of all workers are to be
    moved on, by `owed_s`: as far as it was late, but by no more than a slot for each that was.
    What one worker's requests crowd, its own lateness pays for; several pay each for its own.

    Args:
        limit: requests per second; 0: the lane is open, nobody waits, until a pace is learned.
    """

    def __init__(self, name: AccountName, limit: float) -> None:
        self.name = name
        self.is_open = not limit
        self.spacing = Spacing(limit) if limit else None
        self.rate = limit
        self.lead_s = _LEAST_LEAD_S
        self.owed_s = 0.0
        self.arrived = asyncio.Event()
        self.turns_due = asyncio.Event()
        self.late = asyncio.Event()
        self.throttled = asyncio.Event()
        self._charged_s = self._most_s = 0.0
        self._moved_s: float | None = None
        self._given_at = -inf
        self._turns: deque[Place] = deque()
        self._leaving: deque[Place] = deque()
        self._due: deque[tuple[float, Place, Slot]] = deque()
        self._slots: deque[Slot] = deque()

    def wait_for_turn(self) -> Place:
        """Return what becomes, shortly before it, the next slot nobody waits for at the gate."""
        return self._wait_in(self._turns)

    def wait_to_leave(self) -> Place:
        """Return what becomes the next slot; whoever has an intent goes first."""
        return self._wait_in(self._leaving)

    def wanted(self) -> int:
        """Return how many wait for a slot; those in front who have gone away are forgotten."""
        for line in (self._leaving, self._turns):
            while line and line[0].done():
                line.popleft()
        return len(self._leaving) + len(self._turns)

    def give(self, slot: Slot) -> None:
        """Hand a slot to the first who waits at the gate, else keep it for the first turn.

        A turn's slot stays here until a request leaves in it.
        """
        leaving = _first(self._leaving)
        if leaving is not None:
            leaving.set_result(slot)
            return
        self._slots.append(slot)
        turn = _first(self._turns)
        if turn is not None:
            self._due.append((self._ready_at(slot), turn, slot))
            self.turns_due.set()

    def next_turns_at(self) -> float | None:
        """Return when the next turns are to be given; None if nobody has a slot yet."""
        return self._due[0][0] if self._due else None

    def give_turns(self, now: float) -> None:
        """Let those go on whose turn it is, in the order of asking."""
        while self._due and self._due[0][0] <= now:
            _, place, slot = self._due.popleft()
            if not place.done():
                place.set_result(slot)

    def take(self, now: float) -> Slot | None:
        """Return the earliest slot that has not passed, and have it used up."""
        self.forget_passed(now)
        if not self._slots:
            return None
        slot = self._slots.popleft()
        if slot.at - now > self.lead_s / 2:
            self.lead_s = max(self.lead_s * _SHORTER, _LEAST_LEAD_S)
        return slot

    def forget_passed(self, now: float) -> None:
        """Drop the slots that nobody was there to take."""
        while self._slots and now - self._slots[0].at > self._slots[0].late_s:
            self._slots.popleft()
            self.lead_s = min(self.lead_s * _LONGER, _MOST_LEAD_S)

    def left(self, slot: Slot, now: float) -> None:
        """Take down that a request leaves now in this slot."""
        late_s = now - slot.at - slot.late_s
        if late_s <= 0:
            return
        # As of one stall, if it was laid out before the last that was charged.
        most_s = self._most_s if slot.charged_s < self._charged_s else 0.0
        self._most_s = max(most_s, slot.charged_s + late_s)
        charge_s = min(self._most_s - self._charged_s, 1 / self.rate)
        if charge_s > 0:
            self._charged_s += charge_s
            self.owed_s += charge_s
            self.late.set()

    def pay(self) -> float:
        """Return what is owed, which is then owed no more: it is about to be moved on."""
        owed_s, self.owed_s = self.owed_s, 0.0
        return owed_s

    def moved(self, moved_s: float, now: float) -> None:
        """Learn how far the slots were moved on, ever, by all workers."""
        if self._moved_s is not None and self.spacing is not None:
            self.spacing.widen(max(moved_s - self._moved_s, 0.0), now)
        self._moved_s = moved_s

    def slot(self, at: float) -> Slot:
        """Return a slot at that instant, as slots are laid out now."""
        late_s = _LATE_AT_MOST_S if self.spacing is None else self.spacing.late_s
        return Slot(at, late_s, self._charged_s)

    def close(self, rate: float) -> None:
        """Have whoever comes from now on wait for a slot of this rate."""
        self.is_open = False
        self.rate = rate

    def open(self) -> None:
        """Let everybody go who waits: there is no pace any more."""
        self.is_open = True
        self._slots.clear()
        for place in self._waiting():
            place.set_result(None)

    def refuse(self, error: Exception) -> None:
        """Have everybody who waits raise this."""
        for place in self._waiting():
            place.set_exception(error)

    def _ready_at(self, slot: Slot) -> float:
        """Return when the turn of a slot is given; turns keep their order if the lead changes.

        All turns of a slice are given when the first one is due, so that their intents go into
        one commit.
        """
        due_at = max(slot.at - self.lead_s, self._given_at)
        if due_at >= self._given_at + SLICE_S:
            self._given_at = due_at
        return self._given_at

    def _waiting(self) -> list[Place]:
        waiting = [*self._leaving, *(place for _, place, _ in self._due), *self._turns]
        self._leaving.clear()
        self._due.clear()
        self._turns.clear()
        return [place for place in waiting if not place.done()]

    def _wait_in(self, line: deque[Place]) -> Place:
        place: Place = asyncio.get_running_loop().create_future()
        line.append(place)
        self.arrived.set()
        return place


def _first(line: deque[Place]) -> Place | None:
    """Take the first who has not gone away."""
    while line:
        place = line.popleft()
        if not place.done():
            return place
    return None
