from collections.abc import AsyncIterator

import aiohttp
import pytest

from payouts.domain.signals import Signal
from payouts.telemetry import AdminServer, Fanout, SignalMetrics

CHECKS = {"database": True, "rabbitmq": True}


@pytest.fixture
async def admin() -> AsyncIterator[tuple[str, dict[str, bool]]]:
    """Give the address of a served admin port and the checks behind it."""
    metrics = SignalMetrics()
    Fanout([metrics]).emit(Signal.LEASE_LOST, owner=1)
    checks = dict(CHECKS)
    server = AdminServer("127.0.0.1", 0, ready=lambda: checks, metrics=metrics.exposition)
    assert server.port == 0
    await server.start()
    yield f"http://127.0.0.1:{server.port}", checks
    await server.close()
    assert server.port == 0


async def get(url: str) -> tuple[int, str, str]:
    """Return status, content type and body."""
    async with aiohttp.ClientSession() as client, client.get(url) as answer:
        return answer.status, answer.content_type, await answer.text()


async def test_a_process_is_live_while_it_answers(admin: tuple[str, dict[str, bool]]) -> None:
    """Liveness looks at nothing else: a database that is away is no reason to be killed."""
    url, checks = admin
    checks["database"] = False
    assert await get(f"{url}/health/live") == (200, "application/json", '{"live": true}')


async def test_readiness_names_what_is_missing(admin: tuple[str, dict[str, bool]]) -> None:
    """200 while all checks hold; else 503, and a person sees which does not."""
    url, checks = admin
    status, _, body = await get(f"{url}/health/ready")
    assert (status, body) == (
        200,
        '{"ready": true, "checks": {"database": true, "rabbitmq": true}}',
    )
    checks["rabbitmq"] = False
    status, _, body = await get(f"{url}/health/ready")
    assert status == 503
    assert '"rabbitmq": false' in body


async def test_metrics_are_served_as_text(admin: tuple[str, dict[str, bool]]) -> None:
    """Prometheus scrapes what the registry holds."""
    status, content_type, body = await get(f"{admin[0]}/metrics")
    assert (status, content_type) == (200, "text/plain")
    assert "payouts_leases_lost_total 1.0" in body


async def test_anything_else_is_not_found(admin: tuple[str, dict[str, bool]]) -> None:
    """The admin port has three paths."""
    assert (await get(f"{admin[0]}/"))[0] == 404


async def test_a_taken_port_is_told() -> None:
    """The process does not start without its admin port."""
    one = AdminServer("127.0.0.1", 0, ready=dict, metrics=bytes)
    await one.start()
    other = AdminServer("127.0.0.1", one.port, ready=dict, metrics=bytes)
    with pytest.raises(OSError, match="address already in use"):
        await other.start()
    await other.close()
    await one.close()
