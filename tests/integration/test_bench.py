"""One small real run of the benchmark: figures from real processes, and nothing left behind."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ops.bench.measures import OWN_ROLES, ROLES
from ops.bench.run import SERVERS
from ops.bench.stacks import PEER_PYTHON
from ops.demo.children import ROOT
from ops.local import processes
from ops.local.places import default_root

pytestmark = [pytest.mark.servers, pytest.mark.timeout(300)]


def bench(*arguments: str) -> subprocess.Popen[str]:
    """Starts the benchmark as a person would."""
    return subprocess.Popen(  # noqa: S603 - our own program
        [sys.executable, "-m", "ops.cli", "bench", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def left_behind() -> list[Path]:
    """Gives the folders of a benchmark's servers that are in nobody's hands any more."""
    folders = default_root().glob(f"{SERVERS}*/")
    return [one for one in folders if not processes.belonging_to(one)]


def test_a_small_run_measures_two_stacks(tmp_path: Path) -> None:
    """Throughput, CPU by process, memory and latency of both; both paid everybody once."""
    with bench(
        *("--stacks", "bare,ours", "--payouts", "400", "--rounds", "1", "--json"),
        *("--output", str(tmp_path)),
    ) as process:
        out, err = process.communicate()
    assert process.returncode == 0, err
    told = json.loads(out)
    assert told == json.loads((tmp_path / "bench.json").read_text(encoding="utf-8"))
    for stack in ("bare", "ours"):
        found = told["stacks"][stack]
        cpu = {role: found["cpu_us_per_payout"][role]["median"] for role in ROLES}
        assert found["payouts"] == 400
        assert found["payouts_per_s"]["median"] > 1
        assert all(found["peak_mib"][role]["median"] > 20 for role in OWN_ROLES)
        assert min(cpu[role] for role in (*OWN_ROLES, "RabbitMQ", "simulator")) > 0
        assert found["half_load"]["request_p99_ms"]["median"] > 0
        assert found["half_load"]["event_p50_ms"]["median"] > 0
        assert found["repeated_events"] == 0
    assert told["stacks"]["ours"]["cpu_us_per_payout"]["PostgreSQL"]["median"] > 0
    table = (tmp_path / "bench.md").read_text(encoding="utf-8")
    assert "| payouts in a round | 400 | 400 |" in table
    assert (tmp_path / "bench.svg").exists() is PEER_PYTHON.exists()
    assert left_behind() == []


def test_an_interrupted_run_leaves_nothing_behind(tmp_path: Path) -> None:
    """SIGTERM amid a round ends the stack, the simulator and both servers; no figures are told."""
    with bench("--stacks", "bare", "--payouts", "3000", "--output", str(tmp_path)) as process:
        assert process.stderr is not None
        said = process.stderr.readline()
        assert said.startswith("bare: about")
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate()
    assert process.returncode == 128 + signal.SIGINT, err
    assert "Interrupted." in err
    assert list(tmp_path.iterdir()) == []
    assert left_behind() == []


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--stacks", "bare,other"], "--stacks must be of bare, ours, faststream, celery"),
        (["--stacks", ","], "--stacks must be of"),
        (["--payouts", "0"], "payouts"),
    ],
)
def test_wrong_usage_exits_2_before_anything_starts(arguments: list[str], problem: str) -> None:
    """And names what is wrong."""
    with bench(*arguments) as process:
        _, err = process.communicate()
    assert process.returncode == 2
    assert problem in err
