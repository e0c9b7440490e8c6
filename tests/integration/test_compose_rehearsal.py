"""docker-compose.yml rehearsed without Docker: its commands and variables, on private servers.

Host names, ports and places of the containers are exchanged for those of this machine; everything
else is taken from the file as it stands, the health checks too.
"""

import asyncio
import shutil
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
import yaml
from rehearsal_bed import DEADLINE_S, PROJECT, ROWS, Rehearsal

from ops.local.ports import free_ports

pytestmark = [pytest.mark.servers]


@pytest.fixture
async def rehearsal(empty_database_url: str, amqp_url: str, tmp_path: Path) -> Rehearsal:
    """Gives the services with secrets from ops/compose.sh and the addresses of this test."""
    (tmp_path / "ops").mkdir()
    shutil.copy(PROJECT / "ops" / "compose.sh", tmp_path / "ops")
    made = await asyncio.create_subprocess_exec(
        "/bin/bash", tmp_path / "ops" / "compose.sh", "secrets"
    )
    assert await made.wait() == 0
    secrets = tmp_path / ".local" / "compose"
    for name, value in (("amqp_url", amqp_url), ("database_url", empty_database_url)):
        (secrets / name).unlink()
        (secrets / name).write_text(value, encoding="ascii")
    (tmp_path / "state").mkdir()
    simulator, callbacks = map(str, free_ports(2))
    compose = yaml.safe_load((PROJECT / "docker-compose.yml").read_text(encoding="utf-8"))
    return Rehearsal(
        services=compose["services"],
        folder=tmp_path,
        places={
            "0.0.0.0": "127.0.0.1",  # noqa: S104 - Taken away here.
            "//simulator:": "//127.0.0.1:",
            "//callback-server:": "//127.0.0.1:",
            "8320": simulator,
            "8310": callbacks,
            "/run/secrets": str(secrets),
            "/var/lib/payouts": str(tmp_path / "state"),
        },
    )


async def test_the_services_come_up_pay_and_drain(rehearsal: Rehearsal) -> None:
    """Migration, simulator, callback server and two workers become healthy by the file's checks.

    Then a payment file goes its whole way, and SIGTERM ends every process with exit status 0.
    """
    first, second, callbacks = map(str, free_ports(3))
    file = rehearsal.folder / "rows.csv"
    file.write_text(ROWS, encoding="utf-8")
    async with AsyncExitStack() as running:
        migrate = await rehearsal.start("migrate")
        assert await migrate.wait() == 0, rehearsal.said()

        servers = [await running.enter_async_context(_running(rehearsal, "simulator"))]
        await rehearsal.healthy("simulator")
        for name, admin in (("callback-server", callbacks), ("worker", first), ("worker", second)):
            servers.append(await running.enter_async_context(_running(rehearsal, name, admin)))
        for name, admin in (("callback-server", callbacks), ("worker", first), ("worker", second)):
            await rehearsal.healthy(name, admin=admin)

        send = await rehearsal.start("payouts", "send", str(file), "--yes", "--wait")
        assert await asyncio.wait_for(send.wait(), DEADLINE_S) == 0, rehearsal.said()

        for server in servers:
            server.send_signal(signal.SIGTERM)
        ends = [await asyncio.wait_for(server.wait(), DEADLINE_S) for server in servers]
        assert ends == [0] * len(servers), rehearsal.said()


@asynccontextmanager
async def _running(
    rehearsal: Rehearsal, name: str, admin: str = ""
) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await rehearsal.start(name, admin=admin)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
