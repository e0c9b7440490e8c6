"""The services of Results and suspects on real books: what came before, what contradicts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from retention_bed import archive, ended
from storage_bed import ACCOUNT, NOW, RECEIVER, Bed, move, own_id, payout, seconds

from payouts.domain.answers import QueueTimeout, Result
from payouts.domain.decisions import Policies
from payouts.domain.events import Event
from payouts.domain.payout import HELD_CONTRADICTED, HELD_RETURNED, State
from payouts.domain.signals import SIGNALS, Signal
from payouts.domain.values import ConversationId, PayoutId, TransactionId
from payouts.ports import Intent, Order
from payouts.services.completion import Completions
from payouts.services.patience import Patience
from payouts.services.relay import Relay
from payouts.services.upkeep import Upkeep
from payouts.storage.orders import PostgresOrders
from worker.suspects import Suspects

A = PayoutId("a")
JANE = Order(operator="jane", reason="ticket 12", at=NOW + seconds(900))


class _Signals:
    """Keeps what was told, with documented fields only and without personal data."""

    def __init__(self) -> None:
        self.told: list[tuple[Signal, dict[str, object]]] = []

    def emit(self, signal: Signal, /, **fields: object) -> None:
        assert set(fields) <= set(SIGNALS[signal].fields)
        assert RECEIVER not in str(fields)
        self.told.append((signal, fields))

    def names(self) -> list[Signal]:
        return [signal for signal, _ in self.told]


class _Downstream:
    """Takes every event."""

    def __init__(self) -> None:
        self.taken: list[Event] = []

    async def publish(self, event: Event) -> None:
        self.taken.append(event)


class Services:
    """What a callback server does, on the bed's books."""

    def __init__(self, bed: Bed) -> None:
        self.signals, self.downstream = _Signals(), _Downstream()
        self.relay = Relay(bed.store, self.downstream, bed.clock, self.signals)
        self.completions = Completions(
            store=bed.store,
            relay=self.relay,
            clock=bed.clock,
            telemetry=self.signals,
            policies=Policies(),
            actor="callback server",
        )
        self.upkeep = Upkeep(
            store=bed.store,
            completions=self.completions,
            relay=self.relay,
            clock=bed.clock,
            telemetry=self.signals,
            policies=Policies(),
            lease_s=15,
            actor=lambda: "callback server",
        )


@pytest.fixture
def services(bed: Bed) -> Services:
    return Services(bed)


def result(code: str = "0", name: str = "a", **changes: Any) -> Result:
    facts: dict[str, Any] = {
        "code": code,
        "description": "words",
        "originator_conversation_id": own_id(name),
        "conversation_id": ConversationId(f"AG_{name}"),
        "transaction_id": TransactionId(f"SKU{name}"),
        "amount_minor": 125_050,
        "receiver": RECEIVER,
        "parameters": {"ReceiverPartyPublicName": f"{RECEIVER} - é"},
    }
    return Result(**{**facts, **changes})


async def test_what_came_before_its_payout_is_applied_when_the_payout_is_back(
    bed: Bed, services: Services
) -> None:
    """The restored books have the end, its event and its receipt, without any send."""
    await services.completions.take_result(result("43"))
    await services.completions.take_result(result())
    back = await bed.intend(payout("a"))
    assert (back.state, back.held) == (State.RECEIVED, HELD_RETURNED)

    assert await services.upkeep.apply_returned() == 2
    await services.relay.drain()

    ended = await bed.standing("a")
    assert (ended.state, ended.transaction_id) == (State.SUCCEEDED, "SKUa")
    assert ended.attempts == 0
    assert [event.subject for event in services.downstream.taken] == ["a"]
    assert await services.upkeep.apply_returned() == 0


async def test_what_disagrees_with_the_payout_that_is_back_is_asked_about(
    bed: Bed, services: Services
) -> None:
    """Another amount under its id: the payout is in doubt, never sent as new; it is told once."""
    await services.completions.take_result(result(amount_minor=1))
    await bed.intend(payout("a"))

    assert await services.upkeep.apply_returned() == 1
    assert await services.upkeep.apply_returned() == 0

    doubted = await bed.standing("a")
    assert doubted.state is State.IN_DOUBT
    assert doubted.held == HELD_RETURNED
    assert await bed.count("incidents WHERE kind = 'mismatch'") == 1


async def test_the_same_result_again_is_the_same_incident(bed: Bed, services: Services) -> None:
    """A gateway that sends what contradicts again and again makes one incident of it.

    Proved by the instant in the incident's identity: each time made another.
    """
    await bed.succeeded("a")
    for _ in range(3):
        await services.completions.take_result(result("7"))
        bed.clock.instant += seconds(60)
    assert await bed.count("incidents WHERE kind = 'contradiction'") == 1
    await services.completions.take_result(result("8"))
    assert await bed.count("incidents WHERE kind = 'contradiction'") == 2


async def test_a_late_success_stops_the_submission_that_followed_and_tells_it(
    bed: Bed, services: Services
) -> None:
    """The first submission was paid after all: the second is held where it still can be."""
    await bed.intend(payout("a"))
    await bed.store.move(move("a", State.FAILED))
    orders = PostgresOrders(bed.store._context)
    carried = await orders.retry(A, JANE)
    assert carried.payout is not None
    second = carried.payout.payout_id

    await services.completions.take_result(result())

    held = await bed.standing(second)
    assert held.held == HELD_CONTRADICTED
    told = dict(services.signals.told)[Signal.PAYOUT_HELD]
    assert told["payout_id"] == second
    assert (await bed.standing("a")).state is State.FAILED
    owner = await bed.store.enlist("w", accounts=[ACCOUNT])
    assert not await bed.store.claim_due(owner, [ACCOUNT], now=NOW + seconds(99_999), limit=9)


async def test_a_doubt_that_lasts_is_one_incident_whoever_tells_it(
    bed: Bed, services: Services
) -> None:
    """The worker that asks and the sweep that looks keep one incident between them."""
    doubtful = await bed.in_doubt("a")
    for _ in range(2):
        await services.completions.incidents.record_stuck(doubtful, "look it up")
        bed.clock.instant += seconds(3600)
    await bed.store.postpone(A, next_action_at=None)
    bed.clock.instant += seconds(90_000)
    assert await services.upkeep.find_stuck() == 0
    assert await bed.count("incidents WHERE kind = 'stuck'") == 1


async def test_what_stands_still_is_told_once(bed: Bed, services: Services) -> None:
    """A payout that is held for a day is an incident, once."""
    await services.completions.take_result(result("43", name="b"))
    await bed.intend(payout("b"))
    bed.clock.instant += seconds(2 * 24 * 3600)
    assert await services.upkeep.find_stuck() == 1
    assert await services.upkeep.find_stuck() == 0
    assert services.signals.names().count(Signal.PAYOUT_STUCK) == 1


async def test_a_suspect_is_counted_across_processes(bed: Bed, other: Bed) -> None:
    """What a crash leaves behind is seen by the next worker; an end removes it."""
    signals = _Signals()

    def suspects(one: Bed) -> Suspects:
        return Suspects(store=one.store, clock=one.clock, patience=Patience(one.clock, signals))

    async def die(one: Bed) -> None:
        async with suspects(one).alone(b"poison"):
            raise MemoryError

    for one in (bed, other, bed):
        with pytest.raises(MemoryError):
            await die(one)
        bed.clock.instant += seconds(1)
        other.clock.instant += seconds(1)
    async with suspects(other).alone(b"poison") as begun:
        assert begun == 3
    assert await bed.count("suspects") == 0


async def test_an_amount_that_was_unreadable_stays_so(bed: Bed, services: Services) -> None:
    """What nobody could read is no agreement after a restore either."""
    await services.completions.take_result(replace(result(), amount_unreadable=True))
    await bed.intend(payout("a"))
    await services.upkeep.apply_returned()
    assert (await bed.standing("a")).state is State.IN_DOUBT


async def test_a_result_long_after_is_compared_with_the_archive(
    bed: Bed, services: Services
) -> None:
    """What agrees changes nothing; what contradicts is an incident of this payout, not unmatched.

    Proved by leaving the archive out of `_match`: both were kept as of an unknown payout.
    """
    await ended(bed, "a")
    assert await archive(bed) == 1

    await services.completions.take_result(result())
    assert await bed.count("incidents") == 0
    assert services.signals.names() == [Signal.RESULT_REPEATED]

    await services.completions.take_result(result("2040"))
    await services.completions.take_result(result(transaction_id=TransactionId("SKUother")))
    await services.completions.take_result(result(receiver="254700000000"))
    kinds = await bed.fetch("SELECT kind, payout_id FROM incidents")
    assert [tuple(row) for row in kinds] == [("contradiction", "a")] * 3
    assert (await bed.standing("a")).state is State.SUCCEEDED


async def test_what_else_comes_long_after_finds_the_archive_too(
    bed: Bed, services: Services
) -> None:
    """A queue time-out and an intermediate Result are of a payout that has ended: nothing more."""
    await ended(bed, "a")
    assert await archive(bed) == 1

    await services.completions.take_queue_timeout(
        QueueTimeout(originator_conversation_id=own_id("a"))
    )
    await services.completions.take_result(replace(result("43"), intermediate=True))

    assert await bed.count("incidents") == 0
    assert await bed.count("timeline") == 0


async def test_the_relay_tells_the_event_of_an_archived_payout_again(
    bed: Bed, services: Services
) -> None:
    """Its command came again, and whoever took it died before it could publish the event."""
    told = (await bed.succeeded("a")).event
    assert told is not None
    await bed.store.mark_published(told.event_id)
    assert await archive(bed) == 1
    bed.clock.instant += seconds(60)
    await bed.store.record_intent(Intent(payout=payout("a"), actor="worker 2"))

    assert await services.relay.sweep() == 1
    await services.relay.drain()

    assert services.downstream.taken == [told]
    assert await services.relay.sweep() == 0
