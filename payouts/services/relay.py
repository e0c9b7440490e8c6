"""Brings durable events to downstream: at once where it can, by sweep where something failed."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Final

from payouts.domain.errors import (
    BrokerUnavailableError,
    StoreRefusedError,
    StoreUnavailableError,
    UnroutableError,
)
from payouts.domain.events import Event
from payouts.domain.signals import Signal
from payouts.ports import Clock, EventPublisher, Outbox, Telemetry

HIDDEN_S: Final = 30.0
OVERLOOKED_AFTER_S: Final = 5.0
AWAY_AFTER: Final = 10


class Relay:
    """Publishes every event at least once, always with the same id (design.md §2, 6).

    While RabbitMQ is away, one event a sweep is tried; the others are neither claimed nor told.

    Args:
        limit: how many events may be in hand at once; what is offered beyond stays in the
            outbox for the sweep.
        keep_unroutable: whether an event that no queue takes is tried again; otherwise it is
            taken as published (PAYOUTS_MANDATORY_EVENTS).
    """

    def __init__(
        self,
        outbox: Outbox,
        publisher: EventPublisher,
        clock: Clock,
        telemetry: Telemetry,
        *,
        limit: int = 500,
        keep_unroutable: bool = True,
    ) -> None:
        self._outbox = outbox
        self._publisher = publisher
        self._clock = clock
        self._telemetry = telemetry
        self._limit = limit
        self._keep_unroutable = keep_unroutable
        self._tasks: set[asyncio.Task[None]] = set()
        self._failures = 0  # In a row; one event that a queue refuses is not RabbitMQ away.

    @property
    def _away(self) -> bool:
        return self._failures >= AWAY_AFTER

    def offer(self, event: Event | None) -> None:
        """Publish a durable event soon; never waits, never raises."""
        if event is not None and not self._away and len(self._tasks) < self._limit:
            self._begin(event)

    def _begin(self, event: Event) -> None:
        task = asyncio.create_task(self._publish(event))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def sweep(self) -> int:
        """Offer events that have been overlooked, as many as may be in hand; return how many."""
        now = self._clock.now()
        free = max(0, self._limit - len(self._tasks))
        events = await self._outbox.claim_unpublished(
            older_than=now - timedelta(seconds=OVERLOOKED_AFTER_S),
            until=now + timedelta(seconds=HIDDEN_S),
            limit=min(1, free) if self._away else free,
        )
        for event in events:
            self._begin(event)
        return len(events)

    async def drain(self) -> None:
        """Wait for the events in hand."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def _publish(self, event: Event) -> None:
        try:
            await self._publisher.publish(event)
        except UnroutableError:
            self._failures = 0
            self._telemetry.emit(
                Signal.EVENT_UNROUTABLE,
                event_id=event.event_id,
                type=event.type,
                payout_id=event.subject,
            )
            if self._keep_unroutable:
                return
        except BrokerUnavailableError:
            self._failures += 1
            self._telemetry.emit(
                Signal.EVENT_POSTPONED, event_id=event.event_id, payout_id=event.subject
            )
            return
        else:
            self._failures = 0
            self._telemetry.emit(
                Signal.EVENT_PUBLISHED,
                event_id=event.event_id,
                type=event.type,
                payout_id=event.subject,
                seconds=(self._clock.now() - event.time).total_seconds(),
            )
        try:
            await self._outbox.mark_published(event.event_id)
        except (StoreUnavailableError, StoreRefusedError) as error:
            # It stays in the outbox and is published again, with the same id.
            self._telemetry.emit(
                Signal.SWEEP_FAILED, sweep="mark_published", error=type(error).__name__
            )
