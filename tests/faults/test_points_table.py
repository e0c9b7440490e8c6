"""The table of kill points is whole, stays out of the product, and is told as it is."""

from __future__ import annotations

import asyncio
import inspect
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from ops.local.processes import alive
from payouts.ports import EventPublisher, Gateway, Outbox, PayoutStore
from payouts.storage.store import PostgresStore
from tests.faults.mortal import target_of
from tests.faults.nursery import ROOT, Birth, Nursery
from tests.faults.plans import PointPlan, RandomPlan
from tests.faults.points import PLACES, POINTS, Load, Part, Process, Seam, table

PRODUCT: Final = ("payouts", "worker", "callback_server", "migrations", "ops")
PAGE: Final = ROOT / "docs" / "explanation" / "kill-points.md"
# What changes nothing has nothing before or after it; `probe` sends nothing but a handshake.
CHANGE_NOTHING: Final = {
    *("find", "find_by_conversation", "find_query", "account_statuses", "exposures"),
    *("can_ask_broker", "probe"),
}
# Written by a batch writer of this name: its points stand around the commit.
BATCHED: Final = {"note": "notes", "mark_published": "published"}


def methods(port: type) -> Iterator[str]:
    return (name for name, _ in inspect.getmembers(port, inspect.isfunction) if name[0] != "_")


@pytest.mark.parametrize("port", [PayoutStore, Outbox, Gateway, EventPublisher])
def test_every_step_through_a_port_has_a_point(port: type) -> None:
    """A method that is added to a port needs a point, or the word that it changes nothing."""
    targets = {place.target.rpartition(".")[2] for place in PLACES}
    missing = [
        name
        for name in methods(port)
        if name not in CHANGE_NOTHING and name not in targets and BATCHED.get(name) not in targets
    ]
    assert not missing


def test_every_point_stands_around_something_that_is_there() -> None:
    """Each target is a coroutine function of the product or a library, or one of its writers."""
    writers = {writer._name for writer in PostgresStore("postgresql://", clock=None)._writers}  # type: ignore[arg-type]
    for place in PLACES:
        if place.seam is Seam.BATCH:
            assert place.target in writers
        else:
            assert inspect.iscoroutinefunction(getattr(*target_of(place.target))), place.name
    assert len(POINTS) == sum(len(place.processes) * len(place.moments) for place in PLACES)


def test_no_file_of_the_product_mentions_the_points() -> None:
    """They are put around the product from outside: nothing in it can be set to die."""
    names = "|".join(re.escape(name) for name in POINTS)
    telling = re.compile(rf"tests\.faults|kill.?point|make_mortal|{names}", re.IGNORECASE)
    files = [file for part in PRODUCT for file in (ROOT / part).rglob("*.py")]
    assert len(files) > 100
    assert not [str(file) for file in files if telling.search(file.read_text(encoding="utf-8"))]


def test_the_page_has_the_table() -> None:
    """The page tells the points as they are; `python -m tests.faults.points` prints the table."""
    found = re.search(
        r"<!-- begin points -->\n(.*)\n<!-- end points -->", PAGE.read_text(), re.DOTALL
    )
    assert found is not None
    assert found[1] == table()


def test_a_seed_draws_the_same_fates_again() -> None:
    """The plan of a round depends on nothing but its seed and on what it still owes."""
    for make in (
        lambda: PointPlan(5, 2, POINTS),
        lambda: PointPlan(5, 2, POINTS, restless=True),
        lambda: RandomPlan(5, 20),
    ):
        once, again = make(), make()
        births = [
            (process, slot, life) for process in Process for slot in (0, 1) for life in (0, 1)
        ]
        assert [once.fate(*one) for one in births] == [again.fate(*one) for one in births]


def test_a_plan_asks_for_what_is_owed_until_it_is_done() -> None:
    """Each life is armed with points of its process that are owed, and in the end with none."""
    plan = PointPlan(1, 1, [name for name, one in POINTS.items() if one.place.load is Load.MIXED])
    for life in range(5000):
        if plan.done:
            break
        for process in Process:
            fate = plan.fate(process, 0, life)
            assert all(POINTS[name].process is process for name in fate.armed)
            drains = any(POINTS[name].place.part is Part.DRAIN for name in fate.armed)
            assert drains is (fate.term_after_s is not None)
            for name in list(fate.armed)[:1]:
                assert name in plan.owed
                plan.killed(name)
    assert plan.done


def test_what_has_killed_often_enough_is_not_asked_for_again() -> None:
    """Rounds share what is wanted of a point; a life is not killed by what is less rare before."""
    rare, rarer = "worker:result.before", "worker:record-balance.before"
    assert POINTS[rare].rare
    assert POINTS[rarer].rare
    plan = PointPlan(1, 4, [rare, rarer], before={rare: 9, rarer: 3}, enough=10)
    armed = [plan.fate(Process.WORKER, 0, life).armed for life in range(100)]
    assert {frozenset(one) for one in armed} == {frozenset({rare, rarer}), frozenset({rarer})}
    plan.killed(rare)
    assert plan.owed == [rarer]
    assert PointPlan(1, 4, [rare], before={rare: 10}, enough=10).done


async def test_children_die_with_the_fork_server(tmp_path: Path) -> None:
    """Nothing is left of a run whose runner was killed: its children are ended by the system."""
    environ = {
        "PATH": os.environ["PATH"],
        # Nobody listens there: the process waits for a broker until it is ended.
        "PAYOUTS_AMQP_URL": "amqp://guest:guest@127.0.0.1:9/",
        "PAYOUTS_DATABASE_URL": "postgresql://nobody@127.0.0.1:9/nothing",
        "PAYOUTS_CALLBACK_PORT": "0",
    }
    birth = Birth(
        process=Process.CALLBACK_SERVER,
        environ=environ,
        record=str(tmp_path / "deaths"),
        log=str(tmp_path / "log"),
    )
    async with Nursery({}) as nursery:
        child = await nursery.fork(birth)
        assert alive(child.pid)
        assert nursery._process is not None
        nursery._process.kill()
        with pytest.raises(RuntimeError, match="nursery has died"):
            await asyncio.wait_for(asyncio.shield(child.ended), 10)
        deadline = time.monotonic() + 10
        while alive(child.pid):
            assert time.monotonic() < deadline
            await asyncio.sleep(0.02)
