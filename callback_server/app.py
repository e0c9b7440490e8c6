"""One callback server process: opened, served until told to stop, drained."""

from __future__ import annotations

import asyncio
import os
import ssl
from contextlib import AsyncExitStack, suppress
from typing import Final

from callback_server.declaring import Declaring
from callback_server.door import Door
from callback_server.parts import Parts
from callback_server.routes import opened_runner
from payouts.domain.errors import SettingsError, StoreRefusedError, StoreUnavailableError
from payouts.domain.signals import Signal
from payouts.messaging.connection import BrokerConnection
from payouts.messaging.event_publisher import AmqpEventPublisher
from payouts.messaging.topology import Topology
from payouts.runtime import (
    SystemClock,
    admin_port,
    child_index,
    run_until_signal,
    system_jitter,
)
from payouts.services.sweeps import Sweep, SweepLoops
from payouts.settings import CallbackSettings
from payouts.storage.clock import LOOK_EVERY_S, BooksClock
from payouts.storage.store import PostgresStore
from payouts.telemetry import AdminServer, open_telemetry

__all__ = ["run"]

MODULE: Final = "callback_server"
CONNECT_WITHIN_S: Final = 3.0  # Results do not wait for RabbitMQ.
LAST_EVENTS_S: Final = 5.0
LAST_BALANCES_S: Final = 2.0


def run(processes: int = 1) -> int:
    """Serve callbacks until a signal comes; return the exit code (contract.md §4)."""
    return run_until_signal(lambda: CallbackSettings.load(os.environ), serve, processes=processes)


async def serve(settings: CallbackSettings, stop: asyncio.Event) -> None:
    """Serve until `stop` is set, then drain within PAYOUTS_DRAIN_S.

    Raises:
        TopologyError: RabbitMQ has something declared differently, seen at the start or later.
    """
    clock = BooksClock(SystemClock())
    telemetry, metrics = open_telemetry(settings, MODULE)
    topology = Topology(prefix=settings.prefix)
    tls = tls_of(settings)
    async with AsyncExitStack() as stack:
        connection = BrokerConnection(
            settings.amqp_url.get_secret_value(), name=f"{MODULE} {os.getpid()} events"
        )
        stack.push_async_callback(connection.close)
        declaring = Declaring(connection, topology, settings.account_names, stop)
        await declaring.begin(within_s=CONNECT_WITHIN_S)
        events = AmqpEventPublisher(connection, topology)
        stack.push_async_callback(events.close)
        store = await stack.enter_async_context(_store(settings, clock))
        await clock.look(store.database)
        parts = Parts(settings, store, events, clock, telemetry)
        sweeps = [
            *parts.sweeps.all(),
            Sweep(name="topology", rest_s=1.0, run=declaring.look),
            Sweep(name="clock", rest_s=LOOK_EVERY_S, run=lambda: clock.look(store.database)),
        ]
        loops = await stack.enter_async_context(SweepLoops(sweeps, clock, telemetry, system_jitter))
        runner = await opened_runner(
            parts.handlers, telemetry, prefix=settings.callback_path, drain_s=settings.drain_s
        )
        stack.push_async_callback(runner.cleanup)
        door = Door(runner, parts.visitors, parts.allow.group, tls)
        stack.push_async_callback(door.close)
        address = await _listen(door, settings)
        admin = AdminServer(
            settings.admin_host,
            admin_port(settings.admin_port),
            ready=lambda: {"database": parts.health.answers},
            told=lambda: {"rabbitmq": declaring.ready},
            metrics=metrics.exposition,
        )
        await admin.start()
        stack.push_async_callback(admin.close)
        telemetry.emit(
            Signal.PROCESS_STARTED,
            process=MODULE,
            addresses=[address, f"http://{settings.admin_host}:{admin.port}"],
        )
        await stop.wait()
        telemetry.emit(Signal.PROCESS_DRAINING, process=MODULE, in_flight=0)
        await door.close()
        await runner.cleanup()
        await loops.stop()
        await _finish(parts)
        telemetry.emit(Signal.PROCESS_STOPPED, process=MODULE, abandoned=0)
    if declaring.problem is not None:
        raise declaring.problem


def _store(settings: CallbackSettings, clock: BooksClock) -> PostgresStore:
    return PostgresStore(
        settings.database_url.get_secret_value(),
        clock,
        show_progress=settings.progress_events,
        show_msisdn=settings.show_msisdn,
    )


async def _finish(parts: Parts) -> None:
    """Write down and publish what is left, as far as database and RabbitMQ are there."""
    with suppress(StoreUnavailableError, StoreRefusedError, TimeoutError):
        async with asyncio.timeout(LAST_BALANCES_S):
            await parts.completions.write_balances()
    with suppress(TimeoutError):  # The outbox keeps what is left.
        async with asyncio.timeout(LAST_EVENTS_S):
            await parts.relay.drain()


async def _listen(door: Door, settings: CallbackSettings) -> str:
    """Listen; several processes share the port, and the kernel spreads connections."""
    host, port = await door.open(
        settings.callback_host, settings.callback_port, shared=child_index() is not None
    )
    scheme = "http" if settings.callback_certificate is None else "https"
    return f"{scheme}://{host}:{port}{settings.callback_path}"


def tls_of(settings: CallbackSettings) -> ssl.SSLContext | None:
    """Return the server's TLS, which may require a client certificate; None for plain HTTP.

    Raises:
        SettingsError: a certificate or key cannot be used.
    """
    if settings.callback_certificate is None:
        return None
    password = settings.callback_key_password
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(
            settings.callback_certificate,
            settings.callback_key,
            None if password is None else password.get_secret_value(),
        )
        if settings.callback_client_ca is not None:
            context.load_verify_locations(settings.callback_client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
    except (ssl.SSLError, OSError) as error:
        raise SettingsError(
            (f"PAYOUTS_CALLBACK_CERTIFICATE: cannot be used with its key: {type(error).__name__}",)
        ) from None
    return context
