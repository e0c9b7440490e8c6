"""What is due is taken once; what was left behind falls into doubt, never into failure."""

import asyncio

import asyncpg
from storage_bed import (
    ACCOUNT,
    NOW,
    Bed,
    completion,
    move,
    names,
    payout,
    received,
    seconds,
)

from payouts.domain.events import event_id_for
from payouts.domain.payout import State
from payouts.domain.values import AccountName, PayoutId, WorkerId

DUE = NOW + seconds(120)


async def test_due_payouts_are_claimed_for_their_worker(bed: Bed) -> None:
    """Owner, instant and attempt are durable before anything is sent."""
    await bed.intend(received("a"))
    await bed.waiting("b", next_action_at=NOW + seconds(60))

    claimed = await bed.store.claim_due(WorkerId(7), [ACCOUNT], now=DUE, limit=10)

    assert sorted(one.payout_id for one in claimed) == ["a", "b"]
    for one in claimed:
        assert one == await bed.standing(one.payout_id)
        assert (one.state, one.owner, one.claimed_at) == (State.SUBMITTING, 7, DUE)
        assert one.next_action_at is None
    assert {one.payout_id: one.attempts for one in claimed} == {"a": 1, "b": 2}
    assert await bed.kinds("a") == ["intent", "claim"]


async def test_what_is_not_due_is_left(bed: Bed) -> None:
    """The waits that were decided are kept, and other accounts are not touched."""
    await bed.waiting("later", next_action_at=DUE + seconds(1))
    await bed.intend(received("other", account=AccountName("other")))

    assert await bed.store.claim_due(WorkerId(7), [ACCOUNT], now=DUE, limit=10) == []


async def test_a_claim_takes_the_longest_due_within_its_limit(bed: Bed) -> None:
    """Order is by the time of being due."""
    for number, name in enumerate(names("p", 5)):
        await bed.intend(received(name, next_action_at=NOW - seconds(number)))

    claimed = await bed.store.claim_due(WorkerId(7), [ACCOUNT], now=DUE, limit=2)

    assert {one.payout_id for one in claimed} == {"p-0004", "p-0003"}


async def test_nothing_is_claimed_for_a_paused_account(bed: Bed) -> None:
    """A paused account sends nothing more, whatever is due.

    Proved by taking the condition out of the statement.
    """
    await bed.intend(received("a"))
    await bed.store.set_paused(ACCOUNT, paused=True, reason="sick", at=NOW)

    assert await bed.store.claim_due(WorkerId(7), [ACCOUNT], now=DUE, limit=10) == []

    await bed.store.set_paused(ACCOUNT, paused=False, reason="well", at=NOW)
    assert len(await bed.store.claim_due(WorkerId(7), [ACCOUNT], now=DUE, limit=10)) == 1


async def test_of_many_sweeps_each_payout_has_one(bed: Bed, other: Bed) -> None:
    """Two processes share the work and never take the same payout.

    Proved by claiming without locks and without the guard on the state.
    """
    wanted = names("p", 200)
    await asyncio.gather(*(bed.intend(received(name)) for name in wanted))

    batches = await asyncio.gather(
        *(
            one.store.claim_due(WorkerId(owner), [ACCOUNT], now=DUE, limit=15)
            for owner in range(1, 11)
            for one in (bed, other)
        )
    )

    claimed = [one.payout_id for batch in batches for one in batch]
    assert len(claimed) == len(set(claimed))
    assert await bed.count("payouts WHERE state = 'submitting' AND attempts = 1") == len(claimed)


async def test_what_expired_unsent_ends_with_its_event(bed: Bed) -> None:
    """It is not sent and not returned; a paused account does not keep it open."""
    await bed.intend(received("a", not_after=DUE))
    await bed.waiting("b", sent_at=None)
    await bed.fetch(
        "INSERT INTO accounts (name, paused, paused_at) VALUES ('default', true, now())"
    )
    await bed.intend(received("c", not_after=DUE + seconds(1)))

    claimed = await bed.store.claim_due(WorkerId(7), [ACCOUNT], now=DUE, limit=10)
    told = await bed.store.expire_unsent(now=DUE, limit=10, actor="worker 7")

    assert claimed == []
    assert [event.subject for event in told] == ["a"]
    ended = await bed.standing("a")
    assert (ended.state, ended.completed_at) == (State.FAILED, DUE)
    assert ended.reason is not None
    assert (ended.reason.code, ended.reason.klass) == ("expired", "expired")
    rows = await bed.fetch("SELECT event_id::text FROM events")
    assert [row[0] for row in rows] == [event_id_for("a", "payout.failed")]
    assert (await bed.standing("c")).state is State.RECEIVED


async def test_what_was_ever_sent_does_not_expire(bed: Bed) -> None:
    """`not_after` is about the first submission; after it, only proof ends a payout.

    Proved by taking `submitted_at` out of the condition.
    """
    await bed.intend(payout("a", not_after=NOW + seconds(30)))
    await bed.store.move(move("a", State.WAITING, next_action_at=NOW))

    claimed = await bed.store.claim_due(WorkerId(7), [ACCOUNT], now=DUE, limit=10)

    assert [one.payout_id for one in claimed] == ["a"]


async def test_an_overdue_result_is_doubted(bed: Bed) -> None:
    """The deadline passed: ask now. Who is in time, or ended, is left alone."""
    await bed.accepted("late", next_action_at=DUE)
    await bed.accepted("in-time", next_action_at=DUE + seconds(1))
    await bed.accepted("ended", next_action_at=DUE)
    await bed.store.complete(completion("ended"))

    assert await bed.store.mark_overdue(now=DUE, limit=10, actor="sweep") == ["late"]

    now = await bed.standing("late")
    assert (now.state, now.next_action_at, now.doubt_since) == (State.IN_DOUBT, DUE, DUE)
    assert now.last_sent_at == NOW + seconds(1)
    assert now.reason is not None
    assert now.reason.code == "overdue"
    assert await bed.kinds("late") == ["intent", "answer", "overdue"]


async def test_what_a_silent_worker_had_is_doubted(bed: Bed) -> None:
    """A worker that is not heard of is dead for good; what it may have sent is asked about."""
    silent, living = await bed.store.enlist("silent"), await bed.store.enlist("living")
    await bed.intend(payout("a", owner=silent))
    await bed.intend(payout("b", owner=living))
    await bed.fetch(
        "UPDATE workers SET heartbeat_at = now() - interval '1 minute' WHERE id = $1", silent
    )

    found = await bed.store.mark_abandoned(lease_s=15, now=DUE, limit=10, actor="sweep")

    assert found == ["a"]
    now = await bed.standing("a")
    assert (now.state, now.owner, now.next_action_at) == (State.IN_DOUBT, None, DUE)
    assert (now.submitted_at, now.last_sent_at) == (NOW, DUE)
    assert not (await bed.store.beat(silent)).alive
    assert (await bed.store.beat(living)).alive
    assert (await bed.standing("b")).state is State.SUBMITTING


async def test_what_a_retired_or_unknown_worker_had_is_doubted(bed: Bed) -> None:
    """Nobody will write down the answers of workers that have gone, or that never were."""
    retired = await bed.store.enlist("retired")
    await bed.intend(payout("a", owner=retired))
    await bed.intend(payout("b", owner=WorkerId(10**9)))
    await bed.store.retire(retired)

    found = await bed.store.mark_abandoned(lease_s=15, now=DUE, limit=10, actor="sweep")

    assert sorted(found) == ["a", "b"]


async def test_more_than_a_sweep_takes_is_left_for_the_next(bed: Bed) -> None:
    """A dead worker's payouts are found also after it was declared dead."""
    silent = await bed.store.enlist("silent")
    for name in names("p", 3):
        await bed.intend(payout(name, owner=silent))
    await bed.fetch("UPDATE workers SET heartbeat_at = now() - interval '1 minute'")

    batches = [
        await bed.store.mark_abandoned(lease_s=15, now=DUE, limit=2, actor="sweep")
        for _ in range(3)
    ]

    assert [len(batch) for batch in batches] == [2, 1, 0]


async def test_a_heartbeat_and_a_death_are_never_both_believed(bed: Bed, other: Bed) -> None:
    """Whoever is told that it lives has not been declared dead by that time, and the reverse."""
    for _ in range(20):
        worker = await bed.store.enlist("worker")
        await bed.intend(payout(f"p-{worker}", owner=worker))
        await bed.fetch(
            "UPDATE workers SET heartbeat_at = now() - interval '1 minute' WHERE id = $1", worker
        )

        beat, found = await asyncio.gather(
            bed.store.beat(worker),
            other.store.mark_abandoned(lease_s=15, now=DUE, limit=10, actor="sweep"),
        )

        assert beat.alive != bool(found)


async def test_what_its_worker_does_not_know_is_doubted(bed: Bed) -> None:
    """A living worker's claim without a request in flight was lost on the way to it."""
    owner = await bed.store.enlist("worker")
    for name in ("lost", "flying"):
        await bed.intend(payout(name, owner=owner))
    await bed.intend(payout("young", owner=owner, claimed_at=DUE))
    await bed.intend(payout("others", owner=WorkerId(owner + 1)))

    found = await bed.store.mark_orphaned(owner, [PayoutId("flying")], before=DUE, now=DUE)

    assert found == ["lost"]
    now = await bed.standing("lost")
    assert (now.state, now.last_sent_at) == (State.IN_DOUBT, DUE)


async def test_sweeps_pass_over_rows_that_are_being_written(bed: Bed) -> None:
    """A sweep does not wait for another's lock.

    Proved by taking SKIP LOCKED out: the sweep waits until its lock times out.
    """
    await bed.accepted("a")
    await bed.accepted("b")
    connection = await asyncpg.connect(bed.url)
    try:
        async with connection.transaction():
            await connection.execute("SELECT FROM payouts WHERE payout_id = 'a' FOR UPDATE")
            found = await asyncio.wait_for(
                bed.store.mark_overdue(now=DUE, limit=10, actor="sweep"), 5
            )
    finally:
        await connection.close()

    assert found == ["b"]
