"""Whether a pace held is told from the instants at which requests came, second by second."""

from __future__ import annotations

import pytest

from ops.bench.errors import TooShortError
from ops.bench.pace_report import MOVING, Document, Run, broken, documented, markdown
from ops.bench.pacing import Held, busiest, held, most_allowed

EVENLY = [number / 16 for number in range(160)]


def test_the_busiest_second_is_found_wherever_it_begins() -> None:
    """Proved by counting clock seconds: neither of them holds more than three."""
    assert busiest([0.1, 0.6, 0.9, 1.0, 1.05, 1.7]) == 5


def test_a_second_ends_before_its_end() -> None:
    """What comes exactly a second later is in the next one."""
    assert busiest(EVENLY) == 16
    assert busiest([]) == 0


@pytest.mark.parametrize(("limit", "most"), [(20, 20), (50, 51), (100, 102), (500, 510)])
def test_two_percent_more_are_allowed_in_whole_requests(limit: int, most: int) -> None:
    """2 % of 20 is no request."""
    assert most_allowed(limit) == most


def test_an_even_pace_is_kept_and_used() -> None:
    """16 a second at a limit of 16."""
    found = held(EVENLY, 16, until=10.0)

    assert (found.kept, found.enough) == (True, True)
    assert found.requests == 160
    assert found.used == pytest.approx(1.0, abs=0.01)


def test_a_burst_breaks_it() -> None:
    """Two requests that came together with others are two too many."""
    found = held([*EVENLY, 5.01, 5.02], 16, until=10.0)

    assert (found.busiest, found.kept) == (18, False)


def test_a_lull_in_the_middle_leaves_the_limit_unused_but_not_one_at_the_ends() -> None:
    """Only what lies between 15 % and 90 % of the run's time counts."""
    middle = [at for at in EVENLY if not 4 <= at < 5]
    ends = [at for at in EVENLY if not (0.5 <= at < 1.5 or at > 9)]

    assert not held(middle, 16, until=10.0).enough
    assert held(ends, 16, until=10.0).enough


def test_what_comes_after_the_run_does_not_count() -> None:
    """Workers go on until they are stopped."""
    assert held(EVENLY, 16, until=5.0).requests == 81


def test_a_run_without_one_whole_second_says_so() -> None:
    """There is nothing to be told."""
    with pytest.raises(TooShortError):
        held([1.0, 1.5], 20, until=1.9)
    with pytest.raises(TooShortError):
        held([], 20, until=100.0)


def document(*, busiest: int, used: float, foreign: float) -> Document:
    """Make the figures of two runs; the second is as told."""
    good = Run(
        limit=100,
        workers=1,
        held=Held(requests=1000, busiest=101, allowed=102, used=0.985),
        foreign=0.0,
        slowest_look_ms=7.0,
        look_p99_ms=2.0,
    )
    other = Run(
        limit=20,
        workers=MOVING,
        held=Held(requests=200, busiest=busiest, allowed=20, used=used),
        foreign=foreign,
        slowest_look_ms=80.0,
        look_p99_ms=20.0,
    )
    return documented([good, other], seconds=12)


def test_a_second_that_holds_too_much_is_told_by_name() -> None:
    """And it stands out in the table."""
    found = document(busiest=22, used=0.98, foreign=0.0)

    assert broken(found) == ["20/s, workers coming and going: 22 requests in a second, 20 allowed."]
    assert "| 20 | coming and going | **22** | 20 | 98.0% |" in markdown(found)
    assert "| 100 | 1 | 101 | 102 | 98.5% |" in markdown(found)
    assert "not quiet" not in markdown(found)


def test_a_limit_that_is_not_used_is_told_but_breaks_nothing() -> None:
    """Others may have kept the machine busy, which is told as well."""
    found = document(busiest=20, used=0.9, foreign=1.2)

    assert broken(found) == []
    assert "**90.0%**" in markdown(found)
    assert "The machine was not quiet: others used up to 1.2 cores" in markdown(found)
