"""Where rounds take place: private servers, the simulator as a process of its own, the fork server.

All of it ends with the block, also after Ctrl-C; what cannot end in order dies with its parent or
is found by its mark.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
import asyncpg

from ops.demo.children import die_with_parent
from ops.local import LocalStack
from ops.local.ports import free_ports
from payouts.storage.migrate import upgrade
from tests.faults.nursery import ROOT, Nursery

SIMULATOR: Final = "PAYOUTS_SIMULATOR_"
STOP_S: Final = 10.0
SCRAM_SINCE: Final = 16
TEMPLATE: Final = "chaos_template"
ACCOUNTS: Final = {"default": "600000", "sick": "600001"}
PREFIXES: Final = {name: f"{shortcode}_ORG" for name, shortcode in ACCOUNTS.items()}


@dataclass(kw_only=True)
class Gateway:
    """The simulator as a process: its addresses, its books over HTTP."""

    process: asyncio.subprocess.Process
    url: str
    query_url: str
    admin_url: str
    certificate: Path
    session: aiohttp.ClientSession

    async def reset(self, script: str) -> None:
        """Empty the books and install a fault script."""
        await self._post("reset", b"")
        await self._post("faults", script.encode())

    async def statistics(self) -> dict[str, Any]:
        """Return its counts."""
        async with self.session.get(f"{self.admin_url}/statistics") as answer:
            found: dict[str, Any] = await answer.json()
            return found

    async def _post(self, path: str, body: bytes) -> None:
        async with self.session.post(f"{self.admin_url}/{path}", data=body) as answer:
            if answer.status >= 400:
                raise RuntimeError(f"The simulator refuses {path}: {await answer.text()}")


@dataclass(kw_only=True)
class Arena:
    """What all rounds of one run share."""

    stack: LocalStack
    folder: Path
    gateway: Gateway
    nursery: Nursery
    callback_port: int

    @asynccontextmanager
    async def space(self, name: str) -> AsyncIterator[dict[str, str]]:
        """Give the settings of processes in a database and a virtual host of their own.

        Fresh ones for each round: what one leaves behind cannot hide in the next, the judge reads
        little at a time, and a round is replayed as it was.
        """
        database = name.replace("-", "_")
        database_url = await self.stack.fresh_database(database, template=TEMPLATE)
        amqp_url = await self.stack.fresh_vhost(name)
        try:
            yield self._environ(amqp_url, database_url)
        finally:
            await asyncio.shield(self.stack.postgresql.drop_database(database))
            await asyncio.shield(asyncio.to_thread(self.stack.rabbitmq.drop_vhost, name))

    def _environ(self, amqp_url: str, database_url: str) -> dict[str, str]:
        callback = f"http://127.0.0.1:{self.callback_port}/mpesa"
        return {
            "PATH": os.environ.get("PATH", ""),
            # Nothing here is spoken to by TLS; reading the system's authorities takes half a birth.
            "SSL_CERT_FILE": os.devnull,
            "SSL_CERT_DIR": os.devnull,
            **self.stack.mark,
            "PAYOUTS_AMQP_URL": amqp_url,
            "PAYOUTS_DATABASE_URL": database_url,
            "PAYOUTS_ACCOUNTS_FILE": str(self.folder / "accounts.toml"),
            "PAYOUTS_GATEWAY_URL": self.gateway.url,
            "PAYOUTS_QUERY_URL": self.gateway.query_url,
            "PAYOUTS_SP_ID": "600000",
            "PAYOUTS_SP_PASSWORD": "simulator-password",
            "PAYOUTS_SERVICE_ID": "600000000",
            "PAYOUTS_INITIATOR_USERNAME": "payouts",
            "PAYOUTS_INITIATOR_PASSWORD": "simulator-initiator",
            "PAYOUTS_API_CERTIFICATE": str(self.gateway.certificate),
            "PAYOUTS_RESULT_URL": f"{callback}/result",
            "PAYOUTS_QUEUE_TIMEOUT_URL": f"{callback}/timeout",
            "PAYOUTS_CALLBACK_PORT": str(self.callback_port),
            **SHORT,
        }


# Waits so short that a death is recovered from in seconds; all else as in production.
SHORT: Final = {
    "PAYOUTS_LOG_LEVEL": "warning",
    "PAYOUTS_TPS": "2000",
    "PAYOUTS_CONCURRENCY": "24",
    "PAYOUTS_PREFETCH": "24",
    "PAYOUTS_POISON_AFTER": "900",
    "PAYOUTS_DRAIN_S": "3",
    "PAYOUTS_REQUEST_TIMEOUT_S": "2",
    "PAYOUTS_RESULT_DEADLINE_S": "1.5",
    "PAYOUTS_QUERY_INTERVAL_S": "0.5",
    "PAYOUTS_QUERY_INTERVAL_CAP_S": "1",
    "PAYOUTS_NOT_FOUND_GRACE_S": "0.5",
    "PAYOUTS_RETRY_FIRST_S": "0.2",
    "PAYOUTS_RETRY_CAP_S": "1",
    "PAYOUTS_REFUSAL_LIMIT": "2",
    "PAYOUTS_CIRCUIT_FAILURES": "20",
    "PAYOUTS_WORKER_LEASE_S": "1.5",
}


@asynccontextmanager
async def arena(name: str = "chaos", *, stack: LocalStack | None = None) -> AsyncIterator[Arena]:
    """Give servers, simulator and fork server; nothing of them is left afterwards.

    Args:
        name: of the private servers.
        stack: servers that are up already and stay so.
    """
    async with AsyncExitStack() as exits:
        if stack is None:
            stack = await exits.enter_async_context(LocalStack(name))
        folder = Path(exits.enter_context(TemporaryDirectory(prefix="arena-", dir=stack.folder)))
        await _make_template(stack)
        await _log_in_quickly(stack)
        session = await exits.enter_async_context(aiohttp.ClientSession())
        gateway = await exits.enter_async_context(_gateway(stack, folder, session))
        _write_accounts(folder)
        nursery = await exits.enter_async_context(Nursery(stack.mark))
        yield Arena(
            stack=stack,
            folder=folder,
            gateway=gateway,
            nursery=nursery,
            callback_port=free_ports(1)[0],
        )


async def _make_template(stack: LocalStack) -> None:
    await stack.postgresql.drop_database(TEMPLATE)
    url = await stack.fresh_database(TEMPLATE)
    await asyncio.to_thread(upgrade, url)


async def _log_in_quickly(stack: LocalStack) -> None:
    """Keep the password, derived once instead of 4,096 times: each birth logs in several times."""
    connection = await asyncpg.connect(stack.database_url)
    try:
        if connection.get_server_version().major >= SCRAM_SINCE:
            password = urlsplit(stack.database_url).password
            await connection.execute("SET scram_iterations = 1")
            await connection.execute(f"ALTER ROLE CURRENT_USER PASSWORD '{password}'")
    finally:
        await connection.close()


def _write_accounts(folder: Path) -> None:
    tables = (f'[{name}]\nshortcode = "{shortcode}"\n' for name, shortcode in ACCOUNTS.items())
    (folder / "accounts.toml").write_text("\n".join(tables), encoding="utf-8")


@asynccontextmanager
async def _gateway(
    stack: LocalStack, folder: Path, session: aiohttp.ClientSession
) -> AsyncIterator[Gateway]:
    settings = {
        "PORT": "0",
        "CERTIFICATE": str(folder / "gateway.pem"),
        "SHORT_CODES": ",".join(ACCOUNTS.values()),
        "RESULT_DELAY_S": "0.1",
        "LATE_S": "3",
        "SLOW_S": "1",
        "QUEUE_S": "0.5",
        "HIDDEN_S": "1",
        "RESEND_DELAY_S": "0.3",
        "RESULT_TIMEOUT_S": "5",
    }
    environ: Mapping[str, str] = {
        "PATH": os.environ.get("PATH", ""),
        **stack.mark,
        **{SIMULATOR + name: value for name, value in settings.items()},
    }
    with (folder / "simulator.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "ops.simulator"),
            cwd=ROOT,
            env=environ,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
            start_new_session=True,
            preexec_fn=die_with_parent(),
        )
    try:
        if process.stdout is None:
            raise RuntimeError("The simulator has no output.")
        line = await process.stdout.readline()
        if not line:
            raise RuntimeError((folder / "simulator.log").read_text(encoding="utf-8"))
        told = json.loads(line)
        yield Gateway(
            process=process,
            url=told["url"],
            query_url=told["query_url"],
            admin_url=told["admin_url"],
            certificate=Path(told["certificate"]),
            session=session,
        )
    finally:
        if process.returncode is None:
            process.terminate()
            try:
                await asyncio.wait_for(process.wait(), STOP_S)
            except TimeoutError:
                process.kill()
                await process.wait()
