"""Whether throughput falls with what has ended: rounds on empty books and on full ones, in turn.

`payouts bench full`: private servers; one database is filled once and used by every second round.
What a round has added is taken out again before the next one, so that all find the same books.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

import asyncpg
import uvloop

from ops.bench.drain import drain
from ops.bench.errors import BenchError
from ops.bench.filling import fill
from ops.bench.findings import Drain
from ops.bench.load import PREFIX
from ops.bench.site import open_site
from ops.bench.stacks import OURS, STACKS
from ops.local import LocalStack
from payouts.storage.migrate import upgrade

SERVERS: Final = "full"
CONCURRENCY: Final = 100
_BOOKS: Final = "full_books"
_DISK_BYTES: Final = 2500  # What one ended payout takes, with its share of the write-ahead log.
_TELL_EVERY: Final = 1_000_000
# Past the guards, as no program of the product could.
_FORGET: Final = f"""
SET session_replication_role = 'replica';
DELETE FROM timeline t USING payouts p WHERE t.payout = p.id AND p.payout_id LIKE '{PREFIX}%';
DELETE FROM events WHERE payout_id LIKE '{PREFIX}%';
DELETE FROM payouts WHERE payout_id LIKE '{PREFIX}%'
"""  # noqa: S608 - made of a constant
_TABLES: Final = ("payouts", "timeline", "events")

Tell = Callable[[str], None]
Document = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a person asked for.

    Args:
        ended: payouts in the full books.
        payouts: of each round.
        rounds: on each of the two.
        output: the folder of the results.
    """

    ended: int
    payouts: int
    rounds: int
    output: Path


def run(options: Options, tell: Tell) -> Document:
    """Measure, and write the results as JSON and as Markdown.

    Raises:
        BenchError: there is no room for it, or payouts were not paid once.
        LocalServerError: a server did not start.
    """
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        empty, full = runner.run(measure(options, tell))
    document = documented(options, empty, full)
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "full.json").write_text(json.dumps(document, indent=1) + "\n", "utf-8")
    (options.output / "full.md").write_text(markdown(document), "utf-8")
    return document


async def measure(options: Options, tell: Tell) -> tuple[list[Drain], list[Drain]]:
    """Return the rounds on empty books and those on full ones, in their order."""
    empty: list[Drain] = []
    full: list[Drain] = []
    async with LocalStack(SERVERS) as servers, _full(servers, options, tell) as books:
        for number in range(1, options.rounds + 1):
            for found, name, url in ((empty, "empty", None), (full, "full", books)):
                async with open_site(
                    servers, f"{name}_{number}", concurrency=CONCURRENCY, database_url=url
                ) as site:
                    found.append(await drain(STACKS[OURS], site, options.payouts))
                tell(
                    f"round {number}, {name} books: {found[-1].pace.rate:,.0f} payouts/s;"
                    f" others used {found[-1].pace.foreign:.1f} cores"
                )
            await _forget(books)
    return empty, full


@asynccontextmanager
async def _full(servers: LocalStack, options: Options, tell: Tell) -> AsyncIterator[str]:
    if shutil.disk_usage(servers.folder).free < options.ended * _DISK_BYTES:
        raise BenchError(f"{options.ended:,} payouts need more room than there is.")
    url = await servers.fresh_database(_BOOKS)
    try:
        await asyncio.to_thread(upgrade, url)
        done = 0

        def count(more: int) -> None:
            nonlocal done
            before, done = done, done + more
            if done // _TELL_EVERY > before // _TELL_EVERY:
                tell(f"{done:,} ended payouts are in.")

        await fill(url, options.ended, tell=count)
        yield url
    finally:
        await servers.postgresql.drop_database(_BOOKS)


async def _forget(url: str) -> None:
    """Take the round's payouts out again, and the room that they leave."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(_FORGET)
        for table in _TABLES:
            await connection.execute(f"VACUUM {table}")
    finally:
        await connection.close()


def documented(options: Options, empty: Sequence[Drain], full: Sequence[Drain]) -> Document:
    """Return all figures, ready for JSON."""
    ratios = [two.pace.rate / one.pace.rate for one, two in zip(empty, full, strict=True)]
    return {
        "ended": options.ended,
        "payouts": options.payouts,
        "cores": os.cpu_count(),
        "payouts_per_s": {"empty": _rates(empty), "full": _rates(full)},
        "full_to_empty": {"median": median(ratios), "low": min(ratios), "high": max(ratios)},
        "rounds": {"empty": [asdict(one) for one in empty], "full": [asdict(one) for one in full]},
    }


def _rates(drains: Sequence[Drain]) -> dict[str, float]:
    rates = [one.pace.rate for one in drains]
    return {"median": median(rates), "low": min(rates), "high": max(rates)}


def markdown(document: Document) -> str:
    """Return the figures as a table."""
    rates, ratio = document["payouts_per_s"], document["full_to_empty"]
    lines = ["| books | payouts/s |", "| --- | ---: |"]
    named = {"empty": "empty", "full": f"{document['ended']:,} ended payouts"}
    for key, name in named.items():
        one = rates[key]
        lines.append(f"| {name} | {one['median']:,.0f} ({one['low']:,.0f} to {one['high']:,.0f}) |")
    lines.append(
        f"| full to empty, round by round | {ratio['median']:.2f}"
        f" ({ratio['low']:.2f} to {ratio['high']:.2f}) |"
    )
    foreign = [one["pace"]["foreign"] for both in document["rounds"].values() for one in both]
    lines += ["", f"Others used up to {max(foreign):.1f} cores meanwhile."]
    return "\n".join(lines) + "\n"
