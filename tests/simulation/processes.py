"""Simulated workers and callback servers: the product's own parts over the twins."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Self, cast

from callback_server.parts import Parts as CallbackParts
from payouts.domain.answers import Answer, BrokerAnswer, BrokerRecord, QueueTimeout, Result
from payouts.domain.decisions import Jitter
from payouts.domain.errors import PayoutsError, StoreUnavailableError
from payouts.domain.payout import Payout
from payouts.domain.signals import Signal
from payouts.domain.values import AccountName, OriginatorConversationId
from payouts.messaging.consumer import CommandConsumer
from payouts.messaging.delivery import Delivery
from payouts.messaging.event_publisher import AmqpEventPublisher
from payouts.messaging.publisher import DeadLetters
from payouts.messaging.session import Handler
from payouts.mpesa.client import SoapGateway
from payouts.services.sweeps import Sweep, SweepLoops
from payouts.settings import CallbackSettings, WorkerSettings
from payouts.storage.clock import BooksClock
from payouts.storage.pace import PostgresPace
from payouts.storage.store import PostgresStore
from tests.simulation.auditor import Auditor
from tests.simulation.clocks import ProcessClock, pass_time
from tests.simulation.loop import Process
from tests.simulation.twins.broker import Broker
from tests.simulation.twins.gateway import TwinGateway, TwinPace
from tests.simulation.twins.store import TwinStore
from worker import app
from worker.parts import Adapters, Parts

STORE_WITHIN_S: Final = 20.0  # As callback_server/handlers.py has it.
# The heartbeat has to come in time, or nothing else can; orphans are watched for as in production.
_PUNCTUAL: Final = frozenset({"heartbeat", "orphans"})


class Silence:
    """Telemetry that nobody reads."""

    def emit(self, signal: Signal, /, **fields: object) -> None:
        """Tell nobody."""


@dataclass(slots=True)
class WatchedGateway:
    """A process's gateway under the auditor's eyes: what leaves, and how much at once."""

    inner: TwinGateway
    auditor: Auditor
    process: str
    limit: int
    in_flight: int = 0

    async def submit(self, payout: Payout, *, may_send: Callable[[], bool]) -> Answer:
        """Pass a request on, and tell the auditor in the instant in which its bytes leave."""

        def leaving() -> bool:
            leaves = may_send()
            if leaves:
                self.auditor.sending(payout)
            return leaves

        self.in_flight += 1
        self.auditor.in_hand(self.process, self.in_flight, self.limit, "requests")
        try:
            return await self.inner.submit(payout, may_send=leaving)
        finally:
            self.in_flight -= 1

    async def ask_core(
        self, payout: Payout, query_id: OriginatorConversationId, *, may_send: Callable[[], bool]
    ) -> Answer:
        """Pass a question on."""
        return await self.inner.ask_core(payout, query_id, may_send=may_send)

    async def ask_broker(self, payout: Payout) -> BrokerAnswer:
        """Pass a question on, and tell the auditor of a *not found*."""
        answer = await self.inner.ask_broker(payout)
        if isinstance(answer, BrokerRecord) and not (
            answer.requests or answer.responses or answer.unreadable_responses or answer.results
        ):
            self.auditor.not_found_said(payout.originator_conversation_id)
        return answer

    def can_ask_broker(self, account: AccountName) -> bool:
        """Tell whether the broker's log can be asked."""
        return self.inner.can_ask_broker(account)

    async def probe(self, account: AccountName) -> bool:
        """Try to connect."""
        return await self.inner.probe(account)


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a process is given by its world."""

    process: Process
    clock: ProcessClock
    store: TwinStore
    broker: Broker
    pace: TwinPace
    auditor: Auditor
    jitter: Jitter
    stretch: Callable[[], float]
    ended: Callable[[], None]


class _RestingClock:
    """A process's clock for its sweeps: they rest longer, to save their turns."""

    def __init__(self, clock: ProcessClock, stretch: Callable[[], float]) -> None:
        self._clock = clock
        self._stretch = stretch

    def now(self) -> datetime:
        """Return the instant that the process believes in."""
        return self._clock.now()

    def monotonic(self) -> float:
        """Return the process's seconds."""
        return self._clock.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Rest longer than was asked for."""
        await pass_time(seconds * self._stretch())


class Loops:
    """The product's loops of sweeps; all but the punctual ones take it slowly."""

    def __init__(self, sweeps: Sequence[Sweep], around: Surroundings, telemetry: Silence) -> None:
        resting = _RestingClock(around.clock, around.stretch)
        self._loops = [
            SweepLoops(
                [one for one in sweeps if one.name in _PUNCTUAL],
                around.clock,
                telemetry,
                around.jitter,
            ),
            SweepLoops(
                [one for one in sweeps if one.name not in _PUNCTUAL],
                resting,
                telemetry,
                around.jitter,
            ),
        ]

    async def __aenter__(self) -> Self:
        for loops in self._loops:
            await loops.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def stop(self) -> None:
        """End all loops."""
        for loops in self._loops:
            await loops.stop()


class WorkerProcess:
    """One worker: `run` is what `worker.app.work` does, over twins."""

    def __init__(
        self, around: Surroundings, settings: WorkerSettings, gateway: TwinGateway
    ) -> None:
        self.around = around
        self.settings = settings
        self.stopping = asyncio.Event()
        self.gateway = WatchedGateway(
            gateway,
            around.auditor,
            around.process.name,
            max(settings.concurrency, len(settings.accounts)),
        )

    async def run(self) -> None:
        """Work until told to stop, then drain; a process that cannot begin ends."""
        with suppress(PayoutsError):  # It exits with 1; whoever supervises it starts another.
            await self._work()
        self.around.ended()

    async def _work(self) -> None:
        around = self.around
        telemetry = Silence()
        adapters = Adapters(
            store=cast("PostgresStore", around.store),
            gateway=cast("SoapGateway", self.gateway),
            pace=cast("PostgresPace", around.pace),
            events=cast("AmqpEventPublisher", around.broker.publisher(around.process.name)),
            dead_letters=cast("DeadLetters", around.broker.dead_letters(around.process.name)),
            clock=cast("BooksClock", around.clock),
            telemetry=telemetry,
        )
        parts = Parts(self.settings, adapters)
        await parts.lease.enlist()
        await parts.accounts.refresh()
        consumers = self._consumers(parts)
        own = app._sweeps(self.settings, parts, adapters, consumers)
        async with Loops(own.all(), around, telemetry) as loops:
            for consumer in consumers.values():
                consumer.start()
            await self.stopping.wait()
            await app._drain(self.settings, parts, consumers, cast("SweepLoops", loops), telemetry)

    def _consumers(self, parts: Parts) -> dict[AccountName, CommandConsumer]:
        around = self.around
        hands = 0
        forgets = around.broker.faults.duplicate > 0.0  # RabbitMQ forgets what is out.

        def failed(_: Delivery, error: Exception) -> None:
            if not isinstance(error, PayoutsError):
                asyncio.get_running_loop().call_exception_handler(
                    {"message": "a command failed", "exception": error}
                )

        limit = self.settings.prefetch * len(self.settings.accounts)

        def counted(handle: Handler) -> Handler:
            async def handled(delivery: Delivery) -> None:
                nonlocal hands
                hands += 1
                if not forgets:
                    around.auditor.in_hand(around.process.name, hands, limit, "commands")
                try:
                    await handle(delivery)
                finally:
                    hands -= 1

            return handled

        return {
            name: cast(
                "CommandConsumer",
                around.broker.consumer(
                    around.process.name,
                    name,
                    self.settings.prefetch,
                    counted(parts.handler(name).handle),
                    failed,
                ),
            )
            for name in self.settings.accounts
        }


class CallbackProcess:
    """One callback server: takes Results as `callback_server.handlers` does, and sweeps."""

    def __init__(self, around: Surroundings, settings: CallbackSettings) -> None:
        self.around = around
        self.stopping = asyncio.Event()
        self._telemetry = Silence()
        self._parts = CallbackParts(
            settings,
            cast("PostgresStore", around.store),
            cast("AmqpEventPublisher", around.broker.publisher(around.process.name)),
            around.clock,
            self._telemetry,
        )

    async def run(self) -> None:
        """Sweep until told to stop."""
        around = self.around
        async with Loops(self._parts.sweeps.all(), around, self._telemetry):
            await self.stopping.wait()
        around.ended()

    async def take_result(self, result: Result) -> bool:
        """Take a Result; tell whether M-PESA was told that it is taken."""
        try:
            async with asyncio.timeout(STORE_WITHIN_S):
                await self._parts.completions.take_result(result)
        except (StoreUnavailableError, TimeoutError):
            return False
        return True

    async def take_timeout(self, notice: QueueTimeout) -> bool:
        """Take a queue time-out likewise."""
        try:
            async with asyncio.timeout(STORE_WITHIN_S):
                await self._parts.completions.take_queue_timeout(notice)
        except (StoreUnavailableError, TimeoutError):
            return False
        return True
