"""Slots are laid out so that no second holds too many requests, however late some are."""

from __future__ import annotations

import asyncio
from collections import deque
from itertools import pairwise
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payouts.domain.values import AccountName
from payouts.storage.slots import LATEST_S, OVER, SLICE_S, Difference, Lane, Slot, Spacing

ACCOUNT = AccountName("default")
LIMITS = st.one_of(st.integers(1, 3000), st.floats(0.5, 3000.0))


def busiest(instants: list[float]) -> int:
    """Give the most instants in any one second."""
    seen: deque[float] = deque()
    most = 0
    for at in sorted(instants):
        seen.append(at)
        while at - seen[0] >= 1.0:
            seen.popleft()
        most = max(most, len(seen))
    return most


def allowed(limit: float) -> int:
    """Give how many requests a second may hold; of a fraction, the next whole one."""
    return max(int(limit * (1 + OVER) + 1e-9), int(-(-limit // 1)))


@given(
    limit=LIMITS, late=st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=9)
)
def test_requests_within_the_room_never_crowd_a_second(
    limit: float, late: list[tuple[float, float]]
) -> None:
    """As late as they may leave, and as much later as the network may bring them.

    Proved by slots at the limit itself.
    """
    layout = Spacing(limit)
    arrived = [
        number / layout.rate + layout.late_s * own + layout.late_s * network
        for number in range(min(int(limit * 3) + 3, 4000))
        for own, network in [late[number % len(late)]]
    ]

    assert busiest(arrived) <= allowed(limit)


@pytest.mark.parametrize("limit", [1, 2, 20, 50, 100, 500, 2000])
def test_nearly_all_of_a_limit_is_given_out(limit: int) -> None:
    """What is kept back is the room for lateness: 2 % of a small limit, 1 % of another."""
    layout = Spacing(limit)

    assert 0.98 * limit - 0.01 <= layout.rate <= 0.99 * limit
    assert layout.late_s >= 0.010


def test_slots_are_laid_out_wider_for_a_while_where_requests_were_later() -> None:
    """More room for lateness, at the price of some rate, and never without bounds."""
    layout = Spacing(100)
    rate, late_s = layout.rate, layout.late_s

    layout.widen(0.1, 1000.0)
    wider = layout.rate
    assert late_s + 0.015 < layout.late_s < late_s + 0.02
    assert 0.97 * rate < wider < rate

    layout.widen(0.0, 1060.0)
    assert layout.rate == pytest.approx(rate)

    for _ in range(100):
        layout.widen(1.0, 1060.0)
    assert layout.rate > 0.94 * rate


class Row:
    """The row of an account as far as slots are reserved from it and moved on."""

    def __init__(self) -> None:
        self.next_at = 0.0
        self.moved_s = 0.0

    def reserve(self, slots: int, rate: float, late_s: float) -> float:
        """Reserve slots; give the end of the last."""
        late_s = min(late_s, LATEST_S)
        self.moved_s += late_s
        self.next_at += late_s + slots / rate
        return self.next_at


class Process:
    """A worker that stands still at times, and lets everything go that was to leave meanwhile."""

    def __init__(self, limit: float, stalls: list[tuple[float, float]]) -> None:
        self.lane = Lane(ACCOUNT, limit)
        self.left: list[float] = []
        self._stalls = stalls
        self._waiting: list[tuple[float, Slot]] = []

    def leave(self, until: float) -> None:
        """Have what leaves until then leave."""
        for at, slot in sorted(self._waiting, key=lambda one: one[0]):
            if at <= until:
                self.left.append(at)
                self.lane.left(slot, at)
        self._waiting = [one for one in self._waiting if one[0] > until]

    def reserve(self, row: Row, now: float) -> None:
        """Reserve a slice, and move on by what is owed."""
        lane = self.lane
        assert lane.spacing is not None
        slots, rate = max(1, int(lane.rate * SLICE_S)), lane.spacing.rate
        end = row.reserve(slots, rate, lane.pay())
        for number in range(slots, 0, -1):
            slot = lane.slot(end - number / rate)
            self._waiting.append((_end_of_stall(slot.at, self._stalls), slot))
        lane.moved(row.moved_s, now)


@given(
    limit=st.sampled_from([1, 5, 20, 50, 100, 333, 500]),
    stalls=st.lists(
        st.lists(st.tuples(st.floats(0.01, 2.0), st.floats(0, LATEST_S)), max_size=4),
        min_size=1,
        max_size=4,
    ),
    way=st.lists(st.floats(0, 1), min_size=1, max_size=7),
)
async def test_what_leaves_late_moves_later_slots_on(
    limit: int, stalls: list[list[tuple[float, float]]], way: list[float]
) -> None:
    """However long processes stand still, each by itself or several at once, the limit holds.

    Proved by moving nothing on, by moving on by half of what is owed, and by having only the
    first of those that are late at once move them on.
    """
    row = Row()
    processes = [Process(limit, own) for own in stalls]
    network_s = Spacing(limit).late_s - 1e-9  # What is exactly a second apart is not within one.
    for number in range(120):
        # What has left by now is known, and is paid for before anything else is reserved.
        now = row.next_at - 0.15
        for one in processes:
            one.leave(now)
        for one in processes:
            row.reserve(0, 1.0, one.lane.pay())
        processes[number % len(processes)].reserve(row, now)
    for one in processes:
        one.leave(inf)

    arrived = sorted(at for one in processes for at in one.left)
    arrived = [at + network_s * way[number % len(way)] for number, at in enumerate(arrived)]
    assert busiest(arrived) <= allowed(limit)


def _end_of_stall(at: float, stalls: list[tuple[float, float]]) -> float:
    """Give when what was to leave at an instant leaves: stalls begin so long after each other."""
    begin = 0.0
    for rest_s, long_s in stalls:
        begin += rest_s
        if begin <= at < begin + long_s:
            return begin + long_s
        begin += long_s
    return at


async def test_a_slot_is_nobodys_own() -> None:
    """The first to leave takes the earliest slot; nobody's turn is lost by one who is slow."""
    lane = Lane(ACCOUNT, 100)
    turns = [lane.wait_for_turn() for _ in range(3)]
    for at in (10.0, 10.01, 10.02):
        lane.give(lane.slot(at))
    lane.give_turns(9.99)

    assert [turn.result().at for turn in turns if turn.result()] == [10.0, 10.01, 10.02]  # type: ignore[union-attr]
    assert [lane.take(9.99), lane.take(9.99)] == [lane.slot(10.0), lane.slot(10.01)]
    assert lane.take(11.0) is None


async def test_who_has_an_intent_goes_first() -> None:
    """A request that waits at the gate gets its slot before the turns, and keeps it for itself."""
    lane = Lane(ACCOUNT, 100)
    turn, leaving = lane.wait_for_turn(), lane.wait_to_leave()

    lane.give(lane.slot(5.0))

    assert leaving.done()
    assert not turn.done()
    assert lane.take(5.0) is None


async def test_who_has_gone_away_is_passed_over() -> None:
    """A place that was given up takes no slot, and is not counted."""
    lane = Lane(ACCOUNT, 100)
    gone, there = lane.wait_for_turn(), lane.wait_for_turn()
    gone.cancel()

    assert lane.wanted() == 1
    lane.give(lane.slot(5.0))
    lane.give_turns(5.0)

    assert there.done()


async def test_turns_come_earlier_when_slots_pass_unused_and_later_when_requests_wait() -> None:
    """The lead follows what it takes to get a request ready, within bounds."""
    lane = Lane(ACCOUNT, 100)
    least_s = lane.lead_s
    for number in range(50):
        lane.give(lane.slot(number / 100))
    lane.forget_passed(100.0)
    most_s = lane.lead_s
    assert least_s < most_s <= 0.25

    for number in range(200):
        lane.give(lane.slot(200.0 + number))
        lane.take(199.0 + number)
    assert lane.lead_s == pytest.approx(least_s)


@given(limit=st.floats(1.0, 3000.0), leads=st.lists(st.floats(0.05, 0.25), min_size=1, max_size=5))
def test_turns_of_a_slice_are_given_together(limit: float, leads: list[float]) -> None:
    """So many intents share a commit as a slice has slots; no turn comes later than on its own.

    Proved by giving each turn when it is due itself: there are as many moments as turns.
    """
    moments, latest = asyncio.run(_moments_of_turns(limit, leads))

    assert all(at <= last for at, last in zip(moments, latest, strict=True))
    assert all(after - before >= SLICE_S * 0.99 for before, after in pairwise(sorted(set(moments))))


async def _moments_of_turns(limit: float, leads: list[float]) -> tuple[list[float], list[float]]:
    """Give when a hundred turns are given, and when each would be for its own slot alone."""
    lane = Lane(ACCOUNT, limit)
    turns = [lane.wait_for_turn() for _ in range(100)]
    latest = [0.0]
    for number in range(len(turns)):
        lane.lead_s = leads[number % len(leads)]
        slot = lane.slot(1000.0 + number / limit)
        lane.give(slot)
        latest.append(max(slot.at - lane.lead_s, latest[-1]))
    moments: list[float] = []
    while (at := lane.next_turns_at()) is not None:
        assert not turns[len(moments)].done()
        lane.give_turns(at)
        moments += [at] * (sum(turn.done() for turn in turns) - len(moments))
    assert all(turn.done() for turn in turns)
    return moments, latest[1:]


async def test_an_opened_lane_lets_everybody_go() -> None:
    """Where a learned pace is forgotten, whoever waits goes at once."""
    lane = Lane(ACCOUNT, 0.0)
    assert lane.is_open
    lane.close(50.0)
    places = [lane.wait_for_turn(), lane.wait_to_leave()]

    lane.open()

    assert [place.result() for place in places] == [None, None]


def test_the_difference_of_clocks_is_as_exact_as_the_fastest_answer() -> None:
    """A slow answer makes it no worse; only time does, slowly."""
    difference = Difference()
    difference.heard(1000.0, asked_s=9.9, answered_s=10.3)
    assert difference.doubt_s == pytest.approx(0.2)
    difference.heard(1000.5005, asked_s=10.5, answered_s=10.501)
    assert difference.seconds == pytest.approx(990.0, abs=0.001)

    difference.heard(1002.0, asked_s=11.6, answered_s=12.2)

    assert difference.seconds == pytest.approx(990.0, abs=0.001)
    assert difference.doubt_s < 0.001


def test_a_clock_that_was_set_is_believed() -> None:
    """Where an answer cannot be true with what was known, what was known is forgotten."""
    difference = Difference()
    difference.heard(1000.0, asked_s=10.0, answered_s=10.001)

    difference.heard(5000.0, asked_s=11.0, answered_s=11.001)

    assert difference.seconds == pytest.approx(4989.0, abs=0.001)


def test_hearing_again_and_again_never_widens_the_doubt() -> None:
    """Each answer is between two bounds, and both only come nearer, but for drift."""
    difference = Difference()
    doubts = []
    for number in range(20):
        at = float(number)
        difference.heard(at + 100.0005, asked_s=at, answered_s=at + 0.001)
        doubts.append(difference.doubt_s)

    assert all(after <= before + 0.0003 for before, after in pairwise(doubts))
