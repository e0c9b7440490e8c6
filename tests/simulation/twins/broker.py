"""The twin of RabbitMQ: a process's consumers and publishers over shared queues.

    broker = Broker(far, faults, watch)
    consumer = broker.consumer(process, account, prefetch, handler, on_failure)

`consumer` stands in for `payouts.messaging.consumer.CommandConsumer`, `publisher(process)` for an
`EventPublisher`, `dead_letters(process)` for `payouts.messaging.publisher.DeadLetters`. A handler
runs as a task of the process that started the consumer. `lost(process)` tells that it has died.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from payouts.domain.errors import BrokerUnavailableError, UnroutableError
from payouts.domain.events import Event
from payouts.domain.values import AccountName
from payouts.messaging.dead import dead_properties
from payouts.messaging.delivery import Delivery
from tests.simulation.seams import BrokerFaults, BrokerWatch, Far
from tests.simulation.twins.queues import Channel, DeadLetter, Queues
from tests.simulation.twins.waiting import rest

__all__ = ["Broker", "DeadLetter", "TwinConsumer", "TwinDeadLetters", "TwinPublisher"]

LOST_PAUSE_S: Final = 0.2
FIRST_PAUSE_S: Final = 0.05
PAUSE_CAP_S: Final = 5.0

Handler = Callable[[Delivery], Awaitable[None]]
OnFailure = Callable[[Delivery, Exception], None]


class Broker(Queues):
    """One RabbitMQ for all processes."""

    def __init__(self, far: Far, faults: BrokerFaults, watch: BrokerWatch) -> None:
        super().__init__(far, faults, watch)
        self.far = far
        self.faults = faults

    def consumer(
        self,
        process: str,
        account: AccountName,
        prefetch: int,
        handler: Handler,
        on_failure: OnFailure | None = None,
    ) -> TwinConsumer:
        """Return what takes an account's commands in a process; it does not begin by itself."""
        return TwinConsumer(
            self, Channel(process, account, prefetch, _nowhere, _nothing), handler, on_failure
        )

    def publisher(self, process: str) -> TwinPublisher:  # noqa: ARG002 - all are alike
        """Return what publishes a process's events."""
        return TwinPublisher(self)

    def dead_letters(self, process: str) -> TwinDeadLetters:  # noqa: ARG002 - all are alike
        """Return what puts a process's commands aside."""
        return TwinDeadLetters(self)

    def way_s(self) -> float:
        """Return how long something takes to arrive."""
        return self.far.random.random() * self.faults.latency_s

    async def there_and_back(self, act: Callable[[], None]) -> None:
        """Return once RabbitMQ has done something and has said so."""
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def answered() -> None:
            if not answer.done():
                answer.set_result(None)

        def done() -> None:
            act()
            self.far.after(self.way_s(), answered)

        self.far.after(self.way_s(), done)
        await answer

    async def publish(self, take: Callable[[], None], *, routable: bool) -> None:
        """Return once a message is taken for good.

        Raises:
            UnroutableError: no queue takes it.
            BrokerUnavailableError: it is not certain that it was taken.
        """
        faults, random = self.faults, self.far.random.random
        lost, unconfirmed = random() < faults.lost_publish, random() < faults.lost_confirm
        trouble: list[Exception] = []

        def arrive() -> None:
            if lost or faults.away:
                trouble.append(BrokerUnavailableError("(never arrived)"))
            elif not routable:
                trouble.append(UnroutableError("(no queue)"))
            else:
                take()
                if unconfirmed:
                    trouble.append(BrokerUnavailableError("(not confirmed)"))

        await self.there_and_back(arrive)
        if trouble:
            raise trouble[0]


class TwinConsumer:
    """Hands deliveries to a handler, as `CommandConsumer` and its sessions do."""

    def __init__(
        self, broker: Broker, channel: Channel, handler: Handler, on_failure: OnFailure | None
    ) -> None:
        self._broker = broker
        self._source = channel
        self._channel: Channel | None = None
        self._handler = handler
        self._on_failure = on_failure
        self._wanted = True
        self._lock = asyncio.Lock()
        self._tasks: dict[asyncio.Task[None], None] = {}
        self._arrived: list[Delivery] = []
        self._woken: asyncio.Future[None] | None = None
        self._supervisor: asyncio.Task[None] | None = None

    @property
    def consuming(self) -> bool:
        """Whether RabbitMQ delivers now; False also while paused."""
        channel = self._channel
        return channel is not None and self._wanted and not channel.ended

    @property
    def in_hand(self) -> int:
        """How many deliveries are with their handlers."""
        return len(self._tasks)

    def start(self) -> None:
        """Begin to consume in the background, unless paused before."""
        if self._supervisor is None:
            self._supervisor = asyncio.create_task(self._run())

    async def pause(self) -> None:
        """Take nothing more; deliveries in hand go on, the rest stays in the queue."""
        async with self._lock:
            self._wanted = False
            await self._align()

    async def resume(self) -> None:
        """Take deliveries again."""
        async with self._lock:
            self._wanted = True
            await self._align()

    async def stop(self, *, grace_s: float) -> int:
        """Take nothing more, wait for the handlers, give the rest back; return how many that is."""
        await self.pause()
        if self._supervisor is not None:
            self._supervisor.cancel()
            await asyncio.gather(self._supervisor, return_exceptions=True)
            self._supervisor = None
        channel, self._channel = self._channel, None
        if channel is None:
            return 0
        self._hand_out(channel)
        if self._tasks:
            await asyncio.wait(list(self._tasks), timeout=grace_s)
        abandoned = list(self._tasks)
        for task in abandoned:
            task.cancel()
        await asyncio.gather(*abandoned, return_exceptions=True)
        await self._broker.there_and_back(lambda: self._broker.lose(channel))
        return len(abandoned)

    async def _align(self) -> None:
        channel = self._channel
        if channel is None or channel.ended or channel.consuming is self._wanted:
            return
        broker = self._broker
        if self._wanted:
            await broker.there_and_back(lambda: broker.consume(channel))
        else:
            await broker.there_and_back(lambda: broker.cancel(channel))

    async def _run(self) -> None:
        while True:
            source = self._source
            channel = Channel(
                source.process, source.account, source.prefetch, self._arrive, self._wake
            )
            async with self._lock:
                self._channel = channel
                await self._align()
            while not channel.ended:
                self._woken = asyncio.get_running_loop().create_future()
                if not self._arrived:
                    await self._woken
                self._hand_out(channel)
            self._arrived.clear()  # RabbitMQ has them back.
            # Without this wait a flapping broker would pile up more than `prefetch` in hand.
            if self._tasks:
                await asyncio.wait(list(self._tasks))
            await rest(self._broker.far, LOST_PAUSE_S)

    def _arrive(self, delivery: Delivery) -> None:
        self._arrived.append(delivery)
        self._wake()

    def _wake(self) -> None:
        if self._woken is not None and not self._woken.done():
            self._woken.set_result(None)

    def _hand_out(self, channel: Channel) -> None:
        arrived, self._arrived = self._arrived, []
        for delivery in arrived:
            task = asyncio.create_task(self._handle(channel, delivery))
            self._tasks[task] = None
            task.add_done_callback(lambda done: self._tasks.pop(done, None))

    async def _handle(self, channel: Channel, delivery: Delivery) -> None:
        broker, tag = self._broker, delivery.tag
        try:
            await self._handler(delivery)
        except Exception as error:  # noqa: BLE001 - whatever a handler raises, the queue goes on
            if self._on_failure is not None:
                self._on_failure(delivery, error)
            growth = 2 ** min(delivery.delivery_count, 10)
            await rest(broker.far, min(PAUSE_CAP_S, FIRST_PAUSE_S * growth))
            broker.far.after(broker.way_s(), lambda: broker.reject(channel, tag))
        else:
            await asyncio.sleep(0)  # Handled, and not yet acknowledged.
            broker.far.after(broker.way_s(), lambda: broker.acknowledge(channel, tag))


class TwinPublisher:
    """An `EventPublisher`."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    async def publish(self, event: Event) -> None:
        """Return once at least one queue has the event (see the port)."""
        broker = self._broker
        routable = not broker.faults.unroutable
        await broker.publish(lambda: broker.took_event(event), routable=routable)


class TwinDeadLetters:
    """Puts commands aside, as `payouts.messaging.publisher.DeadLetters` does."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    async def put(self, delivery: Delivery, *, reason: str, detail: str) -> None:
        """Return once the dead letter is durable: same body and properties, more headers."""
        letter = DeadLetter(
            delivery.body,
            dead_properties(delivery, reason=reason, detail=detail, at=self._broker.far.now()),
            reason,
            detail,
            delivery.routing_key,
        )
        await self._broker.publish(lambda: self._broker.took_dead_letter(letter), routable=True)


def _nowhere(_: Delivery) -> None:
    """A consumer's channel is not open yet."""


def _nothing() -> None:
    """A consumer's channel is not open yet."""
