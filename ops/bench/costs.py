"""What one payout costs, measured by a run: CPU by process, write-ahead log, commits, disk."""

from __future__ import annotations

import asyncio
import os
import platform
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import asyncpg
from aiormq.abc import AbstractChannel

from ops.bench import load
from ops.bench.accounting import PROC, cpu_s, process_table, tree
from ops.bench.errors import BenchError
from ops.bench.hearing import Hearing
from ops.bench.measures import FROM, TO, Sample
from ops.bench.site import Site, open_site, prepare, running
from ops.bench.stacks import OURS, STACKS
from ops.local import LocalStack

NAME: Final = "scaling"
CONCURRENCY: Final = 100
PAGE_BYTES: Final = 8192
LOOK_EVERY_S: Final = 0.2
STALL_S: Final = 60.0
# A backend tells its statistics once a second at most, so both ends are late alike.
_COUNTS: Final = """
SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint AS wal_bytes,
    (SELECT wal_fpi FROM pg_stat_wal)::bigint AS page_images,
    (SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()) AS commits,
    pg_database_size(current_database()) AS database_bytes
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Instant:
    """What had been used when so many payouts had ended; `counts` are of both servers."""

    payouts: int
    sample: Sample
    counts: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Broker:
    """What RabbitMQ has used."""

    cpu_s: float
    written_bytes: int

    def __sub__(self, earlier: Broker) -> Broker:
        """Return what it used since."""
        return Broker(
            cpu_s=self.cpu_s - earlier.cpu_s,
            written_bytes=self.written_bytes - earlier.written_bytes,
        )

    def each(self, payouts: int) -> dict[str, int]:
        """Return it for one of so many payouts."""
        return {
            "cpu_us": round(self.cpu_s / payouts * 1e6),
            "bytes": round(self.written_bytes / payouts),
        }


def broker(site: Site) -> Broker:
    """Return what RabbitMQ has used so far."""
    roots = site.roots["RabbitMQ"]
    return Broker(cpu_s=cpu_s(process_table(), roots), written_bytes=_written(roots))


async def measure(payouts: int) -> dict[str, Any]:
    """Return costs of one payout, ready for JSON, from a run on private servers.

    They are taken between 15 % and 90 % of the run, so that neither the start nor the end counts.
    What RabbitMQ spends on commands that come in and on events that go out is taken before and
    after it: upstream and downstream are not part of a run, but their broker is.

    Raises:
        BenchError: the run stood still.
        LocalServerError: something did not start.
    """
    async with (
        LocalStack(NAME) as servers,
        open_site(servers, NAME, concurrency=CONCURRENCY) as site,
        load.channel_to(site.place.amqp_url) as channel,
    ):
        before = broker(site)
        await load.publish_all(channel, payouts)
        published = broker(site)
        await prepare(STACKS[OURS], site)
        connection = await asyncpg.connect(site.place.database_url)
        try:
            async with running(STACKS[OURS], site):
                marks = (payouts * FROM, payouts * TO, payouts)
                instants = await _instants(site, channel, connection, marks)
            version = await connection.fetchval("SHOW server_version")
        finally:
            await connection.close()
        ended = broker(site)
        await Hearing(channel).all_of(payouts)
        taken = broker(site)
    return {
        "at": datetime.now(UTC).date().isoformat(),
        "machine": {"cores": os.cpu_count(), "python": platform.python_version()},
        "postgresql": version,
        "payouts": payouts,
        **costs(instants[0], instants[1]),
        "broker_per_payout": {
            "commands in": (published - before).each(payouts),
            "events out": (taken - ended).each(payouts),
        },
    }


async def _instants(
    site: Site, channel: AbstractChannel, connection: asyncpg.Connection, marks: Sequence[float]
) -> list[Instant]:
    """Return an instant for each mark: the first look at which so many payouts had ended."""
    found: list[Instant] = []
    ended, moved_at = 0, time.monotonic()
    while len(found) < len(marks):
        await asyncio.sleep(LOOK_EVERY_S)
        now = time.monotonic()
        events = await load.waiting(channel, load.EVENTS)
        if events > ended:
            ended, moved_at = events, now
        elif now - moved_at > STALL_S:
            raise BenchError(f"{events} events after {STALL_S:g} s without another.")
        if events >= marks[len(found)]:
            row = await connection.fetchrow(_COUNTS)
            counts = {**dict(row), "broker_bytes": broker(site).written_bytes}
            found.append(Instant(payouts=events, sample=site.sample(now, events), counts=counts))
    return found


def costs(begin: Instant, end: Instant) -> dict[str, Any]:
    """Return what a payout cost between two instants, by what was used.

    Raises:
        BenchError: no payout ended in between; let the run have more of them.
    """
    payouts = end.payouts - begin.payouts
    seconds = end.sample.at_s - begin.sample.at_s
    if payouts <= 0:
        raise BenchError("The run was too short to tell anything; give it more payouts.")
    used = {role: end.sample.cpu_s[role] - past for role, past in begin.sample.cpu_s.items()}
    counts = {name: end.counts[name] - count for name, count in begin.counts.items()}
    foreign_s = end.sample.busy_s - begin.sample.busy_s - sum(used.values())
    return {
        "payouts_per_s": round(payouts / seconds, 1),
        "others_cores": round(foreign_s / seconds, 2),
        "cpu_us_per_payout": {role: round(spent / payouts * 1e6) for role, spent in used.items()},
        "per_payout": {
            "wal_bytes": round(counts["wal_bytes"] / payouts),
            "page_image_bytes_at_most": round(counts["page_images"] * PAGE_BYTES / payouts),
            "commits": round(counts["commits"] / payouts, 3),
            "database_bytes": round(counts["database_bytes"] / payouts),
            "broker_bytes": round(counts["broker_bytes"] / payouts),
        },
    }


def _written(roots: Sequence[int], proc: Path = PROC) -> int:
    """Return the bytes that processes and their children have had written to disk."""
    total = 0
    for pid in tree(process_table(proc), roots):
        with suppress(OSError):  # It has ended meanwhile.
            for line in (proc / str(pid) / "io").read_text(encoding="ascii").splitlines():
                if line.startswith("write_bytes:"):
                    total += int(line.split()[1])
    return total
