"""The whole product for a test: real servers, real processes, the simulator as the gateway."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aio_pika
import aiohttp
import asyncpg

from ops.local.ports import free_ports
from ops.simulator.app import Simulator, running_simulator
from ops.simulator.settings import SimulatorSettings

ROOT = Path(__file__).parents[2]


def free_port() -> int:
    """Return a port that nobody listens on, and that no outgoing connection will be given."""
    return free_ports(1)[0]


@dataclass(kw_only=True)
class Process:
    """One of our processes, ended with the test at the latest."""

    name: str
    child: asyncio.subprocess.Process
    admin_port: int
    log: Path

    def kill(self) -> None:
        """End it as a power cut would."""
        if self.child.returncode is None:
            os.kill(self.child.pid, signal.SIGKILL)

    async def stop(self, within_s: float = 30) -> int:
        """Ask it to drain and return its exit code."""
        if self.child.returncode is None:
            self.child.terminate()
        return await asyncio.wait_for(self.child.wait(), within_s)

    def said(self) -> str:
        """Return its log so far."""
        return self.log.read_text(errors="replace")


@dataclass(kw_only=True)
class World:
    """A running product. Events are collected by payout id, in order of arrival."""

    simulator: Simulator
    amqp_url: str
    database_url: str
    environ: dict[str, str]
    folder: Path
    session: aiohttp.ClientSession
    channel: aio_pika.abc.AbstractChannel
    connection: asyncpg.Connection
    callback_port: int
    processes: list[Process] = field(default_factory=list)
    events: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: defaultdict(list))
    heard: asyncio.Event = field(default_factory=asyncio.Event)

    async def start_worker(self, **settings: str) -> Process:
        """Start a worker and return when it is ready."""
        return await self._start("worker", settings)

    async def start_callback_server(self, **settings: str) -> Process:
        """Start a callback server and return when it is ready."""
        return await self._start("callback_server", settings)

    async def _start(self, module: str, settings: Mapping[str, str]) -> Process:
        port = free_port()
        log = self.folder / f"{module}-{len(self.processes)}.log"
        with log.open("wb") as out:
            child = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                module,
                cwd=ROOT,
                env={
                    **os.environ,
                    **self.environ,
                    "PAYOUTS_ADMIN_PORT": str(port),
                    **settings,
                },
                stdout=out,
                stderr=out,
            )
        process = Process(name=module, child=child, admin_port=port, log=log)
        self.processes.append(process)
        await self.until(lambda: self.ready(process), f"{module} is ready")
        return process

    async def ready(self, process: Process) -> bool:
        """Tell whether a process says that it is ready; a dead one fails the test."""
        if process.child.returncode is not None:
            raise AssertionError(f"{process.name} ended: {process.said()[-4000:]}")
        try:
            url = f"http://127.0.0.1:{process.admin_port}/health/ready"
            async with self.session.get(url) as answer:
                return answer.status == 200
        except aiohttp.ClientError:
            return False

    async def publish(
        self, *commands: Mapping[str, object] | bytes, account: str = "default"
    ) -> None:
        """Publish commands as an upstream would."""
        exchange = await self.channel.get_exchange("payouts.commands", ensure=False)
        for command in commands:
            body = command if isinstance(command, bytes) else json.dumps(command).encode()
            await exchange.publish(
                aio_pika.Message(body, content_type="application/json", delivery_mode=2),
                routing_key=account,
            )

    async def listen(self) -> None:
        """Collect all events from a queue of this test."""
        exchange = await self.channel.get_exchange("payouts.events", ensure=False)
        queue = await self.channel.declare_queue("downstream", durable=True)
        await queue.bind(exchange, "#")

        async def take(message: aio_pika.abc.AbstractIncomingMessage) -> None:
            event = json.loads(message.body)
            event["amqp"] = {
                "message_id": message.message_id,
                "correlation_id": message.correlation_id,
                "type": message.type,
                "routing_key": message.routing_key,
                "content_type": message.content_type,
                "persistent": message.delivery_mode == 2,
            }
            self.events[event["subject"]].append(event)
            self.heard.set()
            await message.ack()

        await queue.consume(take)

    async def ended(self, payout_id: str, within_s: float = 30) -> dict[str, Any]:
        """Return the completion event of a payout, once it has come."""
        await self.until(lambda: self._has_ended(payout_id), f"{payout_id} has ended", within_s)
        return self.completions(payout_id)[0]

    async def _has_ended(self, payout_id: str) -> bool:
        return bool(self.completions(payout_id))

    def completions(self, payout_id: str) -> list[dict[str, Any]]:
        """Return the completion events of a payout that have come so far."""
        wanted = {"payout.succeeded", "payout.failed"}
        return [event for event in self.events[payout_id] if event["type"] in wanted]

    async def all_ended(self, payout_ids: list[str], within_s: float = 60) -> None:
        """Return when each of these has its completion event."""

        async def done() -> bool:
            return all(self.completions(one) for one in payout_ids)

        await self.until(done, f"{len(payout_ids)} payouts have ended", within_s)

    async def state(self, payout_id: str) -> str | None:
        """Return the state in the database, or None."""
        state: str | None = await self.connection.fetchval(
            "SELECT state FROM payouts WHERE payout_id = $1", payout_id
        )
        return state

    async def in_state(self, payout_id: str, state: str, within_s: float = 30) -> None:
        """Return once a payout is in this state."""

        async def there() -> bool:
            return await self.state(payout_id) == state

        await self.until(there, f"{payout_id} is {state}", within_s)

    async def set_paused(self, account: str, *, paused: bool) -> None:
        """Pause or resume an account, past our own code."""
        await self.connection.execute(
            """UPDATE accounts SET paused = $2, refusals = 0,
               paused_reason = CASE WHEN $2 THEN 'a test' END,
               paused_at = CASE WHEN $2 THEN now() END,
               utility_balance_minor = CASE WHEN $2 THEN utility_balance_minor END,
               balance_at = CASE WHEN $2 THEN balance_at END WHERE name = $1""",
            account,
            paused,
        )

    async def dead_letters(self, count: int) -> list[tuple[bytes, dict[str, Any]]]:
        """Return the next dead letters with their headers."""
        queue = await self.channel.get_queue("payouts.dead-letters", ensure=False)
        found: list[tuple[bytes, dict[str, Any]]] = []

        async def enough() -> bool:
            message = await queue.get(fail=False)
            if message is not None:
                found.append((message.body, dict(message.headers)))
                await message.ack()
            return len(found) >= count

        await self.until(enough, f"{count} dead letters")
        return found

    async def until(
        self, condition: Callable[[], Awaitable[bool]], what: str, within_s: float = 30
    ) -> None:
        """Wait for a condition, looking again at each event and every 50 ms; fail when late."""
        deadline = asyncio.get_running_loop().time() + within_s
        while not await condition():
            if asyncio.get_running_loop().time() > deadline:
                logs = "\n".join(process.said()[-2000:] for process in self.processes)
                raise AssertionError(f"not in {within_s} s: {what}\n{logs}")
            self.heard.clear()
            try:
                async with asyncio.timeout(0.05):
                    await self.heard.wait()
            except TimeoutError:
                continue

    def paid(self) -> dict[str, list[str]]:
        """Return the amounts paid by the gateway, by payout id."""
        paid: dict[str, list[str]] = defaultdict(list)
        for entry in self.simulator.ledger():
            originator = str(entry["originator_conversation_id"])
            paid[originator.split("_", 2)[2]].append(str(entry["amount"]))
        return paid


@asynccontextmanager
async def running_world(
    amqp_url: str,
    database_url: str,
    folder: Path,
    *,
    simulator: Mapping[str, Any] | None = None,
    **settings: str,
) -> AsyncIterator[World]:
    """Give a world whose waits are short; nothing of it is left afterwards."""
    async with AsyncExitStack() as stack:
        gateway = await stack.enter_async_context(
            running_simulator(
                SimulatorSettings(
                    port=0, result_delay_s=0.1, late_s=4.0, **(simulator or {})
                ).checked()
            )
        )
        certificate = folder / "gateway.pem"
        certificate.write_bytes(gateway.certificate_pem)
        port = free_port()
        session = await stack.enter_async_context(
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5))
        )
        amqp = await aio_pika.connect(amqp_url)
        stack.push_async_callback(amqp.close)
        connection = await asyncpg.connect(database_url)
        world = World(
            simulator=gateway,
            amqp_url=amqp_url,
            database_url=database_url,
            environ=_environ(gateway, amqp_url, database_url, certificate, port, settings),
            folder=folder,
            session=session,
            channel=await amqp.channel(),
            connection=connection,
            callback_port=port,
        )
        stack.push_async_callback(_end, world)
        yield world


def _environ(
    gateway: Simulator,
    amqp_url: str,
    database_url: str,
    certificate: Path,
    port: int,
    settings: Mapping[str, str],
) -> dict[str, str]:
    return {
        "PAYOUTS_AMQP_URL": amqp_url,
        "PAYOUTS_DATABASE_URL": database_url,
        "PAYOUTS_GATEWAY_URL": gateway.url,
        "PAYOUTS_QUERY_URL": gateway.query_url,
        "PAYOUTS_SP_ID": "600000",
        "PAYOUTS_SP_PASSWORD": "simulator-password",
        "PAYOUTS_SERVICE_ID": "600000000",
        "PAYOUTS_INITIATOR_USERNAME": "payouts",
        "PAYOUTS_INITIATOR_PASSWORD": "simulator-initiator",
        "PAYOUTS_API_CERTIFICATE": str(certificate),
        "PAYOUTS_SHORTCODE": "600000",
        "PAYOUTS_RESULT_URL": f"http://127.0.0.1:{port}/mpesa/result",
        "PAYOUTS_QUEUE_TIMEOUT_URL": f"http://127.0.0.1:{port}/mpesa/timeout",
        "PAYOUTS_CALLBACK_PORT": str(port),
        "PAYOUTS_REQUEST_TIMEOUT_S": "2",
        "PAYOUTS_RESULT_DEADLINE_S": "2",
        "PAYOUTS_QUERY_INTERVAL_S": "1",
        "PAYOUTS_NOT_FOUND_GRACE_S": "1",
        "PAYOUTS_WORKER_LEASE_S": "3",
        **settings,
    }


async def _end(world: World) -> None:
    # Those that are asked write down their coverage; those that take long are not waited for.
    running = [process for process in world.processes if process.child.returncode is None]
    for process in running:
        process.child.terminate()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(5):
            await asyncio.gather(*(process.child.wait() for process in running))
    for process in running:
        process.kill()
        await process.child.wait()
    await world.connection.close()
