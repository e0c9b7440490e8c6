"""Results are served whether RabbitMQ is there or not; what they end is published later."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import aio_pika
import pytest

from tests.acceptance.test_callbacks import post, result
from tests.acceptance.world import Process, World, free_port, running_world

pytestmark = [pytest.mark.servers]


def command(payout_id: str, **fields: object) -> dict[str, object]:
    return {"payout_id": payout_id, "amount": "150.50", "msisdn": "254712345678", **fields}


@asynccontextmanager
async def passage(port: int, amqp_url: str) -> AsyncIterator[None]:
    """Let what connects to `port` reach RabbitMQ, inside the block only."""
    parts = urlsplit(amqp_url)

    async def pass_on(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await source.read(65536):
                target.write(data)
                await target.drain()
        target.close()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        to_broker, from_us = await asyncio.open_connection(parts.hostname, parts.port)
        await asyncio.gather(pass_on(reader, from_us), pass_on(to_broker, writer))

    server = await asyncio.start_server(accept, "127.0.0.1", port)
    try:
        yield
    finally:
        server.close()


async def checks(world: World, process: Process) -> dict[str, bool]:
    url = f"http://127.0.0.1:{process.admin_port}/health/ready"
    async with world.session.get(url) as answer:
        said: dict[str, bool] = (await answer.json())["checks"]
        return said


async def test_a_callback_server_starts_and_takes_results_without_rabbitmq(
    amqp_url: str, database_url: str, tmp_path: Path
) -> None:
    """It is ready without RabbitMQ and says so; when RabbitMQ is there, the event is published.

    Proved by waiting for RabbitMQ at the start: a broker that was away kept Results out.
    """
    async with running_world(amqp_url, database_url, tmp_path) as world:
        await world.start_worker()
        await world.listen()
        # Paid and never told, so that the test tells it.
        await world.publish(command("alone-1", msisdn="254700000102"))
        await world.in_state("alone-1", "accepted")
        port = free_port()
        parts = urlsplit(amqp_url)
        away = amqp_url.replace(f"{parts.hostname}:{parts.port}", f"127.0.0.1:{port}")
        server = await world.start_callback_server(PAYOUTS_AMQP_URL=away)
        assert await checks(world, server) == {"database": True, "rabbitmq": False}

        # The worker, which has RabbitMQ, must not be the one that publishes.
        worker = world.processes[0]
        worker.kill()
        await worker.child.wait()
        status, _ = await post(world, result("600000_ORG_alone-1"))
        assert status == 200
        await world.in_state("alone-1", "succeeded")
        assert not world.completions("alone-1")

        async with passage(port, amqp_url):
            event = await world.ended("alone-1", within_s=60)
            assert event["type"] == "payout.succeeded"

            async def connected() -> bool:
                return (await checks(world, server))["rabbitmq"]

            await world.until(connected, "it says that RabbitMQ is there")
            assert await server.stop() == 0


async def test_a_callback_server_that_finds_another_topology_later_stops_and_names_it(
    amqp_url: str, database_url: str, tmp_path: Path
) -> None:
    """What stops a process at its start stops it when RabbitMQ comes later, too.

    Proved by taking such a difference for a failed sweep: it went on without publishing.
    """
    async with running_world(amqp_url, database_url, tmp_path) as world:
        await world.channel.declare_exchange("payouts.events", "fanout", durable=True)
        port = free_port()
        parts = urlsplit(amqp_url)
        away = amqp_url.replace(f"{parts.hostname}:{parts.port}", f"127.0.0.1:{port}")
        server = await world.start_callback_server(PAYOUTS_AMQP_URL=away)
        async with passage(port, amqp_url):
            async with asyncio.timeout(60):
                assert await server.child.wait() == 1
        assert "payouts.events" in server.said()
        assert "Traceback" not in server.said()


async def test_a_worker_that_takes_no_commands_is_not_ready(
    amqp_url: str, database_url: str, tmp_path: Path
) -> None:
    """Readiness looks at the consumers, not at the connection alone; a pause is no defect.

    Proved by looking at the connection alone.
    """
    async with running_world(amqp_url, database_url, tmp_path) as world:
        await world.start_callback_server()
        worker = await world.start_worker()
        assert (await checks(world, worker))["consumers"]
        # Somebody takes the queue away and keeps another of its name for himself.
        await world.channel.queue_delete("payouts.commands.default")
        queue = await world.channel.declare_queue("payouts.commands.default", durable=True)
        await queue.consume(_keep, exclusive=True)

        async def missed() -> bool:
            return not (await checks(world, worker))["consumers"]

        await world.until(missed, "it says that it takes no commands")


async def _keep(message: aio_pika.abc.AbstractIncomingMessage) -> None:
    await message.reject(requeue=True)
