"""What 100, 1,000 and 10,000 payouts/s need, derived from what one payout was measured to cost.

`python -m ops.bench.scaling` measures (a few minutes; on a machine that does nothing else, or the
figures say more about the others), keeps the measurement in docs/explanation/scaling.json, and
writes the marked section of docs/explanation/scaling.md. `--page` writes the page alone, from
what was measured before; `--bench FILE` takes the CPU times of `payouts bench` instead of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any, Final

import uvloop

from ops.bench.costs import CONCURRENCY, measure
from ops.bench.errors import BenchError
from ops.bench.stacks import OURS
from ops.docs.sections import ROOT, filled, table
from ops.local.errors import LocalServerError
from payouts.storage.engine import CONNECTIONS
from payouts.storage.slots import SLICE_S

PAGE: Final = "docs/explanation/scaling.md"
MEASURED: Final = ROOT / "docs" / "explanation" / "scaling.json"
PAYOUTS: Final = 20_000
RATES: Final = (100, 1_000, 10_000)
QUIET: Final = 0.1  # The part of a machine that others may use while it counts as quiet.
_DIGITS: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Assumptions:
    """What is not measured: said, so that it can be doubted, and changed here.

    Args:
        busy: the part of a core that is planned to be used; the rest is for bursts.
        gateway_s: what the gateway takes to answer a request.
        fewest: processes of a kind, so that one may be gone.
        database_cores: of the machine that PostgreSQL has.
        replicas: of each quorum queue.
        listeners: queues that take each event.
    """

    busy: float = 0.6
    gateway_s: float = 0.5
    fewest: int = 2
    database_cores: int = 16
    replicas: int = 3
    listeners: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What one payout was measured to cost: CPU in microseconds by role, the rest in bytes."""

    cpu_us: Mapping[str, float]
    wal_bytes: float
    commits: float
    database_bytes: float
    broker_bytes: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """What so many payouts in a second need; rates are per second."""

    rate: int
    in_flight: int
    worker_cores: float
    workers: int
    callback_cores: float
    callback_servers: int
    database_cores: float
    commits_at_most: float
    connections_at_most: int
    wal_mb: float
    growth_gb_an_hour: float
    broker_cores: float
    published: float
    delivered: float
    replicated: float
    broker_mb: float
    pace_updates_at_most: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Ceiling:
    """What one of something carries, in payouts/s, and whether there can be more of it."""

    what: str
    rate: float
    more: str
    alone: bool


def cost_of(measured: Mapping[str, Any]) -> Cost:
    """Return the costs in a measurement; RabbitMQ's with those of both its other sides."""
    each, ways = measured["per_payout"], measured["broker_per_payout"].values()
    cpu_us = dict(measured["cpu_us_per_payout"])
    cpu_us["RabbitMQ"] += sum(way["cpu_us"] for way in ways)
    return Cost(
        cpu_us=cpu_us,
        wal_bytes=each["wal_bytes"],
        commits=each["commits"],
        database_bytes=each["database_bytes"],
        broker_bytes=each["broker_bytes"] + sum(way["bytes"] for way in ways),
    )


def need(rate: int, cost: Cost, given: Assumptions) -> Need:
    """Return what a rate needs: every figure is a cost or a bound, times the rate."""
    cores = {role: rate * used / 1e6 for role, used in cost.cpu_us.items()}
    in_flight = ceil(rate * given.gateway_s)
    workers = max(given.fewest, ceil(cores["worker"] / given.busy), ceil(in_flight / CONCURRENCY))
    callback_servers = max(given.fewest, ceil(cores["callback server"] / given.busy))
    published = rate * 2.0  # The command by whoever pays, the completion event by us.
    return Need(
        rate=rate,
        in_flight=in_flight,
        worker_cores=cores["worker"],
        workers=workers,
        callback_cores=cores["callback server"],
        callback_servers=callback_servers,
        database_cores=cores["PostgreSQL"],
        commits_at_most=rate * cost.commits,
        connections_at_most=(workers + callback_servers) * CONNECTIONS,
        wal_mb=rate * cost.wal_bytes / 1e6,
        growth_gb_an_hour=rate * cost.database_bytes * 3600 / 1e9,
        broker_cores=cores["RabbitMQ"],
        published=published,
        delivered=rate * (1.0 + given.listeners),
        replicated=rate * (1.0 + given.listeners) * given.replicas,
        broker_mb=rate * cost.broker_bytes / 1e6,
        pace_updates_at_most=workers / SLICE_S,
    )


def ceilings(cost: Cost, given: Assumptions) -> list[Ceiling]:
    """Return what saturates, the first to do so first."""

    def full(role: str, cores: float = 1.0) -> float:
        return cores * 1e6 / cost.cpu_us[role]

    found = [
        Ceiling(
            what="one worker process, by CPU",
            rate=full("worker"),
            more="more of them",
            alone=False,
        ),
        Ceiling(
            what=f"one worker process, by its {CONCURRENCY} requests in flight",
            rate=CONCURRENCY / given.gateway_s,
            more="more of them, or a higher `PAYOUTS_CONCURRENCY`",
            alone=False,
        ),
        Ceiling(
            what="one callback server process, by CPU",
            rate=full("callback server"),
            more="more of them",
            alone=False,
        ),
        Ceiling(
            what="the command queue of one account (at least: it uses one core)",
            rate=full("RabbitMQ"),
            more="several queues",
            alone=True,
        ),
        Ceiling(
            what=f"one PostgreSQL on {given.database_cores} cores, {given.busy:.0%} used",
            rate=full("PostgreSQL", given.database_cores * given.busy),
            more="a larger machine, then several installations",
            alone=True,
        ),
    ]
    return sorted(found, key=lambda ceiling: ceiling.rate)


def section(measured: Mapping[str, Any], given: Assumptions = Assumptions()) -> str:
    """Return the marked section of the page, made of one measurement alone."""
    cost = cost_of(measured)
    needs = [need(rate, cost, given) for rate in RATES]
    parts = (
        _measured(measured),
        "### What a rate needs",
        _assumed(given),
        _needs(needs),
        "### What saturates first",
        _ceilings(ceilings(cost, given)),
    )
    return "\n\n".join(parts)


def _measured(measured: Mapping[str, Any]) -> str:
    machine = measured["machine"]
    each = measured["per_payout"]
    cpu = measured["cpu_us_per_payout"]
    told = (
        f"Measured on {measured['at']}, {measured['payouts']:,} payouts at"
        f" {measured['payouts_per_s']:,.0f}/s, on a machine with {machine['cores']} cores of which"
        f" others used {measured['others_cores']:.1f} meanwhile; Python {machine['python']},"
        f" PostgreSQL {measured['postgresql'].split()[0]}, one node of RabbitMQ. CPU times are"
        f" those of {measured.get('cpu_from', 'the same run')}."
    )
    if measured["others_cores"] > QUIET * machine["cores"]:
        told += " **Others kept that machine busy: these figures tell a direction, no more.**"
    rows = table(
        ("one payout costs", "figure"),
        *((f"CPU, {role}", f"{used:,.0f} µs") for role, used in cpu.items() if role != "driver"),
        ("write-ahead log of PostgreSQL", f"{each['wal_bytes']:,} bytes"),
        ("of it images of whole pages, at most", f"{each['page_image_bytes_at_most']:,} bytes"),
        ("commits", f"{each['commits']:.2f}"),
        ("the database grows by", f"{each['database_bytes']:,} bytes"),
        ("RabbitMQ writes", f"{each['broker_bytes']:,} bytes"),
        *(
            (f"RabbitMQ, {way}", f"{used['cpu_us']:,} µs, {used['bytes']:,} bytes")
            for way, used in measured["broker_per_payout"].items()
        ),
    )
    return f"{told}\n\n{rows}"


def _assumed(given: Assumptions) -> str:
    return (
        f"Assumed, not measured: cores are planned to be used by {given.busy:.0%}; the gateway"
        f" answers within {given.gateway_s:g} s; a process has {CONCURRENCY} requests in flight and"
        f" up to {CONNECTIONS} connections to PostgreSQL; each event goes to"
        f" {given.listeners} queue; quorum queues have {given.replicas} replicas; at least"
        f" {given.fewest} processes of each kind."
    )


def _needs(needs: Sequence[Need]) -> str:
    rows: tuple[tuple[str, Callable[[Need], float]], ...] = (
        ("requests in flight at the gateway", lambda one: one.in_flight),
        ("cores, workers", lambda one: one.worker_cores),
        ("worker processes", lambda one: one.workers),
        ("cores, callback servers", lambda one: one.callback_cores),
        ("callback server processes", lambda one: one.callback_servers),
        ("cores, PostgreSQL", lambda one: one.database_cores),
        ("write-ahead log, MB/s", lambda one: one.wal_mb),
        ("the database grows by, GB an hour", lambda one: one.growth_gb_an_hour),
        ("commits/s, at most", lambda one: one.commits_at_most),
        ("connections to PostgreSQL, at most", lambda one: one.connections_at_most),
        ("updates/s of an account's pace, at most", lambda one: one.pace_updates_at_most),
        ("cores, RabbitMQ, its leader's node", lambda one: one.broker_cores),
        ("messages published/s", lambda one: one.published),
        ("messages delivered/s", lambda one: one.delivered),
        ("messages written/s, over all replicas", lambda one: one.replicated),
        ("disk of each RabbitMQ node, MB/s", lambda one: one.broker_mb),
    )
    head = ("payouts/s", *(f"{one.rate:,}" for one in needs))
    return table(head, *((name, *(_short(of(one)) for one in needs)) for name, of in rows))


def _ceilings(found: Sequence[Ceiling]) -> str:
    rows = table(
        ("what", "carries about, payouts/s", "and then"),
        *((one.what, _short(one.rate), one.more) for one in found),
    )
    first = next(one for one in found if one.alone)
    return (
        f"{rows}\n\nThe first of them that is there only once is {first.what}: about"
        f" {_short(first.rate)} payouts/s."
    )


def _short(value: float) -> str:
    """Return a figure with two digits that count, as it was not measured better; counts whole."""
    if isinstance(value, int):
        return f"{value:,}"
    rounded = float(f"{value:.{_DIGITS}g}")
    return f"{rounded:,.0f}" if rounded >= 10 ** (_DIGITS - 1) else f"{rounded:g}"


def with_bench(measured: Mapping[str, Any], document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a measurement with the CPU times of a benchmark's JSON, medians over its rounds."""
    told = document["stacks"][OURS]["cpu_us_per_payout"]
    roles = measured["cpu_us_per_payout"]
    cpu = {role: round(told[role]["median"]) for role in roles}
    return {**measured, "cpu_us_per_payout": cpu, "cpu_from": "`payouts bench`"}


def write_page() -> None:
    """Have the page say what the kept measurement says."""
    kept = json.loads(MEASURED.read_text(encoding="utf-8"))
    (ROOT / PAGE).write_text(filled(PAGE, {"scaling": section(kept)}), encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, keep, write the page; exit status 1 if the measurement failed."""
    parser = argparse.ArgumentParser(prog="python -m ops.bench.scaling", description=__doc__)
    parser.add_argument("--payouts", type=int, default=PAYOUTS)
    parser.add_argument("--bench", type=Path, help="bench.json of `payouts bench`")
    parser.add_argument("--page", action="store_true", help="measure nothing")
    chosen = parser.parse_args(arguments)
    try:
        if not chosen.page:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                _keep(runner.run(measure(chosen.payouts)))
        if chosen.bench is not None:
            document = json.loads(chosen.bench.read_text(encoding="utf-8"))
            _keep(with_bench(json.loads(MEASURED.read_text(encoding="utf-8")), document))
        write_page()
    except (BenchError, LocalServerError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stderr.write(f"{PAGE} is written.\n")
    return 0


def _keep(measured: Mapping[str, Any]) -> None:
    MEASURED.write_text(json.dumps(measured, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
