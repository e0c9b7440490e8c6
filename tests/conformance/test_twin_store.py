"""What only the twin of the store can do: lose calls, go back in time, work without a guard."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from payouts.domain.errors import StoreUnavailableError
from payouts.domain.payout import State
from payouts.domain.values import PayoutId
from payouts.ports import Intent
from tests.conformance.brokers import until
from tests.conformance.stores import Near, Noon, move, order, received, result, sending
from tests.simulation import twins
from tests.simulation.seams import Commit, StoreFaults
from tests.simulation.twins.store import GUARDS, Books, TwinStore

A = PayoutId("a")
INTENT = Intent(payout=sending("a"), actor="worker 1")


class Watch:
    """Keeps what it hears of."""

    def __init__(self) -> None:
        self.commits: list[Commit] = []

    def committed(self, commit: Commit) -> None:
        """Hear of a commit."""
        self.commits.append(commit)


def session(books: Books, **faults: Any) -> TwinStore:
    """Give a process's session that is reached as badly as said."""
    return TwinStore(books, Near(), StoreFaults(latency_s=0.001, **faults), Noon())


async def test_a_call_that_never_arrives_writes_nothing() -> None:
    """The caller hears the same as of one whose answer is lost."""
    books = Books()
    with pytest.raises(StoreUnavailableError):
        await session(books, lost_before=1.0).record_intent(INTENT)
    with pytest.raises(StoreUnavailableError):
        await session(books, away=True).record_intent(INTENT)
    assert not books.payouts


async def test_a_call_whose_answer_is_lost_is_committed() -> None:
    """Told again, it answers as it would have."""
    books = Books()
    with pytest.raises(StoreUnavailableError):
        await session(books, lost_after=1.0).record_intent(INTENT)
    assert books.payouts[A] == sending("a")
    assert (await session(books).record_intent(INTENT)).recorded == "new"


async def test_a_late_call_is_committed_after_its_caller_has_given_up() -> None:
    """Whatever the caller does meanwhile."""
    books = Books()
    with pytest.raises(StoreUnavailableError):
        await session(books, late=1.0).record_intent(INTENT)
    await until(lambda: A in books.payouts)


async def test_every_commit_is_told_as_it_is_made() -> None:
    """With the rows as they stood and stand, the events, and what was published."""
    watch = Watch()
    store = session(Books(watch))
    await store.record_intent(INTENT)
    ended = await store.complete(result("a"))
    assert ended.event is not None
    await store.mark_published(ended.event.event_id)
    await store.find(A)
    new, end, published = watch.commits
    assert (new.by, new.before, new.after) == ("record_intent", {A: None}, {A: sending("a")})
    assert (end.by, end.before, end.events) == ("complete", new.after, [ended.event])
    assert end.after[A].state is State.SUCCEEDED
    assert (published.by, published.published) == ("mark_published", [ended.event.event_id])


async def test_restored_books_are_those_of_the_dump() -> None:
    """What was written since is gone, with every index over it; numbers are given again."""
    books = Books()
    store = session(books)
    await store.record_intent(Intent(payout=received("before"), actor="w"))
    dump = books.snapshot()
    number = await store.enlist("worker")
    await store.record_intent(INTENT)
    await store.hold(PayoutId("before"), order())
    books.restore(dump)
    assert dict(books.payouts) == {"before": received("before")}
    assert (await store.find_by_conversation(sending("a").originator_conversation_id, None)) is None
    assert await store.enlist("worker") == number
    assert (await store.check_audit()).entries == 0
    await store.record_intent(INTENT)
    assert set(dump.payouts) == {"before"}


def test_every_guard_has_its_switch() -> None:
    """The names in the twins' code are the names in the list, no more and no fewer."""
    sources = Path(twins.__file__).parent.glob("*.py")
    text = "\n".join(one.read_text() for one in sources if one.name != "guards.py")
    used = set(re.findall(r'"([a-z][a-z ]+)"\s+(?:not )?in (?:\w+\.)*without', text))
    assert used == set(GUARDS)


@pytest.mark.parametrize("without", ["move sources", "move attempt"])
async def test_a_guard_that_is_taken_out_is_gone(without: str) -> None:
    """The statement does what it would do without its condition."""
    books = Books()
    store = session(books)
    await store.record_intent(INTENT)
    wrong = move("a", State.IN_DOUBT, State.ACCEPTED)
    if without == "move attempt":
        wrong = move("a", State.IN_DOUBT, attempt=9)
    assert (await store.move(wrong)).payout is None
    books.without.add(without)
    assert (await store.move(wrong)).payout is not None
