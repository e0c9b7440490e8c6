"""An account without a limit slows down for many throttles, not for one."""

from __future__ import annotations

from payouts.storage.throttles import Meter, Observed


def test_a_meter_counts_this_second_and_the_one_before() -> None:
    """What is older is forgotten, also over a gap."""
    meter = Meter()
    for at in (10.0, 10.2, 10.4, 11.1):
        meter.note(at)

    assert (meter.rate(11.5), meter.recent(11.5)) == (3, 4)
    assert (meter.rate(12.0), meter.recent(12.0)) == (1, 1)
    assert (meter.rate(20.0), meter.recent(20.0)) == (0, 0)


def test_one_refusal_of_many_is_no_throttling() -> None:
    """A tenth of all requests is; proved by taking every refusal for a reason."""
    observed = Observed()
    for number in range(100):
        observed.sent(10 + number / 200)

    told = [observed.throttled(10.5) for _ in range(10)]

    assert told == [False] * 9 + [True]


def test_the_rate_is_what_was_sent_in_a_second() -> None:
    """It is what the gateway throttled."""
    observed = Observed()
    for number in range(60):
        observed.sent(10 + number / 60)

    assert observed.rate(10.99) == 60
