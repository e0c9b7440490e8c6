"""Who may stay when there is no more room at the door."""

from __future__ import annotations

import asyncio

import pytest

from callback_server.visitors import (
    MAX_HEAD_BYTES,
    PASSES,
    SETTLED_S,
    Phase,
    Visitor,
    Visitors,
)
from payouts.domain.signals import Signal


class Dropped:
    """Counts what Visitors say, and whom they drop."""

    def __init__(self) -> None:
        self.reasons: list[str] = []
        self.names: list[str] = []
        self.some = asyncio.Event()

    def emit(self, signal: Signal, /, **fields: object) -> None:
        """Hear a signal."""
        assert signal is Signal.CALLBACK_DROPPED
        self.reasons.append(str(fields["reason"]))
        self.some.set()


@pytest.fixture
def dropped() -> Dropped:
    return Dropped()


def full(dropped: Dropped, limit: int = 4, head_within_s: float = 60.0) -> Visitors:
    return Visitors(limit=limit, head_within_s=head_within_s, telemetry=dropped)


def enter(visitors: Visitors, dropped: Dropped, source: str, name: str) -> Visitor | None:
    visitor = visitors.enter(source, lambda: dropped.names.append(name))
    if visitor is not None:
        visitors.name(visitor, name)
    return visitor


async def loop_passes(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_the_greediest_source_makes_room_for_others(dropped: Dropped) -> None:
    """The newcomer of a small source comes in, and the oldest of the largest one goes.

    Proved by dropping the oldest of all: the small source loses its own.
    """
    visitors = full(dropped)
    enter(visitors, dropped, "small", "small-1")
    for n in range(3):
        enter(visitors, dropped, "greedy", f"greedy-{n}")
    assert enter(visitors, dropped, "small", "small-2") is not None
    assert (dropped.names, dropped.reasons) == (["greedy-0"], ["crowded"])
    assert len(visitors) == 4


async def test_a_source_that_has_its_share_is_refused_cheaply(dropped: Dropped) -> None:
    """The greediest source's newcomer is turned away as long as none of its own has settled."""
    visitors = full(dropped)
    for n in range(4):
        enter(visitors, dropped, "greedy", f"greedy-{n}")
    assert enter(visitors, dropped, "greedy", "greedy-4") is None
    assert (dropped.names, dropped.reasons) == ([], ["refused"])


async def test_one_source_alone_gets_new_connections_in_for_old_ones(
    dropped: Dropped, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind a proxy all are one source: what has waited long goes, so that Results come in."""
    visitors = full(dropped)
    for n in range(4):
        enter(visitors, dropped, "proxy", f"proxy-{n}")
    loop = asyncio.get_running_loop()
    later = loop.time() + SETTLED_S
    monkeypatch.setattr(loop, "time", lambda: later)
    assert enter(visitors, dropped, "proxy", "proxy-4") is not None
    assert dropped.names == ["proxy-0"]


async def test_whoever_has_a_whole_request_in_hand_stays(dropped: Dropped) -> None:
    """A Result that is being written down is not dropped, however greedy its source is."""
    visitors = full(dropped)
    for n in range(4):
        enter(visitors, dropped, "greedy", f"greedy-{n}")
    with visitors.request("greedy-0"), visitors.whole("greedy-0"):
        enter(visitors, dropped, "small", "small-1")
        assert dropped.names == ["greedy-1"]
    enter(visitors, dropped, "small", "small-2")
    assert dropped.names == ["greedy-1", "greedy-2"]


async def test_where_all_are_busy_nobody_comes_in(dropped: Dropped) -> None:
    """Nothing is dropped for a newcomer then; the gateway sends again."""
    visitors = full(dropped, limit=1)
    enter(visitors, dropped, "a", "a-1")
    with visitors.request("a-1"), visitors.whole("a-1"):
        assert enter(visitors, dropped, "b", "b-1") is None
    assert enter(visitors, dropped, "b", "b-1") is not None


async def test_of_many_small_sources_the_one_that_waits_longest_goes(dropped: Dropped) -> None:
    """A flood from everywhere loses to what is quick: Results are."""
    visitors = full(dropped)
    for n in range(4):
        enter(visitors, dropped, f"source-{n}", f"source-{n}")
    assert enter(visitors, dropped, "new", "new") is not None
    assert dropped.names == ["source-0"]


async def test_a_head_that_does_not_come_ends_its_connection(dropped: Dropped) -> None:
    """Bytes that dribble in do not prolong it; a request under way does."""
    visitors = full(dropped, head_within_s=0.05)
    slow = enter(visitors, dropped, "a", "slow")
    enter(visitors, dropped, "a", "quick")
    assert slow is not None
    with visitors.request("quick"):
        async with asyncio.timeout(5):
            while not dropped.names:
                visitors.heard(slow, 1)
                await asyncio.sleep(0.01)
    assert (dropped.names, dropped.reasons) == (["slow"], ["late"])


async def test_a_second_head_has_its_own_time(dropped: Dropped) -> None:
    """An idle connection may wait; from the first byte on its request must come."""
    visitors = full(dropped, head_within_s=0.05)
    visitor = enter(visitors, dropped, "a", "a-1")
    assert visitor is not None
    with visitors.request("a-1"):
        pass
    assert visitor.timer is None
    visitors.heard(visitor, 1)
    await asyncio.wait_for(dropped.some.wait(), 5)


async def test_bytes_that_come_early_count_as_the_next_head(dropped: Dropped) -> None:
    """Half a head that is sent while a request is in hand is given no more time than others."""
    visitors = full(dropped)
    visitor = enter(visitors, dropped, "a", "a-1")
    assert visitor is not None
    with visitors.request("a-1"), visitors.whole("a-1"):
        visitors.heard(visitor, 10)
    assert visitor.timer is not None


async def test_a_head_without_end_is_ended(dropped: Dropped) -> None:
    """More bytes than any head has, and still no request: the connection goes."""
    visitors = full(dropped)
    visitor = enter(visitors, dropped, "a", "a-1")
    other = enter(visitors, dropped, "a", "a-2")
    assert visitor is not None
    assert other is not None
    for one in (visitor, other):
        visitors.heard(one, MAX_HEAD_BYTES + 1)
    with visitors.request("a-2"):  # Its body came along with its head.
        await asyncio.wait_for(dropped.some.wait(), 5)
    assert (dropped.names, dropped.reasons) == (["a-1"], ["head"])


async def test_a_large_request_is_no_head_however_slow_the_process_is(
    dropped: Dropped, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its handler is called a few passes of the loop later, whatever the clock says by then.

    Proved by looking again after 50 ms instead of after some passes: the request is dropped.
    """
    visitors = full(dropped)
    visitor = enter(visitors, dropped, "a", "a-1")
    assert visitor is not None
    loop = asyncio.get_running_loop()
    visitors.heard(visitor, MAX_HEAD_BYTES + 1)
    later = loop.time() + 1
    monkeypatch.setattr(loop, "time", lambda: later)  # The process has stood still.
    await loop_passes(4)
    with visitors.request("a-1"):
        await loop_passes(2 * PASSES)
    assert (dropped.names, visitor.inside) == ([], True)


async def test_the_rest_of_a_refused_body_is_no_head(dropped: Dropped) -> None:
    """Who sends too much hears of it, instead of losing the connection; not for ever.

    Proved by taking every byte after an answer for a head.
    """
    visitors = full(dropped)
    visitor = enter(visitors, dropped, "a", "a-1")
    assert visitor is not None
    with visitors.request("a-1", lambda: False):
        pass
    for _ in range(2):
        visitors.heard(visitor, MAX_HEAD_BYTES)
    assert (visitor.phase, visitor.head_bytes) == (Phase.BODY, 0)
    assert visitor.timer is not None


async def test_leaving_twice_counts_once(dropped: Dropped) -> None:
    """The room of one who was dropped and then ended is given away once."""
    visitors = full(dropped)
    visitor = enter(visitors, dropped, "a", "a-1")
    assert visitor is not None
    visitors.leave(visitor, "a-1")
    visitors.leave(visitor, "a-1")
    assert len(visitors) == 0
    with visitors.request("a-1"), visitors.whole("a-1"):
        assert not visitors.make_room()
