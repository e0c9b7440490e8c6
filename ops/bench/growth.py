"""How costs grow with what has ended: the same calls on empty books and on full ones.

`payouts bench growth`: a private PostgreSQL, the calls of `ops/bench/probes.py`, so many ended
payouts by COPY, the same calls again, and the archiving of a part of them.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import asyncpg
import uvloop

from ops.bench.errors import BenchError
from ops.bench.filling import OLDEST, fill
from ops.bench.growth_report import Archived, Document, Growth, documented, markdown
from ops.bench.probes import Probes, Timed
from ops.local import LocalStack
from payouts.ports import Order
from payouts.runtime import SystemClock
from payouts.storage.engine import Database, create_engine
from payouts.storage.migrate import upgrade
from payouts.storage.reading import PayoutsReader
from payouts.storage.retention import Retention
from payouts.storage.store import PostgresStore

SERVERS: Final = "growth"
MOST_ARCHIVED: Final = 100_000
_DISK_BYTES: Final = 4_000  # Each payout with its story, indexes and write-ahead log.
_READ_WITHIN_S: Final = 3_600.0
_TOLD_EVERY: Final = 100_000
_SIZES: Final = """
SELECT c.relname, c.relkind::text AS kind, pg_relation_size(c.oid) AS bytes,
    i.indpred IS NOT NULL AS partial
FROM pg_class c LEFT JOIN pg_index i ON i.indexrelid = c.oid
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'i')
"""

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """So many ended payouts, and rounds of calls on each side; results go into `output`."""

    payouts: int
    rounds: int
    output: Path


def run(options: Options, tell: Tell) -> Document:
    """Measure, and write the results as JSON and as Markdown.

    Raises:
        BenchError: there is no room for it.
        LocalServerError: a server did not start.
    """
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        found = runner.run(measure(options, tell))
    document = documented(found)
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "growth.json").write_text(json.dumps(document, indent=1) + "\n", "utf-8")
    (options.output / "growth.md").write_text(markdown(document), "utf-8")
    return document


async def measure(options: Options, tell: Tell) -> Growth:
    """Return what the calls cost on empty books and on full ones, on a server of their own."""
    async with LocalStack(SERVERS) as servers:
        return await measure_on(servers, options, tell)


async def measure_on(servers: LocalStack, options: Options, tell: Tell) -> Growth:
    """Return what the calls cost on these servers; the databases are gone afterwards."""
    free = shutil.disk_usage(servers.folder).free
    if free < options.payouts * _DISK_BYTES:
        raise BenchError(f"{options.payouts:,} payouts need more room than there is.")
    async with _books(servers, "growth_empty") as url:
        tell("The calls on empty books.")
        empty = await _probe(url, options.rounds)
        empty_bytes = await _sizes(url)
    # Books of their own: what the first calls have left open would be read as well.
    async with _books(servers, "growth_full") as url:
        began = time.monotonic()
        await fill(url, options.payouts, tell=_counting(tell))
        filled_s = time.monotonic() - began
        full_bytes = await _sizes(url)
        tell(f"The calls on {options.payouts:,} ended payouts.")
        full = await _probe(url, options.rounds)
        tell("Archiving.")
        archived = await _archive(url, min(options.payouts // 2, MOST_ARCHIVED), options.payouts)
    return Growth(
        payouts=options.payouts,
        rounds=options.rounds,
        filled_s=filled_s,
        empty=empty,
        full=full,
        empty_bytes=empty_bytes,
        full_bytes=full_bytes,
        archived=archived,
    )


@asynccontextmanager
async def _books(servers: LocalStack, name: str) -> AsyncIterator[str]:
    url = await servers.fresh_database(name)
    try:
        await asyncio.to_thread(upgrade, url)
        yield url
    finally:
        await servers.postgresql.drop_database(name)


async def _probe(url: str, rounds: int) -> list[Timed]:
    await _execute(url, "CHECKPOINT")  # Nobody waits for what was filled in.
    clock = SystemClock()
    async with PostgresStore(url, clock, watched=True) as store:
        reader = PayoutsReader(store.database.engine)
        return await Probes(store=store, reader=reader, now=clock.now).run(rounds)


async def _archive(url: str, wanted: int, of: int) -> Archived:
    """Archive about so many of the oldest, as fast as it goes."""
    now = SystemClock().now()
    before = now - OLDEST + OLDEST * (wanted / max(of, 1))
    order = Order(operator="growth", reason="to see what it costs", at=now)
    database = Database(create_engine(url, command_timeout_s=_READ_WITHIN_S))
    longest_s, moved, began = 0.0, 0, time.monotonic()
    try:
        last = began
        async for sums in Retention(database).archive(order, before=before, asked={}):
            moved += sum(number for number, _ in sums.values())
            longest_s, last = max(longest_s, time.monotonic() - last), time.monotonic()
    finally:
        await database.close()
    sizes = await _sizes(url)
    total = sum(one for name, (_, one, _) in sizes.items() if name.startswith("archive"))
    return Archived(
        payouts=moved, seconds=time.monotonic() - began, longest_batch_s=longest_s, bytes=total
    )


async def _execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


async def _sizes(url: str) -> Mapping[str, tuple[str, int, bool]]:
    """Return kind, bytes and whether it is partial, of each table and index."""
    connection = await asyncpg.connect(url)
    try:
        rows = await connection.fetch(_SIZES)
    finally:
        await connection.close()
    return {row["relname"]: (row["kind"], row["bytes"], row["partial"]) for row in rows}


def _counting(tell: Tell) -> Callable[[int], None]:
    done = 0

    def count(more: int) -> None:
        nonlocal done
        done += more
        if done % _TOLD_EVERY < more:
            tell(f"{done:,} ended payouts are in.")

    return count
