from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import cast

import pytest
from services_bed import (
    NAME,
    NOW,
    OWNER,
    Clock,
    Port,
    Signals,
    payout,
    relay,
)

from payouts.domain.answers import Answer, NotSent, NotSentCause, Response
from payouts.domain.decisions import Policies
from payouts.domain.payout import Payout, State
from payouts.domain.values import PayoutId
from payouts.ports import Gateway, Move, Moved, Pace, PayoutStore
from payouts.services.accounts import Accounts
from payouts.services.lease import Lease
from payouts.services.patience import Patience
from payouts.services.submission import Submission

FENCED = NotSent(cause=NotSentCause.FENCED)
BUSY = Response(code="26")


class _Gateway:
    """Takes its time, then asks as the wire does; answers in order what it was taught."""

    def __init__(self, clock: Clock, answers: Sequence[Answer], takes_s: float) -> None:
        self._clock, self._answers, self._takes_s = clock, list(answers), takes_s
        self.sent = 0

    async def submit(self, one: Payout, *, may_send: Callable[[], bool]) -> Answer:
        assert one.state is State.SUBMITTING
        self._clock.go(self._takes_s)
        if not may_send():
            return FENCED
        self.sent += 1
        return self._answers.pop(0)


class Bed:
    """A submission at a gateway whose connection takes a while."""

    def __init__(self, *answers: Answer, takes_s: float = 1.0) -> None:
        clock, signals = Clock(), Signals()
        self.store = Port(
            {"enlist": OWNER, "move": lambda move: Moved(payout=payout(state=move.to))}
        )
        store = cast("PayoutStore", self.store)
        policies = Policies()
        self.gateway = _Gateway(clock, answers, takes_s)
        gateway = cast("Gateway", self.gateway)
        self.lease = Lease(store, clock, signals, name="w", lease_s=1000)
        self.submission = Submission(
            store=store,
            gateway=gateway,
            pace=cast("Pace", _NoPace()),
            accounts=Accounts([NAME], store, gateway, clock, signals, policies),
            relay=relay(self.store, clock, signals),
            lease=self.lease,
            clock=clock,
            telemetry=signals,
            policies=policies,
            jitter=lambda: 0.5,
            patience=Patience(clock, signals),
        )

    async def submit(self, one: Payout) -> State:
        """Submit and give the state that was written down."""
        await self.lease.enlist()
        await self.submission.submit(one, may_send=lambda: True)
        state = self.store.calls("move")[-1]["a"].to
        assert isinstance(state, State)
        return state


def _moved(move: Move) -> Moved:
    return Moved(payout=payout(state=move.to))


class _NoPace:
    """Everybody's turn is now."""

    async def turn(self, account: object) -> None:
        assert account

    def slow_down(self, account: object) -> None:
        assert account


@pytest.mark.parametrize(("seconds", "sent"), [(0.5, 0), (1.0, 0), (1.5, 1)])
async def test_what_expires_on_its_way_to_the_first_byte_is_not_sent(
    seconds: float, sent: int
) -> None:
    """`not_after` is looked at in the last instant; what is late waits, unsent, and expires.

    Proved by looking at the intake only: it was paid after its time.
    """
    bed = Bed(Response(code="0"))
    state = await bed.submit(payout(not_after=NOW + timedelta(seconds=seconds)))
    assert bed.gateway.sent == sent
    assert state is (State.ACCEPTED if sent else State.WAITING)
    assert (bed.store.calls("move")[-1]["a"].sent_at is None) is (not sent)


async def test_once_a_send_has_left_nothing_expires() -> None:
    """The first submission has begun in time: the same id may be tried again later.

    Proved by looking at the instant alone: the second try was held back.
    """
    bed = Bed(BUSY, Response(code="0"))
    assert await bed.submit(payout(not_after=NOW + timedelta(seconds=1.1))) is State.ACCEPTED
    assert bed.gateway.sent == 2


async def test_what_was_sent_in_an_earlier_attempt_does_not_expire() -> None:
    """It may be on its way; only its first submission had to begin in time."""
    bed = Bed(Response(code="0"))
    before = NOW - timedelta(seconds=60)
    late = payout(not_after=before, submitted_at=before, attempts=2)
    assert await bed.submit(late) is State.ACCEPTED


@pytest.mark.parametrize(("held", "sent"), [(None, 1), ("contradicted", 0)])
async def test_a_later_submission_that_was_held_meanwhile_is_not_sent(
    held: str | None, sent: int
) -> None:
    """A contradiction that came while it waited for its turn still stops it.

    Proved by looking at the claim only: it was paid a second time.
    """
    bed = Bed(Response(code="0"))
    second = payout("one-r2", retry_of=PayoutId("one"))
    bed.store.answers["find"] = replace(second, held=held)
    state = await bed.submit(second)
    assert bed.gateway.sent == sent
    assert state is (State.ACCEPTED if sent else State.WAITING)


async def test_a_first_submission_costs_no_further_look() -> None:
    """Only what a person has had sent again is looked at once more."""
    bed = Bed(Response(code="0"))
    await bed.submit(payout())
    assert "find" not in bed.store.names
