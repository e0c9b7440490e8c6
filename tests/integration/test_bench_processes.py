"""One small real run of `payouts bench processes`: the workers share a queue and pay each once."""

from __future__ import annotations

from pathlib import Path

import pytest
from bench_bed import told_by

pytestmark = [pytest.mark.servers, pytest.mark.timeout(300)]


def test_rounds_with_one_process_and_with_two(tmp_path: Path) -> None:
    """Two processes have twice the payouts, behind a gateway that makes each request wait."""
    told = told_by(
        "processes",
        *("--processes", "2,1", "--answer-s", "0.2", "--seconds", "2", "--rounds", "1"),
        output=tmp_path,
    )
    one, two = told["runs"]
    assert (one["processes"], two["processes"]) == (1, 2)
    assert one["of_linear"] == 1
    assert two["payouts"] == 2 * one["payouts"]
    # So many slots, each of them taken for as long as the gateway takes, let no more through.
    assert 0 < one["payouts_per_s"] < told["concurrency"] / told["answer_s"]
    assert "| 2 |" in (tmp_path / "processes.md").read_text(encoding="utf-8")
