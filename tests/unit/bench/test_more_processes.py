"""What rounds with more and more worker processes come to."""

from __future__ import annotations

from pathlib import Path

import pytest

from ops.bench.findings import Drain
from ops.bench.measures import Pace
from ops.bench.processes import CONCURRENCY, Options, documented, markdown


def drained(rate: float) -> Drain:
    used = {"worker": 1000.0, "callback server": 500.0}
    pace = Pace(rate=rate, cpu_us=used, foreign=0.0)
    return Drain(stack="ours", payouts=1, pace=pace, peak_mib={}, repeats=0)


def options(*processes: int) -> Options:
    return Options(
        processes=processes, answer_s=0.5, seconds=10.0, rounds=3, output=Path("nowhere")
    )


def test_each_number_is_compared_with_as_many_times_the_least() -> None:
    """The median counts, and the least number need not be one."""
    found = {2: [drained(rate) for rate in (90, 100, 500)], 8: [drained(300)]}
    document = documented(options(2, 8), found)
    assert [one["of_linear"] for one in document["runs"]] == [1.0, 0.75]
    assert document["runs"][1]["cores_used"] == pytest.approx(0.45)
    assert "| 8 | 300 | 75% | 1,000 | 0.45 |" in markdown(document)


def test_a_round_has_as_many_payouts_as_its_processes_pay_in_its_time() -> None:
    """Each has so many slots, taken for a little longer than the gateway takes."""
    asked = options(1, 4)
    assert asked.payouts(4) == pytest.approx(4 * asked.payouts(1), abs=4)
    assert 0.8 < asked.payouts(1) / (CONCURRENCY / asked.answer_s * asked.seconds) < 1
