"""One worker process: opened, run until told to stop, drained."""

from __future__ import annotations

import asyncio
import os
from contextlib import AsyncExitStack, suppress
from typing import Final

from payouts.domain.signals import Signal
from payouts.domain.values import AccountName
from payouts.messaging.connection import BrokerConnection
from payouts.messaging.consumer import CommandConsumer, Source
from payouts.messaging.delivery import Delivery
from payouts.messaging.event_publisher import AmqpEventPublisher
from payouts.messaging.publisher import ConfirmedPublisher, DeadLetters
from payouts.messaging.topology import Topology
from payouts.mpesa.client import SoapGateway
from payouts.ports import Clock, Telemetry
from payouts.runtime import SystemClock, admin_port, run_until_signal, system_jitter
from payouts.services.sweeps import Sweep, SweepLoops
from payouts.settings import WorkerSettings
from payouts.storage.clock import LOOK_EVERY_S, BooksClock
from payouts.storage.pace import PostgresPace
from payouts.storage.store import PostgresStore
from payouts.telemetry import AdminServer, open_telemetry
from worker.gauges import WorkerGauges
from worker.parts import Adapters, Parts
from worker.sweeps import WorkerSweeps
from worker.wiring import gateway_accounts, timeouts_of, tls_of

__all__ = ["run"]

MODULE: Final = "worker"
CONNECT_WITHIN_S: Final = 60.0
SPARE_CONNECTIONS: Final = 10
LAST_EVENTS_S: Final = 5.0


def run(processes: int = 1) -> int:
    """Take and send commands until a signal comes; return the exit code (contract.md §4)."""
    return run_until_signal(lambda: WorkerSettings.load(os.environ), work, processes=processes)


async def work(settings: WorkerSettings, stop: asyncio.Event) -> None:
    """Work until `stop` is set, then drain within PAYOUTS_DRAIN_S."""
    telemetry, metrics = open_telemetry(settings, MODULE)
    topology = Topology(prefix=settings.prefix)
    async with AsyncExitStack() as stack:
        taking = await _connected(stack, settings, "commands")
        giving = await _connected(stack, settings, "events")
        await topology.declare(taking, list(settings.accounts))
        publisher = ConfirmedPublisher(giving)
        stack.push_async_callback(publisher.close)
        events = AmqpEventPublisher(giving, topology)
        stack.push_async_callback(events.close)
        dead_letters = DeadLetters(publisher, topology)
        adapters = await _adapters(stack, settings, events, dead_letters, telemetry)
        parts = Parts(settings, adapters)
        await parts.lease.enlist()
        stack.push_async_callback(parts.lease.retire)
        await parts.accounts.refresh()
        consumers = _consumers(settings, taking, topology, parts, telemetry)
        admin = AdminServer(
            settings.admin_host,
            admin_port(settings.admin_port),
            ready=lambda: {
                "rabbitmq": taking.connected and giving.connected,
                "lease": parts.lease.holds(),
                "consumers": all(
                    consumer.consuming or not parts.accounts.is_open(name)
                    for name, consumer in consumers.items()
                ),
            },
            metrics=metrics.exposition,
        )
        await admin.start()
        stack.push_async_callback(admin.close)
        gauges = WorkerGauges(
            metrics=metrics,
            store=adapters.store,
            pool=parts.pool,
            consumers=consumers,
            connection=taking,
            lease=parts.lease,
        )
        own = _sweeps(settings, parts, adapters, consumers)
        stack.push_async_callback(own.questions.stop)
        sweeps = [
            *own.all(),
            Sweep(name="gauges", rest_s=5.0, run=gauges.measure),
            Sweep(
                name="clock",
                rest_s=LOOK_EVERY_S,
                run=lambda: adapters.clock.look(adapters.store.database),
            ),
        ]
        loops = await stack.enter_async_context(
            SweepLoops(sweeps, adapters.clock, telemetry, system_jitter)
        )
        for consumer in consumers.values():
            consumer.start()
        telemetry.emit(
            Signal.PROCESS_STARTED,
            process=MODULE,
            addresses=[f"http://{settings.admin_host}:{admin.port}"],
        )
        await stop.wait()
        await _drain(settings, parts, consumers, loops, telemetry)


def _sweeps(
    settings: WorkerSettings,
    parts: Parts,
    adapters: Adapters,
    consumers: dict[AccountName, CommandConsumer],
) -> WorkerSweeps:
    completions = parts.completions()
    return WorkerSweeps(
        store=adapters.store,
        pool=parts.pool,
        questions=parts.questions(completions),
        accounts=parts.accounts,
        consumers=consumers,
        funds=parts.funds(),
        completions=completions,
        upkeep=parts.upkeep(completions),
        lease=parts.lease,
        clock=adapters.clock,
        policies=parts.policies,
        lease_s=settings.worker_lease_s,
    )


async def _adapters(
    stack: AsyncExitStack,
    settings: WorkerSettings,
    events: AmqpEventPublisher,
    dead_letters: DeadLetters,
    telemetry: Telemetry,
) -> Adapters:
    """Open the database, the gateway and the pace; the stack closes them."""
    clock = BooksClock(SystemClock())
    store = await stack.enter_async_context(
        PostgresStore(
            settings.database_url.get_secret_value(),
            clock,
            show_progress=settings.progress_events,
            show_msisdn=settings.show_msisdn,
            repeat_window_s=settings.repeat_window_s,
        )
    )
    await clock.look(store.database)
    limits = {name: one.tps for name, one in settings.accounts.items()}
    pace = await stack.enter_async_context(PostgresPace(store.database, clock, limits, telemetry))
    return Adapters(
        store=store,
        gateway=await stack.enter_async_context(_gateway(settings, clock, pace)),
        pace=pace,
        events=events,
        dead_letters=dead_letters,
        clock=clock,
        telemetry=telemetry,
    )


def _gateway(settings: WorkerSettings, clock: Clock, pace: PostgresPace) -> SoapGateway:
    return SoapGateway(
        gateway_accounts(settings),
        timeouts=timeouts_of(settings),
        tls=tls_of(settings),
        now=clock.now,
        connection_limit=settings.concurrency + SPARE_CONNECTIONS,
        leave=pace.leave,
    )


async def _connected(
    stack: AsyncExitStack, settings: WorkerSettings, purpose: str
) -> BrokerConnection:
    connection = BrokerConnection(
        settings.amqp_url.get_secret_value(), name=f"{MODULE} {os.getpid()} {purpose}"
    )
    stack.push_async_callback(connection.close)
    await connection.open(within_s=CONNECT_WITHIN_S)
    return connection


def _consumers(
    settings: WorkerSettings,
    connection: BrokerConnection,
    topology: Topology,
    parts: Parts,
    telemetry: Telemetry,
) -> dict[AccountName, CommandConsumer]:
    def failed(_: Delivery, error: Exception) -> None:
        telemetry.emit(Signal.COMMAND_FAILED, error=type(error).__name__)

    return {
        name: CommandConsumer(
            connection,
            Source(topology=topology, account=name, prefetch=settings.prefetch),
            parts.handler(name).handle,
            on_failure=failed,
        )
        for name in settings.accounts
    }


async def _drain(
    settings: WorkerSettings,
    parts: Parts,
    consumers: dict[AccountName, CommandConsumer],
    loops: SweepLoops,
    telemetry: Telemetry,
) -> None:
    """Take nothing new; let what is in flight finish, or be found by the sweep."""
    telemetry.emit(Signal.PROCESS_DRAINING, process=MODULE, in_flight=len(parts.pool.in_flight))
    loop = asyncio.get_running_loop()
    deadline = loop.time() + settings.drain_s - LAST_EVENTS_S / 2
    parts.pool.close()
    await asyncio.gather(
        *(consumer.stop(grace_s=settings.drain_s / 2) for consumer in consumers.values())
    )
    left = await parts.pool.drain(max(0.0, deadline - loop.time()))
    await loops.stop()
    await parts.lease.retire()
    with suppress(TimeoutError):  # The outbox keeps what is left.
        async with asyncio.timeout(LAST_EVENTS_S / 2):
            await parts.relay.drain()
    telemetry.emit(Signal.PROCESS_STOPPED, process=MODULE, abandoned=left)
