"""The derivation of docs/explanation/scaling.md: costs from counts, needs from costs, the page."""

import json

import pytest

from ops.bench.costs import CONCURRENCY, Broker, Instant, costs
from ops.bench.errors import BenchError
from ops.bench.measures import ROLES, Sample
from ops.bench.scaling import (
    MEASURED,
    PAGE,
    Assumptions,
    Cost,
    ceilings,
    cost_of,
    need,
    section,
    with_bench,
)
from ops.docs.sections import ROOT, filled
from payouts.storage.engine import CONNECTIONS

COST = Cost(
    cpu_us={"worker": 1000, "callback server": 600, "PostgreSQL": 500, "RabbitMQ": 400},
    wal_bytes=3000,
    commits=0.5,
    database_bytes=1000,
    broker_bytes=2000,
)
SURE = Assumptions(busy=0.5, gateway_s=0.5, fewest=2, database_cores=8, replicas=3, listeners=2)


def instant(payouts: int, at_s: float, cpu_s: float, **counts: int) -> Instant:
    """Gives what was seen: every role used the same, and others one second in two."""
    used = dict.fromkeys(ROLES, cpu_s)
    sample = Sample(at_s=at_s, events=payouts, cpu_s=used, busy_s=cpu_s * len(ROLES) + at_s / 2)
    return Instant(payouts=payouts, sample=sample, counts=counts)


def test_costs_are_what_was_used_in_between() -> None:
    """What had been used before the first instant does not count, and others are told apart."""
    names = ("wal_bytes", "page_images", "commits", "database_bytes", "broker_bytes")
    begin = instant(100, 10.0, 5.0, **dict.fromkeys(names, 7000))
    end = instant(300, 12.0, 5.1, **dict.fromkeys(names, 7400))

    found = costs(begin, end)

    assert found["payouts_per_s"] == 100
    assert found["cpu_us_per_payout"] == dict.fromkeys(ROLES, 500)
    assert found["others_cores"] == 0.5
    assert found["per_payout"] == {
        "wal_bytes": 2,
        "page_image_bytes_at_most": 2 * 8192,
        "commits": 2,
        "database_bytes": 2,
        "broker_bytes": 2,
    }


def test_costs_of_nothing_are_refused() -> None:
    """A run in which both instants are one tells nothing, and says so."""
    one = instant(100, 10.0, 5.0)
    with pytest.raises(BenchError, match="too short"):
        costs(one, one)


def test_the_broker_is_told_by_difference() -> None:
    """What RabbitMQ used between two looks, for each payout."""
    used = Broker(cpu_s=3.0, written_bytes=5000) - Broker(cpu_s=1.0, written_bytes=1000)
    assert used.each(4) == {"cpu_us": 500_000, "bytes": 1000}


def test_a_rate_needs_its_costs() -> None:
    """Cores, log, messages and disk are the cost of one payout times the rate."""
    found = need(1000, COST, SURE)
    assert found.worker_cores == 1.0
    assert found.callback_cores == 0.6
    assert found.database_cores == 0.5
    assert found.broker_cores == 0.4
    assert found.wal_mb == 3.0
    assert found.growth_gb_an_hour == 3.6
    assert found.broker_mb == 2.0
    assert found.commits_at_most == 500
    assert (found.published, found.delivered, found.replicated) == (2000, 3000, 9000)


def test_processes_follow_from_the_scarcer() -> None:
    """Workers are as many as CPU or the gateway's slowness asks for, and never too few."""
    assert need(1000, COST, SURE).workers == 1000 * 0.5 / CONCURRENCY
    quick = Assumptions(busy=0.5, gateway_s=0.01, fewest=2)
    assert need(10_000, COST, quick).workers == 10_000 * 1000 / 1e6 / 0.5
    assert need(1, COST, SURE).workers == need(1, COST, SURE).callback_servers == 2
    found = need(1000, COST, SURE)
    assert found.connections_at_most == (found.workers + found.callback_servers) * CONNECTIONS


def test_what_saturates_first_stands_first() -> None:
    """Ceilings are sorted; a queue carries what one core of RabbitMQ carries, at least."""
    found = ceilings(COST, SURE)
    rates = [one.rate for one in found]
    assert rates == sorted(rates)
    by_name = {one.what.split(" (")[0]: one for one in found if one.alone}
    assert by_name["the command queue of one account"].rate == 2500
    assert by_name["one PostgreSQL on 8 cores, 50% used"].rate == 8000
    assert sum(not one.alone for one in found) == 3


def test_the_page_says_what_was_measured() -> None:
    """The section stands as the kept measurement has it: python -m ops.bench.scaling --page."""
    kept = json.loads(MEASURED.read_text(encoding="utf-8"))
    stands = (ROOT / PAGE).read_text(encoding="utf-8")
    assert stands == filled(PAGE, {"scaling": section(kept)})


def test_the_page_warns_of_a_busy_machine() -> None:
    """Where others used a tenth of the cores or more, the figures are called a direction."""
    kept = json.loads(MEASURED.read_text(encoding="utf-8"))
    cores = kept["machine"]["cores"]
    assert "Others kept" in section({**kept, "others_cores": 0.2 * cores})
    assert "Others kept" not in section({**kept, "others_cores": 0.05 * cores})


def test_rabbitmq_is_counted_on_all_its_sides() -> None:
    """Commands that come in and events that go out cost RabbitMQ, too."""
    kept = json.loads(MEASURED.read_text(encoding="utf-8"))
    ways = kept["broker_per_payout"].values()
    found = cost_of(kept)
    assert found.cpu_us["RabbitMQ"] == kept["cpu_us_per_payout"]["RabbitMQ"] + sum(
        way["cpu_us"] for way in ways
    )
    assert found.broker_bytes > kept["per_payout"]["broker_bytes"]


def test_cpu_can_come_from_the_benchmark() -> None:
    """Its medians take the place of the run's own; the rest stays, and the page tells."""
    kept = json.loads(MEASURED.read_text(encoding="utf-8"))
    medians = {role: {"median": 11.4, "low": 1.0, "high": 99.0} for role in ROLES}
    document = {"stacks": {"ours": {"cpu_us_per_payout": medians}}}

    found = with_bench(kept, document)

    assert found["cpu_us_per_payout"] == dict.fromkeys(ROLES, 11)
    assert found["per_payout"] == kept["per_payout"]
    assert "CPU times are those of `payouts bench`" in section(found)
