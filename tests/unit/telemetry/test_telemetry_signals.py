import io
import json
from collections.abc import Mapping

import pytest

from payouts.domain.signals import SIGNALS, Level, Signal
from payouts.telemetry import Fanout, Gauge, SignalLog, SignalMetrics, open_log
from payouts.telemetry.gauges import GAUGES
from payouts.telemetry.metrics import MAX_SERIES
from payouts.telemetry.rows import BUCKETS, ROWS, Kind

# Latencies that whoever emits may add to the documented fields.
NOT_YET_TOLD: set[tuple[str, str]] = set()


def fields_of(signal: Signal) -> dict[str, object]:
    """Return a value for each documented field of a signal."""
    numbers = {"seconds", "count", "pace", "attempt", "size", "in_flight", "failures"}
    return {name: 3 if name in numbers else f"a-{name}" for name in SIGNALS[signal].fields}


def lines_of(stream: io.StringIO) -> list[dict[str, object]]:
    """Return the log's lines."""
    return [json.loads(line) for line in stream.getvalue().splitlines()]


@pytest.mark.parametrize("signal", list(Signal))
def test_every_signal_has_a_log_line_with_its_fields(signal: Signal) -> None:
    """Name, level and all documented fields are in the line, and nothing of a person."""
    stream = io.StringIO()
    log = open_log(stream, form="json", level="debug", process="worker")
    fields = fields_of(signal)
    Fanout([SignalLog(log, level="debug")]).emit(signal, **fields)
    (line,) = lines_of(stream)
    assert line.pop("at")
    assert line == {
        "event": signal.value,
        "level": SIGNALS[signal].level.value,
        "process": "worker",
        **fields,
    }


@pytest.mark.parametrize("signal", list(Signal))
def test_every_signal_moves_a_metric(signal: Signal) -> None:
    """Whatever can happen can be alerted on."""
    metrics = SignalMetrics()
    before = metrics.exposition()
    Fanout([metrics]).emit(signal, **fields_of(signal))
    assert metrics.exposition() != before


def test_metrics_use_documented_fields_only() -> None:
    """Labels and values are fields of their signal, and no label is an id."""
    for row in ROWS:
        known = set(SIGNALS[row.signal].fields)
        wanted = set(row.labels) | ({row.value} if row.value else set())
        open_ends = {name for name in wanted - known if (row.signal, name) not in NOT_YET_TOLD}
        assert not open_ends, row
        assert not [label for label in row.labels if label.endswith("_id")]
        assert row.kind is not Kind.HISTOGRAM or row.name in BUCKETS


def test_a_signal_counts_by_its_labels() -> None:
    """Two accounts are two series; a duration lands in its histogram."""
    metrics = SignalMetrics()
    fanout = Fanout([metrics])
    for account in ("salaries", "salaries", "promotions"):
        fanout.emit(
            Signal.PAYOUT_SUBMITTED, account=account, answer="response", code="0", seconds=0.02
        )
    value = metrics.collectors.get_sample_value
    labels = {"account": "salaries", "answer": "response", "code": "0"}
    assert value("payouts_requests_total", labels) == 2
    timed = {"account": "salaries", "answer": "response"}
    assert value("payouts_gateway_seconds_count", timed) == 2
    assert value("payouts_gateway_seconds_bucket", {**timed, "le": "0.025"}) == 2
    fanout.emit(Signal.SWEEP_DONE, sweep="due", count=40)
    assert value("payouts_swept_total", {"sweep": "due"}) == 40


def test_a_pause_is_seen_as_long_as_it_lasts() -> None:
    """The gauge follows pausing and resuming."""
    metrics = SignalMetrics()
    fanout = Fanout([metrics])
    fanout.emit(Signal.ACCOUNT_PAUSED, account="default", reason="refused")
    assert (
        metrics.collectors.get_sample_value("payouts_account_paused", {"account": "default"}) == 1
    )
    fanout.emit(Signal.ACCOUNT_RESUMED, account="default")
    assert (
        metrics.collectors.get_sample_value("payouts_account_paused", {"account": "default"}) == 0
    )


def test_gauges_are_set_and_replaced() -> None:
    """A state that no payout is in any more disappears."""
    metrics = SignalMetrics()
    metrics.gauge(Gauge.IN_FLIGHT, 7)
    metrics.gauge(Gauge.CONNECTED, 1, what="rabbitmq")
    metrics.replace(Gauge.OPEN, {("default", "waiting"): 3, ("default", "in_doubt"): 1})
    metrics.replace(Gauge.OPEN, {("default", "waiting"): 2})
    value = metrics.collectors.get_sample_value
    assert value("payouts_requests_in_flight", {}) == 7
    assert value("payouts_connected", {"what": "rabbitmq"}) == 1
    assert value("payouts_open", {"account": "default", "state": "waiting"}) == 2
    assert value("payouts_open", {"account": "default", "state": "in_doubt"}) is None


def test_every_gauge_is_documented() -> None:
    """The page's table has all of them."""
    assert set(GAUGES) == set(Gauge)


def test_the_number_of_series_is_bounded() -> None:
    """A gateway that invents codes cannot fill the memory; the sum stays right.

    Proved by taking the bound out.
    """
    metrics = SignalMetrics()
    fanout = Fanout([metrics])
    total = MAX_SERIES + 300
    for number in range(total):
        fanout.emit(Signal.RESULT_RECEIVED, payout_id="p", code=f"code-{number}")
    counts = [
        sample.value
        for family in metrics.collectors.collect()
        for sample in family.samples
        if sample.name == "payouts_results_total"
    ]
    assert len(counts) == MAX_SERIES + 1
    assert sum(counts) == total


@pytest.mark.parametrize("value", ["254712345678", "x" * 100, "a\nb", "+14155550123", "naïve"])
def test_an_odd_label_becomes_other(value: str) -> None:
    """Neither a person's number nor a text of the gateway's becomes a label."""
    metrics = SignalMetrics()
    Fanout([metrics]).emit(Signal.RESULT_RECEIVED, payout_id="p", code=value)
    assert metrics.collectors.get_sample_value("payouts_results_total", {"code": "other"}) == 1


def test_a_field_that_is_not_documented_is_left_out() -> None:
    """The line says that something was left out, by name."""
    stream = io.StringIO()
    log = open_log(stream, form="json", level="debug")
    Fanout([SignalLog(log, level="debug")]).emit(
        Signal.PAYOUT_STUCK, payout_id="p", account="default", remark="for Jane"
    )
    (line,) = lines_of(stream)
    assert line["undocumented"] == ["remark"]
    assert "Jane" not in stream.getvalue()


def test_what_is_too_quiet_is_not_even_offered() -> None:
    """Below the level nothing is formatted, nothing is called."""
    stream = io.StringIO()
    quiet = SignalLog(open_log(stream, form="json", level="error"), level="error")
    assert {signal for signal in Signal if quiet.wants(signal)} == {
        signal for signal, facts in SIGNALS.items() if facts.level is Level.ERROR
    }
    Fanout([quiet]).emit(Signal.PAYOUT_MOVED, payout_id="p")
    assert stream.getvalue() == ""


class Broken:
    """A subscriber that fails."""

    def wants(self, signal: Signal) -> bool:
        """Want everything."""
        return signal is not None

    def receive(self, signal: Signal, fields: Mapping[str, object]) -> None:
        """Fail."""
        raise ValueError(signal, fields)


def test_a_subscriber_that_fails_stops_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """Emitting never raises; the others hear, the failure is counted and told without content."""
    metrics = SignalMetrics()
    fanout = Fanout([Broken(), metrics])
    for _ in range(50):
        fanout.emit(Signal.PAYOUT_STUCK, payout_id="p-secret", account="default")
    assert fanout.failures == 50
    assert metrics.collectors.get_sample_value("payouts_stuck_total", {"account": "default"}) == 50
    assert len(caplog.records) == 10
    assert "p-secret" not in caplog.text
