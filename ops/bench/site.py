"""One round's place: a fresh virtual host and database, a simulator, and a stack's processes."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp
import asyncpg

from ops.bench import load
from ops.bench.accounting import cpu_s, machine_busy_s, peak_mib, process_table
from ops.bench.measures import OWN_ROLES, Sample
from ops.bench.stacks import OURS, Place, Stack, bench_environ, product_environ
from ops.demo.children import Children, python
from ops.local import LocalStack
from ops.local.ports import free_ports
from ops.local.processes import plain_environment
from payouts.storage.migrate import upgrade

_READY: Final = b"ready\n"
_SIMULATOR: Final = {
    "PORT": "0",
    "FLOAT_AMOUNT": "100000000000.00",
    "PAY_DELAY_S": "0",
    "RESULT_DELAY_SPREAD": "0",
    "MESSAGE_LOG": "0",
    "TEST_NUMBERS": "false",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Delays:
    """What the simulator takes, in seconds: for an answer, and from the request to its Result."""

    answer_s: float = 0.0
    result_s: float = 0.01


DELAYS: Final = Delays()


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """What a round works with: `roots` are the processes of each role, `workers` is how many."""

    place: Place
    servers: LocalStack
    simulator_url: str
    folder: Path
    roots: dict[str, tuple[int, ...]]
    workers: int = 1

    def sample(self, at_s: float, events: int) -> Sample:
        """Return what everybody has used so far."""
        table = process_table()
        used = {role: cpu_s(table, roots) for role, roots in self.roots.items()}
        return Sample(
            at_s=at_s,
            events=events,
            cpu_s={**used, "driver": time.process_time()},
            busy_s=machine_busy_s(),
        )

    def peaks(self) -> dict[str, float]:
        """Return the peak memory of the stack's own processes, in MiB."""
        table = process_table()
        return {role: peak_mib(table, self.roots[role]) for role in OWN_ROLES}

    async def told(self, what: str) -> list[dict[str, Any]]:
        """Return what the simulator's admin API tells in lines, such as its ledger."""
        url = f"{self.simulator_url}/{what}"
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            answer.raise_for_status()
            return [json.loads(line) async for line in answer.content]


@asynccontextmanager
async def open_site(
    servers: LocalStack,
    name: str,
    *,
    concurrency: int,
    delays: Delays = DELAYS,
    workers: int = 1,
    database_url: str | None = None,
) -> AsyncIterator[Site]:
    """Give a place in which nothing has happened yet; it is gone afterwards.

    Args:
        servers: which are shared by all rounds.
        name: of this round's virtual host, database and folder.
        concurrency: requests in flight, of each worker.
        delays: of the simulator.
        workers: of our own stack.
        database_url: of books that are there already and stay, instead of empty ones.
    """
    folder = servers.folder / name
    folder.mkdir()
    books = database_url or await servers.fresh_database(name)
    amqp_url = await servers.fresh_vhost(name)
    await load.declare(amqp_url)
    children = Children(folder, keep=False)
    try:
        told = await children.simulator(_simulator_environ(servers, concurrency, delays))
        place = Place(
            amqp_url=amqp_url,
            database_url=books,
            gateway_url=told["url"],
            certificate=str(_certificate(servers)),
            callback_port=free_ports(1)[0],
            queue=load.QUEUE,
            events_exchange=load.TOPOLOGY.events,
            concurrency=concurrency,
        )
        roots: dict[str, tuple[int, ...]] = {
            **dict.fromkeys(OWN_ROLES, ()),
            "RabbitMQ": servers.rabbitmq.pids,
            "PostgreSQL": servers.postgresql.pids,
            "simulator": (children.pids["simulator"],),
        }
        yield Site(
            place=place,
            servers=servers,
            simulator_url=told["admin_url"],
            folder=folder,
            roots=roots,
            workers=workers,
        )
    finally:
        await children.stop()
        if database_url is None:
            await servers.postgresql.drop_database(name)
        await asyncio.to_thread(servers.rabbitmq.drop_vhost, name)


@asynccontextmanager
async def running(stack: Stack, site: Site) -> AsyncIterator[Callable[[], None]]:
    """Give a stack that is ready, and what raises once one of its processes has ended."""
    children = Children(site.folder, keep=False)
    bench = bench_environ(site.place)
    environ = {**plain_environment(), **site.servers.mark}
    try:
        if stack.name == OURS:
            await _start_ours(children, {**environ, **product_environ(bench)}, site.workers)
        else:
            for role in ("callback server", "worker"):
                await _start(children, stack, role, {**environ, **bench})
        site.roots.update({role: (children.pids[role],) for role in OWN_ROLES})
        yield children.check
    finally:
        await children.stop()


async def prepare(stack: Stack, site: Site) -> None:
    """Make what a stack needs before its processes start, and the disk quiet."""
    if stack.name == OURS:
        await asyncio.to_thread(upgrade, site.place.database_url)
    connection = await asyncpg.connect(site.place.database_url)
    try:
        await connection.execute("CHECKPOINT")
    finally:
        await connection.close()


async def _start_ours(children: Children, environ: Mapping[str, str], workers: int) -> None:
    first, second = free_ports(2)
    await children.deployable("callback server", "callback_server", first, environ)
    if workers == 1:
        await children.deployable("worker", "worker", second, environ)
    else:  # It works as soon as it can; what comes first is not counted.
        command = (*python("ops.cli"), "worker", "--processes", str(workers))
        children.start("worker", command, {**environ, "PAYOUTS_ADMIN_PORT": "0"})


async def _start(children: Children, stack: Stack, role: str, environ: Mapping[str, str]) -> None:
    out = children.folder / f"{role}.out"
    command = stack.worker if role == "worker" else stack.callback_server
    child = children.start(role, command, environ, out=out)
    await child.told(out, _READY)


def _certificate(servers: LocalStack) -> Path:
    """All simulators of a run share one key: making it takes a second."""
    return servers.folder / "gateway.pem"


def _simulator_environ(servers: LocalStack, concurrency: int, delays: Delays) -> dict[str, str]:
    settings = {
        **_SIMULATOR,
        "RESULT_CONNECTIONS": str(concurrency),
        "RESULT_DELAY_S": f"{delays.result_s:g}",
    }
    if delays.answer_s:
        settings |= {"PROBABILITIES": "slow_answer=1", "SLOW_S": f"{delays.answer_s:g}"}
    return {
        **plain_environment(),
        **servers.mark,
        "PAYOUTS_SIMULATOR_CERTIFICATE": str(_certificate(servers)),
        **{f"PAYOUTS_SIMULATOR_{name}": value for name, value in settings.items()},
    }
