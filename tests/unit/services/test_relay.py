from typing import cast

from services_bed import NOW, Clock, Port, Signals, payout

from payouts.domain.errors import BrokerUnavailableError, UnroutableError
from payouts.domain.events import Event, event_of
from payouts.domain.payout import State
from payouts.domain.signals import Signal
from payouts.ports import EventPublisher, Outbox
from payouts.services.relay import AWAY_AFTER, Relay


def events(count: int) -> list[Event]:
    return [event_of(payout(f"{n}", state=State.SUCCEEDED, completed_at=NOW)) for n in range(count)]


class Bed:
    """A relay over an outbox that has as many events as are asked for."""

    def __init__(self) -> None:
        self.outbox, self.publisher, self.signals = Port(), Port(), Signals()
        self.outbox.answers["claim_unpublished"] = lambda limit, **_: events(limit)
        self.relay = Relay(
            cast("Outbox", self.outbox),
            cast("EventPublisher", self.publisher),
            Clock(),
            self.signals,
            limit=50,
        )

    async def sweep(self) -> int:
        """Sweep once and wait for what it published; give how many were claimed."""
        count = await self.relay.sweep()
        await self.relay.drain()
        return count


async def test_while_rabbitmq_is_away_one_event_at_a_time_is_tried() -> None:
    """Nothing is claimed that cannot be published, and no log is flooded; then all goes on.

    Proved by claiming as always: each second five hundred were claimed, hidden and told.
    """
    bed = Bed()
    bed.publisher.answers["publish"] = BrokerUnavailableError("away")
    assert await bed.sweep() == 50
    assert await bed.sweep() == 1
    assert await bed.sweep() == 1
    told = len(bed.signals.of(Signal.EVENT_POSTPONED))
    for event in events(30):
        bed.relay.offer(event)
    await bed.relay.drain()
    assert len(bed.signals.of(Signal.EVENT_POSTPONED)) == told

    bed.publisher.answers["publish"] = None
    assert await bed.sweep() == 1
    assert await bed.sweep() == 50
    bed.relay.offer(events(1)[0])
    await bed.relay.drain()
    assert len(bed.outbox.calls("mark_published")) == 52


async def test_a_queue_that_refuses_some_events_is_not_rabbitmq_away() -> None:
    """One refusal in ten, as long as others are taken, slows nothing down."""
    bed = Bed()
    count = 0

    def publish(_: Event) -> None:
        nonlocal count
        count += 1
        if count % AWAY_AFTER:
            raise BrokerUnavailableError("refused")

    bed.publisher.answers["publish"] = publish
    for _ in range(4):
        assert await bed.sweep() == 50


async def test_events_that_no_queue_takes_show_that_rabbitmq_is_there() -> None:
    """They stay in the outbox; the others go on."""
    bed = Bed()
    bed.publisher.answers["publish"] = UnroutableError("nobody")
    assert [await bed.sweep() for _ in range(3)] == [50, 50, 50]
    assert not bed.outbox.calls("mark_published")
