"""One small real run of `payouts bench pace`: real workers, counted at the gateway."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ops.bench.pace import COMING_AND_GOING_TIMES, SERVERS
from ops.demo.children import ROOT
from ops.local import processes
from ops.local.places import default_root

pytestmark = [pytest.mark.servers, pytest.mark.timeout(300)]

LIMIT = 40
SECONDS = 3


def test_workers_are_counted_at_the_gateway(tmp_path: Path) -> None:
    """Two workers, then such as come and go; the exit status says whether the limit held.

    Proved by starting the workers without a limit.
    """
    done = subprocess.run(  # noqa: S603 - our own program
        [
            *(sys.executable, "-m", "ops.cli", "bench", "pace", "--workers", "2"),
            *("--limits", str(LIMIT), "--seconds", str(SECONDS)),
            *("--json", "--output", str(tmp_path)),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    told = json.loads(done.stdout)
    assert told == json.loads((tmp_path / "pace.json").read_text(encoding="utf-8"))
    assert done.returncode == (0 if all(one["kept"] for one in told["runs"]) else 1), done.stderr
    assert [one["workers"] for one in told["runs"]] == [2, "coming and going"]
    for run, seconds in zip(told["runs"], (SECONDS, SECONDS * COMING_AND_GOING_TIMES), strict=True):
        # How much comes in one second is judged by who runs it for that, on a quiet machine.
        assert LIMIT < run["requests"] <= 1.1 * LIMIT * (seconds + 2)
        assert run["busiest"] <= 1.5 * LIMIT
        assert 0.2 < run["used"] <= 1.1
        assert run["slowest_look_ms"] > 0
    assert "| 40 | coming and going |" in (tmp_path / "pace.md").read_text(encoding="utf-8")
    folders = default_root().glob(f"{SERVERS}*/")
    assert [one for one in folders if not processes.belonging_to(one)] == []


@pytest.mark.parametrize(
    "asked", [("--workers", "0"), ("--workers", "17"), ("--limits", "2.5"), ("--limits", ",")]
)
def test_numbers_that_make_no_sense_are_wrong_usage(asked: tuple[str, str]) -> None:
    """Nothing is started."""
    done = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-m", "ops.cli", "bench", "pace", *asked],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert asked[0] in done.stderr
