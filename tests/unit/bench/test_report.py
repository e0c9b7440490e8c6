"""The document and the table say what the rounds showed."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from ops.bench import run
from ops.bench.findings import Drain, Findings, HalfLoad, Options
from ops.bench.measures import ROLES, Latency, Pace
from ops.bench.report import OWN, documented, markdown

ORDERS = ("bare", "ours")


def drain(stack: str, rate: float, worker: float, foreign: float = 0.1) -> Drain:
    """Makes a throughput round."""
    cpu = {**dict.fromkeys(ROLES, 100.0), "worker": worker}
    return Drain(
        stack=stack,
        payouts=1000,
        pace=Pace(rate=rate, cpu_us=cpu, foreign=foreign),
        peak_mib={"worker": 50.0, "callback server": 60.0},
        repeats=1,
    )


def half_load(stack: str, p99: float) -> HalfLoad:
    """Makes a latency round."""
    found = Latency(request_p50_ms=1, request_p99_ms=p99, event_p50_ms=2, event_p99_ms=3)
    return HalfLoad(stack=stack, payouts=500, rate=50, latency=found, foreign=0.1, repeats=0)


def findings(*, half_loads: bool = True) -> Findings:
    """Makes two rounds of two stacks; the second was disturbed, for both alike."""
    options = Options(
        stacks=ORDERS,
        rounds=2,
        payouts=1000,
        seconds=10,
        concurrency=100,
        half_loads=int(half_loads),
        output=Path("nowhere"),
    )
    drains = [
        drain("bare", 1000, 300),
        drain("ours", 800, 400),
        drain("bare", 500, 500),
        drain("ours", 420, 800),
    ]
    made = [half_load("bare", 20), half_load("ours", 1234.5)] if half_loads else []
    return Findings(options=options, drains=drains, half_loads=made)


def test_the_document_has_medians_and_ranges_and_survives_json() -> None:
    """Of what a stack consists of, too: worker and callback server together."""
    told = json.loads(json.dumps(documented(findings())))
    bare = told["stacks"]["bare"]
    assert bare["payouts_per_s"] == {"median": 750, "low": 500, "high": 1000}
    assert bare["cpu_us_per_payout"][OWN] == {"median": 500, "low": 400, "high": 600}
    assert bare["cpu_us_per_payout"]["worker"] == {"median": 400, "low": 300, "high": 500}
    assert bare["peak_mib"]["callback server"]["median"] == 60
    assert bare["repeated_events"] == 2
    assert told["stacks"]["ours"]["half_load"]["request_p99_ms"]["median"] == 1234.5
    assert len(told["rounds"]) == 4
    assert len(told["half_load_rounds"]) == 2


def test_ratios_compare_rounds_that_met_the_same_hour() -> None:
    """0.80 and 0.84, not the ratio of the medians; CPU 500/400 and 900/600."""
    ratios = documented(findings())["ratios"]["ours/bare"]
    assert ratios["payouts_per_s"]["low"] == pytest.approx(0.8)
    assert ratios["payouts_per_s"]["high"] == pytest.approx(0.84)
    assert ratios["cpu_us_per_payout"]["low"] == pytest.approx(1.25)
    assert ratios["cpu_us_per_payout"]["high"] == pytest.approx(1.5)


def test_the_table_has_a_column_for_each_stack() -> None:
    """Medians, with the least and the greatest round beside them."""
    lines = markdown(documented(findings())).splitlines()
    assert lines[0] == "|  | bare | ours |"
    assert "| payouts/s | 750 (500 to 1,000) | 610 (420 to 800) |" in lines
    assert "| payouts/s, ours to this | 0.82 (0.80 to 0.84) |  |" in lines
    assert any(line.startswith("| ms command to request, p99 | 20.0") for line in lines)
    assert "| events repeated, same id | 2 | 2 |" in lines
    assert {line.count("|") for line in lines if line.startswith("|")} == {4}


def test_a_machine_that_was_not_quiet_is_told() -> None:
    """One disturbed round is enough, of whichever stack."""
    told = findings()
    assert "not quiet" not in markdown(documented(told))
    disturbed = replace(told, drains=[*told.drains, drain("ours", 1, 1, 0.9), drain("bare", 1, 1)])
    assert "others used up to 0.9 cores" in markdown(documented(disturbed))


def test_what_was_not_measured_is_not_told() -> None:
    """Without half load there are no latencies; without ours there is nothing to relate."""
    told = documented(findings(half_loads=False))
    assert "half_load" not in told["stacks"]["ours"]
    assert "ms command" not in markdown(told)
    told["ratios"] = {}
    assert "ours to this" not in markdown(told)


def test_it_says_why_there_is_no_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the environment that draws, the figures stand all the same."""
    said: list[str] = []
    monkeypatch.setattr(run, "PEER_PYTHON", tmp_path / "python")
    run.draw(tmp_path / "bench.json", said.append)
    assert said == ["No picture: .venv-bench is not there; ops/bench.sh makes it."]
