"""The test overlay of ops/kubernetes rehearsed without a cluster: its pods as plain processes.

Commands, variables, probes and the grace until the kill are those that kustomize renders; host
names, ports and places are exchanged for those of this machine, as in the rehearsal of Docker's.
"""

import asyncio
import signal
import sys
from contextlib import AsyncExitStack, suppress
from http import HTTPStatus
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from rehearsal_bed import DEADLINE_S, ROWS, Rehearsal

from ops.local.ports import free_ports
from tests.architecture.manifests import Installation, rendered

pytestmark = [pytest.mark.servers, pytest.mark.timeout(240)]

ADMIN_PORT = "9100"
LOOK_EVERY_S = 0.05
PROBES = ("startupProbe", "readinessProbe", "livenessProbe")
SERVERS = ("simulator", "callback-server", "worker")


@pytest.fixture
def installation() -> Installation:
    """Gives the test overlay."""
    return rendered("test")


@pytest.fixture
def rehearsal(
    installation: Installation, empty_database_url: str, amqp_url: str, tmp_path: Path
) -> Rehearsal:
    """Gives its pods with secrets and addresses of this test."""
    secrets = {
        "store/database_url": empty_database_url,
        "broker/amqp_url": amqp_url,
        "gateway/sp_password": "invented-one",
        "gateway/initiator_password": "invented-two",
    }
    for name, value in secrets.items():
        file = tmp_path / "secrets" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(value, encoding="ascii")
    for name in ("state", "certificate"):
        (tmp_path / name).mkdir()
    simulator, callbacks = map(str, free_ports(2))
    return Rehearsal(
        services={
            name: {"command": pods.main["args"], "environment": installation.environ(pods)}
            for name, pods in installation.pods.items()
            if pods.ours
        },
        folder=tmp_path,
        places={
            "0.0.0.0": "127.0.0.1",  # noqa: S104 - Taken away here.
            "//simulator:": "//127.0.0.1:",
            "//callback-server:": "//127.0.0.1:",
            "8320": simulator,
            "8310": callbacks,
            "/run/secrets": str(tmp_path / "secrets"),
            "/run/certificate": str(tmp_path / "certificate"),
            "/var/lib/payouts": str(tmp_path / "state"),
        },
    )


async def test_the_pods_come_up_pay_and_drain(
    installation: Installation, rehearsal: Rehearsal
) -> None:
    """The job ends, the worker's certificate comes, all probes say yes, and a file is paid.

    Then SIGTERM ends every pod with exit status 0, before Kubernetes would kill it.
    """
    file = rehearsal.folder / "rows.csv"
    file.write_text(ROWS, encoding="utf-8")
    admin = dict(zip(SERVERS, ("", *map(str, free_ports(2))), strict=True))
    async with AsyncExitStack() as running:
        migrate = await rehearsal.start("migrate")
        assert await asyncio.wait_for(migrate.wait(), DEADLINE_S) == 0, rehearsal.said()
        pods = {}
        for name in SERVERS:
            await _prepare(installation, rehearsal, name)
            pods[name] = await rehearsal.start(name, admin=admin[name])
            running.push_async_callback(_end, pods[name])
            for probe in PROBES:
                if probe in installation.pods[name].main:
                    await _yes(installation, rehearsal, name, probe, admin[name])

        send = await rehearsal.start("worker", "send", str(file), "--yes", "--wait", admin="0")
        assert await asyncio.wait_for(send.wait(), DEADLINE_S) == 0, rehearsal.said()

        for pod in pods.values():
            pod.send_signal(signal.SIGTERM)
        for name, pod in pods.items():
            grace = installation.pods[name].spec.get("terminationGracePeriodSeconds", 30)
            assert await asyncio.wait_for(pod.wait(), grace) == 0, rehearsal.said()


async def _prepare(installation: Installation, rehearsal: Rehearsal, name: str) -> None:
    """Runs the containers that come before a pod's own, as often as Kubernetes would."""
    for container in installation.pods[name].spec.get("initContainers", ()):
        program, *arguments = container["command"]
        assert program == "python"
        told = [rehearsal.here(argument) for argument in arguments]
        process = await asyncio.create_subprocess_exec(sys.executable, *told)
        assert await asyncio.wait_for(process.wait(), DEADLINE_S) == 0


async def _yes(
    installation: Installation, rehearsal: Rehearsal, name: str, probe: str, admin: str
) -> None:
    """Returns when a probe says yes."""
    pods = installation.pods[name]
    asked: dict[str, Any] = pods.main[probe]["httpGet"]
    port = rehearsal.here(str(pods.port(asked["port"])))
    url = f"http://127.0.0.1:{admin if port == ADMIN_PORT else port}{asked['path']}"
    async with asyncio.timeout(DEADLINE_S), aiohttp.ClientSession() as session:
        while True:
            with suppress(aiohttp.ClientError):
                async with session.get(url) as answer:
                    if answer.status == HTTPStatus.OK:
                        return
            await asyncio.sleep(LOOK_EVERY_S)


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.kill()
        await process.wait()
