"""Whoever floods the callback server: real Results are taken and acknowledged within a second."""

from __future__ import annotations

import asyncio
import os
import resource
import secrets
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from ops.local import LocalStack
from tests.acceptance.test_callbacks import result
from tests.acceptance.watched import resident_mib
from tests.acceptance.world import ROOT, Process, World, running_world

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.servers,
    pytest.mark.faults,
    pytest.mark.timeout(240),
]

LONGEST_S = 1.0
RESULTS = 30
GROWTH_MIB = 96
MOST_FILES = 1100  # 1,000 connections is the default.
# How many connections, from how many addresses.
FLOODS = {
    "slow_heads": (2500, 1),
    "slow_bodies": (2500, 200),
    "idle": (2500, 20),
    "oversized": (20, 1),
    "heavy": (12, 1),
    "unknown": (16, 1),
    "garbage": (40, 1),
    "vanishing": (40, 1),
}


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def world(
    stack: LocalStack, migrated: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[World]:
    """Give a product whose payouts wait for the Results that the tests send."""
    name = secrets.token_hex(6)
    async with running_world(
        await stack.fresh_vhost(f"floods-{name}"),
        await stack.fresh_database(f"floods_{name}", template=migrated),
        tmp_path_factory.mktemp("floods"),
        PAYOUTS_RESULT_DEADLINE_S="3600",
    ) as world:
        with few_files():
            await world.start_callback_server()
        await world.start_worker()
        await world.listen()
        yield world


@contextmanager
def few_files() -> Iterator[None]:
    """Let processes that are started here have as few open files as most systems give at first."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def open_files(process: Process) -> int:
    """Return how many files and connections a process has open."""
    return sum(1 for _ in Path(f"/proc/{process.child.pid}/fd").iterdir())


@asynccontextmanager
async def flood(world: World, kind: str) -> AsyncIterator[None]:
    """Flood the callback server from a process of its own for as long as the block takes."""
    connections, sources = FLOODS[kind]
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.faults.flooding", kind, str(world.callback_port)),
        *(str(sources), str(connections)),
        cwd=ROOT,
        env={**os.environ, "COVERAGE_PROCESS_START": ""},
        stdout=asyncio.subprocess.PIPE,
    )
    assert child.stdout is not None
    try:
        async with asyncio.timeout(60):
            assert await child.stdout.readline() == b"pressing\n"
        yield
        assert child.returncode is None
    finally:
        child.terminate()
        said, _ = await child.communicate()
    assert int(said) >= connections


async def silent(world: World, ids: list[str]) -> None:
    """Make payouts that are accepted, and told by nobody but the test."""
    await world.publish(
        *({"payout_id": one, "amount": "150.50", "msisdn": "254700000102"} for one in ids)
    )

    async def accepted() -> bool:
        count = await world.connection.fetchval(
            "SELECT count(*) FROM payouts WHERE payout_id = ANY($1) AND state = 'accepted'", ids
        )
        return bool(count == len(ids))

    await world.until(accepted, "all are accepted")


def waited_s(process: Process) -> float:
    """Return for how long the server and this test were ready to run while others did."""
    delays = 0
    for pid in (process.child.pid, os.getpid()):
        told = Path(f"/proc/{pid}/schedstat")
        delays += int(told.read_text().split()[1]) if told.exists() else 0
    return delays / 1e9


async def told(world: World, payout_id: str) -> float:
    """Send one Result as the gateway does, over a connection of its own; return the seconds.

    Time in which other programs had the processor is not counted: it says nothing of the server.
    """
    server, loop = world.processes[0], asyncio.get_running_loop()
    url = f"http://127.0.0.1:{world.callback_port}/mpesa/result"
    connector = aiohttp.TCPConnector(force_close=True)
    waited, began = waited_s(server), loop.time()
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        session.post(url, data=result(f"600000_ORG_{payout_id}")) as answer,
    ):
        assert answer.status == 200, await answer.text()
    return loop.time() - began - (waited_s(server) - waited)


@pytest.mark.parametrize("kind", FLOODS)
async def test_a_flood_keeps_no_result_waiting(world: World, kind: str) -> None:
    """Every Result is acknowledged within 1 s, first try, and the server's memory is bounded.

    Proved with a server that has no limit: with the 1,024 files that most systems give it,
    Results are reset. Without turns, twelve senders of large bodies keep them waiting for 0.9 s.
    """
    server = world.processes[0]
    ids = [f"{kind}-{n}" for n in range(RESULTS)]
    await silent(world, ids)
    before = resident_mib(server)
    async with flood(world, kind):
        took = [await told(world, one) for one in ids]
        grown = resident_mib(server) - before
        files = open_files(server)
    assert max(took) < LONGEST_S, sorted(took)[-5:]
    assert grown < GROWTH_MIB
    assert files < MOST_FILES
    await world.all_ended(ids)
