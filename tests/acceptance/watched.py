"""A watch in front of the simulator: what the books say at the moment a request arrives."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import aiormq
import asyncpg
from aiohttp import web
from aiormq.abc import ChannelFrame
from pamqp import frame
from pamqp.body import ContentBody
from pamqp.commands import Basic
from pamqp.header import ContentHeader

from ops.simulator.app import REQUEST_PATH
from tests.acceptance.world import ROOT, Process, World, running_world

_ID = re.compile(rb"<OriginatorConversationID>([^<]+)<")
_AMOUNT = re.compile(rb"<Key>Amount</Key><Value>([^<]+)<")
_BOOKED = """
SELECT p.payout_id, p.state, p.attempts, p.originator_conversation_id,
    EXISTS (SELECT FROM timeline t WHERE t.payout = p.id AND t.to_state = 'submitting'
        AND t.attempt = p.attempts) AS told
FROM payouts p WHERE p.originator_conversation_id = $1
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """One payment request: its id, its amount, and the payout's committed row at that moment."""

    originator: str
    amount: str
    booked: Mapping[str, Any] | None


@dataclass(kw_only=True)
class WatchedGateway:
    """Hands every request on to the simulator, after a look into the database.

    The payments that are under way are counted; while `doors` is cleared, they wait here.
    """

    target: str
    books: asyncpg.Pool
    session: aiohttp.ClientSession
    url: str = ""
    arrivals: list[Arrival] = field(default_factory=list)
    in_flight: int = 0
    most_in_flight: int = 0
    doors: asyncio.Event = field(default_factory=asyncio.Event)

    def of(self, payout_id: str) -> list[Arrival]:
        """Return the payment requests of a payout so far."""
        return [one for one in self.arrivals if one.originator.endswith(f"_{payout_id}")]

    def ids_by_amount(self) -> dict[str, set[str]]:
        """Return the ids under which each amount was sent; tests give each payout its own."""
        found: dict[str, set[str]] = defaultdict(set)
        for one in self.arrivals:
            found[one.amount].add(one.originator)
        return found

    async def take(self, request: web.Request) -> web.StreamResponse:
        """Look, hand on, and give back what the simulator answers, or its silence."""
        body = await request.read()
        payment = _AMOUNT.search(body)
        if payment is None:
            return await self._hand_on(request, body)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            await self._look(body, payment[1].decode())
            await self.doors.wait()
            return await self._hand_on(request, body)
        finally:
            self.in_flight -= 1

    async def _look(self, body: bytes, amount: str) -> None:
        found = _ID.search(body)
        originator = found[1].decode() if found else ""
        row = await self.books.fetchrow(_BOOKED, originator)
        booked = dict(row) if row is not None else None
        self.arrivals.append(Arrival(originator=originator, amount=amount, booked=booked))

    async def _hand_on(self, request: web.Request, body: bytes) -> web.StreamResponse:
        headers = {name: request.headers.get(name, "") for name in ("Content-Type", "SOAPAction")}
        try:
            async with self.session.post(self.target, data=body, headers=headers) as answer:
                told = await answer.read()
                return web.Response(
                    status=answer.status, body=told, content_type=answer.content_type
                )
        except aiohttp.ClientError:
            if request.transport is not None:
                request.transport.abort()
            return web.Response(status=502)


@asynccontextmanager
async def watched_gateway(target: str, database_url: str) -> AsyncIterator[WatchedGateway]:
    """Give a watch that listens in front of `target`, its doors open."""
    pool = await asyncpg.create_pool(database_url, min_size=1, max_size=4)
    async with pool, aiohttp.ClientSession() as session:
        gateway = WatchedGateway(target=target, books=pool, session=session)
        gateway.doors.set()
        application = web.Application()
        application.router.add_post(REQUEST_PATH, gateway.take)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            host, port = runner.addresses[0][:2]
            gateway.url = f"http://{host}:{port}{REQUEST_PATH}"
            yield gateway
        finally:
            gateway.doors.set()
            await runner.cleanup()


@dataclass(kw_only=True)
class Scene:
    """A world whose workers send through the watch."""

    world: World
    gateway: WatchedGateway

    async def start_worker(self, **settings: str) -> Process:
        """Start a worker that sends through the watch."""
        return await self.world.start_worker(PAYOUTS_GATEWAY_URL=self.gateway.url, **settings)


@asynccontextmanager
async def watched_world(
    amqp_url: str, database_url: str, folder: Path, **settings: str
) -> AsyncIterator[Scene]:
    """Give a running product that is watched and quick to ask, with one worker, a downstream."""
    settings = {
        "PAYOUTS_QUERY_INTERVAL_S": "0.5",
        "PAYOUTS_NOT_FOUND_GRACE_S": "0.5",
        **settings,
    }
    async with (
        running_world(amqp_url, database_url, folder, simulator=None, **settings) as world,
        watched_gateway(world.simulator.url, database_url) as gateway,
    ):
        scene = Scene(world=world, gateway=gateway)
        await asyncio.gather(world.start_callback_server(), scene.start_worker())
        await world.listen()
        yield scene


@asynccontextmanager
async def stalled_books(world: World) -> AsyncIterator[asyncpg.Connection]:
    """Let nobody write to the payouts inside the block; everybody may read."""
    connection = await asyncpg.connect(world.database_url)
    try:
        async with connection.transaction():
            await connection.execute("LOCK TABLE payouts IN EXCLUSIVE MODE")
            yield connection
    finally:
        await connection.close()


async def stuck_on(world: World, statement: str) -> None:
    """Return when a statement with these words in its first 1,024 bytes waits for a lock."""

    async def waits() -> bool:
        found: int = await world.connection.fetchval(
            """SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
               AND wait_event_type = 'Lock' AND query LIKE '%' || $1 || '%'""",
            statement,
        )
        return found > 0

    await world.until(waits, f"{statement} waits")


async def beats(world: World, count: int) -> None:
    """Return when a worker has beaten so often: its loop had the time to do whatever it would."""
    statement = "SELECT max(heartbeat_at) FROM workers"
    for _ in range(count):
        before = await world.connection.fetchval(statement)

        async def beaten(before: object = before) -> bool:
            return bool(await world.connection.fetchval(statement) != before)

        await world.until(beaten, "the worker has beaten")


async def waiting_commands(world: World) -> int:
    """Return how many commands lie in the queue, ready for delivery."""
    queue = await world.channel.declare_queue("payouts.commands.default", passive=True)
    count: int | None = queue.declaration_result.message_count
    return count or 0


@asynccontextmanager
async def refusing(world: World, table: str, payout_id: str) -> AsyncIterator[None]:
    """Let the database refuse every row of this payout in a table, inside the block."""
    await world.connection.execute(
        f"""CREATE FUNCTION refuse_one() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN RAISE EXCEPTION 'refused by a test'; END $$;
            CREATE TRIGGER refuse_one BEFORE INSERT ON {table} FOR EACH ROW
            WHEN (NEW.payout_id = '{payout_id}') EXECUTE FUNCTION refuse_one()"""
    )
    try:
        yield
    finally:
        await world.connection.execute("DROP FUNCTION refuse_one CASCADE")


def resident_mib(process: Process) -> float:
    """Return how much memory a process has in use."""
    status = Path(f"/proc/{process.child.pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    return int(found[1]) / 1024 if found else 0.0


async def verified(world: World, run_id: str) -> dict[str, Any]:
    """Return what `payouts verify` says of a run, against the simulator's ledger."""
    ledger = world.simulator.base_url
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "ops.cli", "verify", "--json"),
        *("--run", run_id, "--ledger", ledger),
        cwd=ROOT,
        env={**os.environ, **world.environ},
        stdout=asyncio.subprocess.PIPE,
    )
    said, _ = await asyncio.wait_for(child.communicate(), 30)
    told: dict[str, Any] = json.loads(said)
    return {**told, "exit": child.returncode}


async def flood(world: World, count: int) -> None:
    """Return when very many commands have come to the default account's queue.

    The library's publish costs more than RabbitMQ's part; here frames are made beforehand.
    """
    connection = await aiormq.connect(world.amqp_url)
    try:
        channel = await connection.channel(publisher_confirms=False)
        assert isinstance(channel, aiormq.Channel)
        body = b'{"payout_id": "flood-%06d", "amount": "1.00", "msisdn": "254712345678"}'
        properties = Basic.Properties(content_type="application/json", delivery_mode=2)
        publish = Basic.Publish(exchange="payouts.commands", routing_key="default")
        header = ContentHeader(body_size=len(body % 0), properties=properties)
        opening = b"".join(frame.marshal(one, channel.number) for one in (publish, header))
        for first in range(0, count, 1000):
            messages = (
                opening + frame.marshal(ContentBody(body % n), channel.number)
                for n in range(first, min(first + 1000, count))
            )
            payload = b"".join(messages)
            await channel.write_queue.put(ChannelFrame(payload=payload, should_close=False))
        await channel.queue_declare("payouts.commands.default", passive=True)
    finally:
        await connection.close()
