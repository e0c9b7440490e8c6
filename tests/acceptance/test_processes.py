"""Processes: settings errors, draining, several processes, TLS, several accounts (contract §4)."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import ssl
import subprocess
import sys
from pathlib import Path

import aiohttp
import pytest
import trustme

from ops.local import LocalStack
from tests.acceptance.world import ROOT, free_port, running_world

pytestmark = [pytest.mark.servers]


def command(payout_id: str, **fields: object) -> dict[str, object]:
    return {"payout_id": payout_id, "amount": "150.50", "msisdn": "254712345678", **fields}


def children_of(pid: int) -> list[int]:
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.parametrize("module", ["worker", "callback_server"])
def test_configuration_errors_are_told_all_at_once_with_exit_2(module: str) -> None:
    """Every bad variable is named before anything connects, and no value is repeated."""
    environ = {
        "PATH": os.environ["PATH"],
        "PAYOUTS_AMQP_URL": "http://wrong-secret",
        "PAYOUTS_DRAIN_S": "soon",
        "PAYOUTS_QUERY_INTERVAL_S": "-1",
    }
    ran = subprocess.run(  # noqa: S603 - our own module
        [sys.executable, "-m", module],
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 2
    wanted = {
        "PAYOUTS_AMQP_URL",
        "PAYOUTS_DATABASE_URL",
        "PAYOUTS_DRAIN_S",
        "PAYOUTS_QUERY_INTERVAL_S",
    }
    if module == "worker":
        wanted |= {"PAYOUTS_GATEWAY_URL", "PAYOUTS_SP_PASSWORD", "PAYOUTS_API_CERTIFICATE"}
    assert not [name for name in wanted if name not in ran.stderr]
    assert "wrong-secret" not in ran.stderr
    assert "Traceback" not in ran.stderr


async def test_a_drained_worker_leaves_nothing_in_doubt(
    amqp_url: str, database_url: str, tmp_path: Path
) -> None:
    """SIGTERM lets requests in flight finish, takes nothing new, and exits with 0."""
    async with running_world(
        amqp_url,
        database_url,
        tmp_path,
        simulator={"slow_s": 1.0},
        PAYOUTS_RESULT_DEADLINE_S="30",
    ) as world:
        server = await world.start_callback_server()
        worker = await world.start_worker()
        await world.listen()
        ids = [f"drain-{n}" for n in range(300)]
        slow = {"rule": [{"when": {}, "do": ["slow_answer", "result_late"]}]}
        world.simulator.install_faults(json.dumps(slow))
        # The first is on its way for a second only; publishing all may take longer.
        publishing = asyncio.create_task(world.publish(*[command(one) for one in ids]))
        await world.in_state("drain-0", "submitting")
        assert await worker.stop() == 0
        await publishing
        doubtful = await world.connection.fetchval(
            "SELECT count(*) FROM payouts WHERE state IN ('submitting', 'in_doubt')"
        )
        assert doubtful == 0
        await world.start_worker()
        await world.all_ended(ids)
        assert all(paid == ["150.50"] for paid in world.paid().values())
        assert await server.stop() == 0


async def test_several_processes_share_the_work_and_are_restarted(
    amqp_url: str, database_url: str, tmp_path: Path
) -> None:
    """`--processes 2` runs two children; one that dies comes back; SIGTERM ends all with 0."""
    async with running_world(amqp_url, database_url, tmp_path) as world:
        await world.start_callback_server()
        await world.start_worker()  # It declares what the test publishes to.
        await world.listen()
        environ = {**os.environ, **world.environ, "PAYOUTS_ADMIN_PORT": str(free_port())}
        parent = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "ops.cli",
            "worker",
            "--processes",
            "2",
            cwd=ROOT,
            env=environ,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:

            async def enlisted(count: int) -> bool:
                found: int = await world.connection.fetchval("SELECT count(*) FROM workers")
                return found >= count

            await world.until(lambda: enlisted(3), "two children have enlisted")
            children = children_of(parent.pid)
            os.kill(children[0], signal.SIGKILL)
            await world.until(lambda: enlisted(4), "the child is back")
            ids = [f"shared-{n}" for n in range(100)]
            await world.publish(*[command(one) for one in ids])
            await world.all_ended(ids)
        finally:
            parent.terminate()
        assert await asyncio.wait_for(parent.wait(), 30) == 0


async def test_mutual_tls_both_ways(amqp_url: str, database_url: str, tmp_path: Path) -> None:
    """HTTPS to the gateway with our client certificate, and callbacks only from theirs."""
    authority = trustme.CA()
    server, client = authority.issue_cert("127.0.0.1"), authority.issue_cert("client.example")
    paths = {}
    for name, cert in (("server", server), ("client", client)):
        cert.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / f"{name}.pem"))
        paths[name] = str(tmp_path / f"{name}.pem")
    ca = str(tmp_path / "ca.pem")
    authority.cert_pem.write_to_path(ca)
    port = free_port()
    async with running_world(
        amqp_url,
        database_url,
        tmp_path,
        simulator={
            "tls_certificate": paths["server"],
            "tls_key": paths["server"],
            "tls_client_ca": ca,
            "result_ca": ca,
            "result_certificate": paths["client"],
            "result_key": paths["client"],
        },
        PAYOUTS_CALLBACK_PORT=str(port),
        PAYOUTS_RESULT_URL=f"https://127.0.0.1:{port}/mpesa/result",
        PAYOUTS_QUEUE_TIMEOUT_URL=f"https://127.0.0.1:{port}/mpesa/timeout",
        PAYOUTS_GATEWAY_CA=ca,
        PAYOUTS_GATEWAY_CERTIFICATE=paths["client"],
        PAYOUTS_CALLBACK_CERTIFICATE=paths["server"],
        PAYOUTS_CALLBACK_CLIENT_CA=ca,
    ) as world:
        await world.start_callback_server()
        await world.start_worker()
        await world.listen()
        assert world.simulator.url.startswith("https://")
        await world.publish(command("tls-1"))
        event = await world.ended("tls-1")
        assert event["data"]["reason"]["source"] == "result"
        stranger = ssl.create_default_context(cafile=ca)
        with pytest.raises(aiohttp.ClientError):
            await world.session.post(
                f"https://127.0.0.1:{port}/mpesa/result", data=b"x", ssl=stranger
            )


async def test_a_gateway_with_another_authority_is_never_sent_to(
    amqp_url: str, database_url: str, tmp_path: Path
) -> None:
    """The certificate check is never off: nothing is sent, and the payout waits."""
    cert = trustme.CA().issue_cert("127.0.0.1")
    cert.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "server.pem"))
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "other.pem"))
    async with running_world(
        amqp_url,
        database_url,
        tmp_path,
        simulator={
            "tls_certificate": str(tmp_path / "server.pem"),
            "tls_key": str(tmp_path / "server.pem"),
        },
        PAYOUTS_GATEWAY_CA=str(tmp_path / "other.pem"),
    ) as world:
        await world.start_worker()
        await world.publish(command("untrusted-1"))
        await world.in_state("untrusted-1", "waiting")
        assert world.simulator.statistics()["requests"] == 0


async def test_each_account_has_its_own_queue_and_short_code(
    amqp_url: str, database_url: str, tmp_path: Path
) -> None:
    """A paused account does not stand in the way of another."""
    accounts = tmp_path / "accounts.toml"
    accounts.write_text('[default]\n\n[loans]\nshortcode = "600001"\norganisation = "LOANS"\n')
    async with running_world(
        amqp_url,
        database_url,
        tmp_path,
        simulator={"short_codes": ("600000", "600001")},
        PAYOUTS_ACCOUNTS_FILE=str(accounts),
    ) as world:
        await world.start_callback_server()
        await world.start_worker()
        await world.listen()
        await world.set_paused("default", paused=True)
        worker = world.processes[1]

        async def noticed() -> bool:
            return "account.paused" in worker.said()

        await world.until(noticed, "the worker knows that the account is paused")
        await world.publish(command("own-1"))
        await world.publish(command("own-2", account="loans"), account="loans")
        event = await world.ended("own-2")
        assert event["data"]["account"] == "loans"
        assert event["data"]["originator_conversation_id"] == "600001_LOANS_own-2"
        assert "own-1" not in world.paid()
        await world.set_paused("default", paused=False)
        assert (await world.ended("own-1"))["type"] == "payout.succeeded"


async def test_while_the_database_is_away_a_callback_is_told_to_come_again(
    mortal_stack: LocalStack, amqp_url: str, database_url: str, tmp_path: Path
) -> None:
    """PostgreSQL is killed in the middle of a run: 503, and nothing is lost (contract §3).

    More deaths of servers: tests/faults/test_servers.py.
    """
    async with running_world(amqp_url, database_url, tmp_path) as world:
        await world.start_callback_server()
        await world.start_worker()
        await world.listen()
        ids = [f"outage-{n}" for n in range(200)]
        await world.publish(*[command(one) for one in ids])

        async def some() -> bool:
            return len(world.events) >= 20

        await world.until(some, "twenty payouts have ended")
        await asyncio.to_thread(mortal_stack.postgresql.kill)
        body = (
            b"<e:Envelope xmlns:e='http://schemas.xmlsoap.org/soap/envelope/'><e:Body><r:ResultMsg"
        )
        body += b" xmlns:r='http://api-v1.gen.mm.vodafone.com/mminterface/result'>&lt;Result&gt;"
        body += (
            b"&lt;ResultCode&gt;0&lt;/ResultCode&gt;&lt;OriginatorConversationID&gt;600000_ORG_x"
        )
        body += (
            b"&lt;/OriginatorConversationID&gt;&lt;/Result&gt;</r:ResultMsg></e:Body></e:Envelope>"
        )
        url = f"http://127.0.0.1:{world.callback_port}/mpesa/result"
        timeout = aiohttp.ClientTimeout(total=30)
        async with world.session.post(url, data=body, timeout=timeout) as answer:
            assert answer.status == 503
            assert "200000001" in await answer.text()
        await asyncio.to_thread(mortal_stack.postgresql.start)
        await world.all_ended(ids, within_s=90)
        assert world.paid() == {one: ["150.50"] for one in ids}
        for payout_id in ids:
            assert len({event["id"] for event in world.completions(payout_id)}) == 1
