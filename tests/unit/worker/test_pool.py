import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import cast

from payouts.domain.commands import DEFAULT_ACCOUNT
from payouts.domain.payout import Payout, State
from payouts.domain.values import (
    AccountName,
    OriginatorConversationId,
    PayoutId,
    WorkerId,
)
from payouts.services.submission import Submission
from worker.pool import Pool

NOW = datetime(2026, 11, 23, tzinfo=UTC)


def payout(name: str) -> Payout:
    return Payout(
        payout_id=PayoutId(name),
        account=AccountName("default"),
        amount_minor=100,
        currency="KES",
        msisdn="254712345678",
        command_id="BusinessPayment",
        originator_conversation_id=OriginatorConversationId(f"600000_ORG_{name}"),
        state=State.SUBMITTING,
        created_at=NOW,
        attempts=1,
        owner=WorkerId(1),
        claimed_at=NOW,
    )


class _Sending:
    """A submission that ends when told."""

    def __init__(self) -> None:
        self.begun: list[PayoutId] = []
        self.first = asyncio.Event()
        self.end = asyncio.Event()

    async def submit(self, one: Payout, *, may_send: Callable[[], bool]) -> None:
        assert may_send()
        self.begun.append(one.payout_id)
        self.first.set()
        await self.end.wait()


class _NoPace:
    """Everybody's turn is now."""

    async def turn(self, account: AccountName) -> None:
        assert account

    def slow_down(self, account: AccountName) -> None:
        assert account


async def test_what_is_being_written_down_counts_as_in_flight() -> None:
    """The sweep of orphans must not doubt a payout whose intent is still tried again.

    Proved by naming only what is being sent: after an outage never-sent payouts were doubted.
    """
    sending = _Sending()
    pool = Pool(cast("Submission", sending), _NoPace(), 2)
    one, two = PayoutId("one"), PayoutId("two")
    await pool.take_slot(DEFAULT_ACCOUNT)
    with pool.expecting(one), pool.expecting(one):
        with pool.expecting(two):
            assert set(pool.in_flight) == {one, two}
        assert set(pool.in_flight) == {one}
        pool.start(payout("one"), has_turn=True)
    assert set(pool.in_flight) == {one}
    sending.end.set()
    assert await pool.drain(5) == 0
    assert pool.in_flight == []


async def test_a_drain_waits_for_what_began_during_it_and_brings_nothing_more() -> None:
    """What was claimed as the drain began is sent to its end; sweeps find no slot.

    Proved by waiting once for what was in flight at first: the second send was cut off.
    """
    sending = _Sending()
    pool = Pool(cast("Submission", sending), _NoPace(), 3)
    await pool.take_slot(DEFAULT_ACCOUNT)
    await pool.take_slot(DEFAULT_ACCOUNT)
    drained = asyncio.create_task(pool.drain(5))
    pool.start(payout("one"), has_turn=True)
    await sending.first.wait()  # The drain, which came first, waits by now.
    assert pool.closing
    pool.start(payout("two"), has_turn=True)
    assert pool.free(DEFAULT_ACCOUNT) == 0
    sending.end.set()
    assert await drained == 0
    assert sending.begun == ["one", "two"]
