"""What arrives during a commit, or soon after another, is the next one; nobody waits for ever."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import pytest
from storage_bed import until

from payouts.domain.errors import StoreRefusedError, StoreUnavailableError
from payouts.storage.batch import WORTH, BatchWriter, Gap


class Slow:
    """Writes when it is let, and remembers in which batches."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.may_write = asyncio.Event()
        self.refused: set[str] = set()
        self.away: set[str] = set()

    async def write(self, items: Sequence[str]) -> list[str]:
        """Write a batch, or fail as told."""
        self.batches.append(list(items))
        await self.may_write.wait()
        if self.refused & set(items):
            raise StoreRefusedError("(x)")
        if self.away & set(items):
            raise StoreUnavailableError("(y)")
        return [item.upper() for item in items]

    def writer(self, **limits: Any) -> BatchWriter[str, str]:
        """Give a writer whose keys are items without their exclamation marks."""
        return BatchWriter("test", self.write, key=lambda item: item.rstrip("!"), **limits)


async def submit(writer: BatchWriter[str, str], items: Sequence[str]) -> list[asyncio.Task[str]]:
    tasks = [asyncio.create_task(writer.submit(item)) for item in items]
    await asyncio.sleep(0)
    return tasks


async def passes() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_single_item_is_written_at_once() -> None:
    """An idle writer waits for nothing."""
    slow = Slow()
    slow.may_write.set()
    writer = slow.writer()
    writer.start()

    assert await writer.submit("a") == "A"

    await writer.stop()
    assert slow.batches == [["a"]]


async def test_what_arrives_during_a_commit_is_the_next_one_in_order() -> None:
    """Batches grow by themselves, up to their limit, and each caller gets its own outcome."""
    slow = Slow()
    writer = slow.writer(max_batch=3)
    writer.start()
    tasks = await submit(writer, ["a"])
    await until(lambda: slow.batches == [["a"]])
    tasks += await submit(writer, ["b", "c", "d", "e"])

    slow.may_write.set()

    assert await asyncio.gather(*tasks) == ["A", "B", "C", "D", "E"]
    assert slow.batches == [["a"], ["b", "c", "d"], ["e"]]
    await writer.stop()


async def test_commits_begin_a_gap_apart_and_hold_what_has_come(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A lone item is written at once; those soon after it share the next commit.

    Proved by leaving out the wait: the second is written alone.
    """
    slow = Slow()
    slow.may_write.set()
    writer = slow.writer(gap=Gap(most_s=600))
    writer.start()
    assert await writer.submit("a") == "A"
    tasks = await submit(writer, ["b"])
    await passes()
    tasks += await submit(writer, ["c"])
    assert slow.batches == [["a"]]

    loop = asyncio.get_running_loop()
    later = loop.time() + 600
    monkeypatch.setattr(loop, "time", lambda: later)

    assert await asyncio.gather(*tasks) == ["B", "C"]
    assert slow.batches == [["a"], ["b", "c"]]
    await writer.stop()


@pytest.mark.parametrize(("took_s", "gap_s"), [(2.0, 8.0), (200.0, 600.0)], ids=["quick", "slow"])
async def test_the_gap_follows_what_a_commit_takes(
    took_s: float, gap_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Commits take a quarter of the time where they are quick; the gap is the most that is waited.

    Proved by taking the gap itself: what is quick is late. And by the quarter alone: what is slow
    is.
    """
    now = time.monotonic()
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: now)
    batches: list[list[str]] = []

    async def write(items: Sequence[str]) -> list[str]:
        nonlocal now
        batches.append(list(items))
        now += took_s
        return list(items)

    writer = BatchWriter("test", write, key=lambda item: item, gap=Gap(most_s=600, duty=0.25))
    writer.start()
    began = now
    await writer.submit("a")
    task = asyncio.create_task(writer.submit("b"))

    now = began + gap_s - 0.5
    await passes()
    assert batches == [["a"]]
    now = began + gap_s + 0.5

    assert await task == "b"
    await writer.stop()


@pytest.mark.parametrize("stops", [False, True], ids=["worth a commit", "stops"])
async def test_a_gap_ends_early(*, stops: bool) -> None:
    """Enough items are worth a commit at once, and a writer that stops waits for nothing.

    Proved by having neither wake the writer: the test waits for the gap, and ends in time-out.
    """
    slow = Slow()
    slow.may_write.set()
    writer = slow.writer(gap=Gap(most_s=600))
    writer.start()
    assert await writer.submit("a") == "A"
    wanted = [f"b{n}" for n in range(1 if stops else WORTH)]
    tasks = await submit(writer, wanted[:1])
    await passes()
    tasks += await submit(writer, wanted[1:])

    async with asyncio.timeout(10):
        if stops:
            await writer.stop()
        await asyncio.gather(*tasks)

    assert slow.batches == [["a"], wanted]
    await writer.stop()


async def test_items_of_one_key_never_share_a_batch_and_keep_their_order() -> None:
    """The same payout twice is written twice, one after the other.

    Proved by letting keys share a batch.
    """
    slow = Slow()
    slow.may_write.set()
    writer = slow.writer()
    tasks = [asyncio.create_task(writer.submit(one)) for one in ("a", "b", "a!", "c", "a!!", "b!")]
    writer.start()

    await asyncio.gather(*tasks)

    assert slow.batches == [["a", "b", "c"], ["a!", "b!"], ["a!!"]]
    await writer.stop()


async def test_one_refused_item_fails_alone() -> None:
    """Halving finds it; the others are written."""
    slow = Slow()
    slow.may_write.set()
    slow.refused = {"c"}
    writer = slow.writer()
    writer.start()

    outcomes = await asyncio.gather(*(writer.submit(one) for one in "abcd"), return_exceptions=True)

    assert [str(one) for one in outcomes if isinstance(one, str)] == ["A", "B", "D"]
    assert isinstance(outcomes[2], StoreRefusedError)
    await writer.stop()


async def test_an_unknown_outcome_reaches_every_caller_of_the_batch() -> None:
    """Each gets an error of its own, and the writer goes on."""
    slow = Slow()
    slow.away = {"b"}
    writer = slow.writer()
    tasks = [asyncio.create_task(writer.submit(one)) for one in "abc"]
    writer.start()
    slow.may_write.set()

    outcomes = await asyncio.gather(*tasks, return_exceptions=True)

    assert all(isinstance(one, StoreUnavailableError) for one in outcomes)
    assert len({id(one) for one in outcomes}) == 3
    slow.away = set()
    assert await writer.submit("d") == "D"
    await writer.stop()


async def test_a_defect_of_the_write_reaches_the_callers_too() -> None:
    """Nobody waits for ever for an outcome that was never told."""

    async def write(items: Sequence[str]) -> list[str]:
        return list(items)[1:]

    writer: BatchWriter[str, str] = BatchWriter("test", write, key=lambda item: item)
    writer.start()

    with pytest.raises(ValueError, match="zip"):
        await writer.submit("a")
    await writer.stop()


async def test_the_queue_is_bounded() -> None:
    """Who comes when it is full waits for room, and is written after all."""
    slow = Slow()
    writer = slow.writer(max_waiting=2)
    writer.start()
    tasks = await submit(writer, ["a", "b", "c", "d"])
    await until(lambda: len(slow.batches) == 1)
    assert len(writer._waiting) <= 2

    slow.may_write.set()

    assert await asyncio.gather(*tasks) == ["A", "B", "C", "D"]
    assert max(map(len, slow.batches)) <= 2
    await writer.stop()


async def test_stopping_writes_what_waits_and_takes_nothing_more() -> None:
    """A drain loses nothing."""
    slow = Slow()
    writer = slow.writer(max_batch=1)
    writer.start()
    tasks = await submit(writer, ["a", "b", "c"])

    stopping = asyncio.create_task(writer.stop())
    await asyncio.sleep(0)
    with pytest.raises(StoreUnavailableError):
        await writer.submit("late")
    slow.may_write.set()
    await stopping

    assert [task.result() for task in tasks] == ["A", "B", "C"]


async def test_a_caller_that_goes_away_leaves_its_item_to_be_written() -> None:
    """What was handed over is written, and the others of its batch are not disturbed."""
    slow = Slow()
    writer = slow.writer()
    writer.start()
    first, gone, other = await submit(writer, ["a", "b", "c"])
    gone.cancel()

    slow.may_write.set()

    assert [await first, await other] == ["A", "C"]
    assert gone.cancelled()
    assert sorted(item for batch in slow.batches for item in batch) == ["a", "b", "c"]
    await writer.stop()


async def test_a_writer_that_is_killed_leaves_nobody_waiting() -> None:
    """Also those whose batch had not begun hear that it is over."""
    slow = Slow()
    writer = slow.writer(max_batch=1)
    writer.start()
    tasks = await submit(writer, ["a", "b"])
    assert writer._task is not None
    writer._task.cancel()

    outcomes = await asyncio.gather(*tasks, return_exceptions=True)

    assert all(isinstance(one, StoreUnavailableError) for one in outcomes)


async def test_a_writer_that_was_not_started_takes_nothing() -> None:
    """A store that is used before it is entered says so at once."""
    with pytest.raises(StoreUnavailableError):
        await Slow().writer().submit("a")
