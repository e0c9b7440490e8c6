"""Whatever stands in a queue, what stands behind it goes on."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.acceptance.world import ROOT, World, running_world

pytestmark = [pytest.mark.servers, pytest.mark.faults, pytest.mark.timeout(300)]

GOOD = 40


def good(number: int) -> dict[str, object]:
    return {
        "payout_id": f"good-{number}",
        "amount": f"{100 + number}.50",
        "msisdn": f"2547110000{number:02}",
    }


def undecodable() -> list[bytes]:
    """Make what no worker can read, and what it reads and must refuse."""
    least = good(99)
    return [
        b"",
        b"\x00\xff\xfe",
        b"{" * 30_000,
        b'{"payout_id": "p-1", "payout_id": "p-2"}',
        b'{"amount": ' + b"9" * 5000 + b"}",
        b'{"amount": NaN}',
        b"x" * 70_000,
        b'"just a text"',
        json.dumps({**least, "remark": "\ud800"}).encode(),
        json.dumps({**least, "msisdn": "\u0661" * 12}).encode(),
        json.dumps({**least, "metadata": {"a": {"b": "c"}}}).encode(),
        json.dumps({**least, "account": "another"}).encode(),
        json.dumps({**least, "not_after": "0001-01-01T00:00:00+23:59"}).encode(),
        json.dumps(least).encode("utf-16"),
    ]


def deadly() -> list[dict[str, object]]:
    """Make commands that are in order, but that this worker cannot survive or handle."""
    names = ["die-1", "fail-1", "fail-2", "fail-3"]
    return [{**good(n), "payout_id": name} for n, name in enumerate(names)]


@asynccontextmanager
async def mortal_workers(world: World, folder: Path) -> AsyncIterator[list[int]]:
    """Keep a worker running that poison can kill; give the deaths so far."""
    deaths: list[int] = []

    async def keep() -> None:
        with (folder / "mortal.log").open("wb") as log:
            while True:
                child = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-m", "tests.faults.poisoned"),
                    cwd=ROOT,
                    env={**os.environ, **world.environ},
                    stdout=log,
                    stderr=log,
                )
                try:
                    deaths.append(await child.wait())
                finally:
                    if child.returncode is None:
                        child.terminate()
                        await child.wait()

    keeper = asyncio.create_task(keep())
    try:
        yield deaths
    finally:
        keeper.cancel()
        await asyncio.gather(keeper, return_exceptions=True)


async def put_aside(world: World, count: int) -> dict[bytes, str]:
    """Return the reasons of dead letters; a crash may have put one aside a second time."""
    reasons: dict[bytes, str] = {}
    while len(reasons) < count:
        for body, headers in await world.dead_letters(1):
            assert reasons.setdefault(body, headers["x-payouts-reason"]) in {"invalid", "poison"}
    return reasons


async def test_poison_of_every_kind_stops_nothing(
    amqp_url: str, database_url: str, tmp_path: Path
) -> None:
    """Good commands between poison are all paid, and each kind of poison is put aside.

    What kills its worker costs the others a few restarts and no blame: with the blame by count
    of deliveries alone, good ones in hand beside it were dead letters too.
    Proved by handling suspects without writing down that they were begun: the deadly one kills
    its workers for ever.
    """
    async with running_world(
        amqp_url,
        database_url,
        tmp_path,
        PAYOUTS_POISON_AFTER="2",
        PAYOUTS_PREFETCH="10",
        PAYOUTS_CONCURRENCY="4",
    ) as world:
        await world.start_callback_server()
        await world.listen()
        poison: list[bytes | dict[str, object]] = [*undecodable(), *deadly()]
        goods = [good(n) for n in range(GOOD)]
        mixed = [one for n, each in enumerate(goods) for one in (each, *poison[n : n + 1])]
        await world.publish(*mixed)
        async with mortal_workers(world, tmp_path) as deaths:
            await world.all_ended([str(one["payout_id"]) for one in goods], within_s=150)
            reasons = await put_aside(world, len(poison))
        assert Counter(reasons.values()) == {"invalid": len(undecodable()), "poison": len(deadly())}
        assert set(reasons) == {
            one if isinstance(one, bytes) else json.dumps(one).encode() for one in poison
        }
        assert deaths
        assert all(code == -9 for code in deaths)
        paid = world.paid()
        assert sorted(paid) == sorted(str(one["payout_id"]) for one in goods)
        assert all(len(amounts) == 1 for amounts in paid.values())
