"""A run in figures: by state and reason, how fast, and when it ends."""

from datetime import UTC, datetime, timedelta

from ops.cli.totals import number_in, pace_lines, run_record, seconds_left
from payouts.domain.payout import OPEN, State
from payouts.domain.values import RunId
from payouts.storage.totals import ReasonTotal, RunSummary, StateTotal

NOW = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)
BEGAN = NOW - timedelta(seconds=100)


def summary(*, still: int, ended_per_s: float) -> RunSummary:
    """Gives a run of 100 succeeded and some open payouts."""
    states = [StateTotal(state=State.SUCCEEDED, currency="KES", count=100, amount_minor=5000)]
    if still:
        states.insert(
            0, StateTotal(state=State.ACCEPTED, currency="KES", count=still, amount_minor=700)
        )
    reason = ReasonTotal(
        state=State.SUCCEEDED,
        currency="KES",
        klass="completed",
        code="0",
        count=100,
        amount_minor=5000,
    )
    return RunSummary(
        run_id=RunId("r"),
        states=tuple(states),
        reasons=(reason,),
        first_created_at=BEGAN,
        last_created_at=BEGAN,
        last_completed_at=NOW - timedelta(seconds=50),
        ended_per_s=ended_per_s,
    )


def test_the_end_is_estimated_from_the_rate() -> None:
    """Open payouts over ended ones per second."""
    run = summary(still=20, ended_per_s=2.0)
    assert number_in(run.states, OPEN) == 20
    assert seconds_left(run) == 10
    assert "20 open; 2.0 payouts/s over the last minute" in pace_lines(run, NOW)[1]
    assert run_record(run, NOW)["estimated_end"] == "2026-11-30T12:00:10.000Z"


def test_a_run_that_stands_still_promises_nothing() -> None:
    """A guess from nothing would be worse than none."""
    run = summary(still=20, ended_per_s=0.0)
    assert seconds_left(run) is None
    assert "no end can be foretold" in pace_lines(run, NOW)[1]
    assert run_record(run, NOW)["estimated_end"] is None


def test_a_run_that_is_over_tells_how_long_it_took() -> None:
    """Its rate is over its whole life."""
    run = summary(still=0, ended_per_s=0.0)
    assert "after 50 s: 2.0 payouts/s" in pace_lines(run, NOW)[0]
    told = run_record(run, NOW)
    assert (told["total"], told["open"]) == (100, 0)
    assert told["states"] == [
        {"state": "succeeded", "currency": "KES", "count": 100, "sum": "50.00"}
    ]
