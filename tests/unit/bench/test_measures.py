"""Figures of a round: what lies between 15 % and 90 % of it, whoever took the samples."""

import pytest

from ops.bench.errors import TooShortError
from ops.bench.measures import (
    Journey,
    Sample,
    best_rate,
    foreign,
    latency,
    moment,
    pace,
    percentile,
    spread,
)


def sample(at_s: float, events: float, *, worker: float = 0, busy: float = 0) -> Sample:
    """Makes a sample of a round with one process."""
    return Sample(at_s=at_s, events=events, cpu_s={"worker": worker}, busy_s=busy)


# A slow start, an even middle of 100/s, a slow end.
ROUND = [
    sample(0.0, 0, worker=0.0, busy=0.0),
    sample(5.0, 100, worker=3.0, busy=6.0),
    sample(15.0, 1100, worker=5.0, busy=10.0),
    sample(25.0, 1120, worker=9.0, busy=30.0),
]


def test_start_and_end_do_not_count() -> None:
    """Neither the slow start nor the slow end changes rate or cost of what lies between."""
    found = pace(ROUND, 1120)
    assert found.rate == pytest.approx(100)
    assert found.cpu_us["worker"] == pytest.approx(2 / 1000 * 1e6)


def test_what_others_used_is_told() -> None:
    """The machine was busy for 4 s of 10 while the round's processes used 2."""
    assert pace(ROUND, 1120).foreign == pytest.approx(0.2)
    assert foreign(ROUND[0], sample(1.0, 1, worker=2.0, busy=1.0)) == 0


def test_an_instant_lies_on_the_line_between_two_samples() -> None:
    """Time and every process's CPU are taken at the same part of the way."""
    found = moment(ROUND, 600)
    assert (found.at_s, found.events) == (10.0, 600)
    assert found.cpu_s["worker"] == pytest.approx(4.0)
    assert found.busy_s == pytest.approx(8.0)


def test_a_pause_belongs_to_neither_side() -> None:
    """Where nothing ended between two samples, an instant lies where the count moved."""
    paused = [sample(0, 0), sample(1, 50), sample(9, 50), sample(10, 100)]
    assert moment(paused, 50).at_s == 1
    assert moment(paused, 75).at_s == 9.5


@pytest.mark.parametrize("samples", [[], [sample(0, 0)], [sample(0, 5), sample(1, 9)]])
def test_a_round_of_which_too_little_was_seen_has_no_figures(samples: list[Sample]) -> None:
    """An error says so; a made-up figure would not."""
    with pytest.raises(TooShortError):
        pace(samples, 10)


def test_a_rough_rate_is_that_of_the_best_second() -> None:
    """However slow it was after its start."""
    samples = [sample(0, 0), sample(8, 0), sample(9, 1), sample(9.5, 90), sample(10.5, 191)]
    assert best_rate(samples) == pytest.approx(190 / 1.5)
    assert best_rate([sample(0, 0), sample(2, 50)]) == pytest.approx(25)
    for too_little in ([], [sample(0, 0), sample(2, 0)], [sample(0, 0), sample(0.9, 50)]):
        with pytest.raises(TooShortError):
            best_rate(too_little)


def test_percentiles_are_values_that_were_seen() -> None:
    """The smallest value that so many do not exceed; one value is all of them."""
    values = [float(one) for one in range(100, 0, -1)]
    assert (percentile(values, 0.5), percentile(values, 0.99)) == (50, 99)
    assert percentile([7.0], 0.99) == 7


def test_a_spread_has_the_median_and_both_ends() -> None:
    """In whatever order the rounds came."""
    found = spread([3.0, 9.0, 4.0])
    assert (found.median, found.low, found.high) == (4, 3, 9)


def test_latencies_leave_the_first_and_the_last_payouts_out() -> None:
    """By the order in which commands were published; both ways are told in milliseconds."""
    journeys = [
        Journey(published_at=at, requested_at=at + wait, told_at=at + 1, heard_at=at + 1 + wait / 2)
        for at in map(float, range(100))
        for wait in [5.0 if at < 15 or at >= 90 else 0.02]
    ]
    found = latency(journeys[::-1])
    assert found.request_p50_ms == pytest.approx(20)
    assert found.request_p99_ms == pytest.approx(20)
    assert found.event_p50_ms == pytest.approx(10)
    assert found.event_p99_ms == pytest.approx(10)
