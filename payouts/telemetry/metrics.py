"""Prometheus metrics of signals and gauges, on a registry of their own."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Final

import prometheus_client as prometheus
from prometheus_client import CollectorRegistry
from prometheus_client.metrics import MetricWrapperBase

from payouts.domain.signals import Signal
from payouts.telemetry.gauges import GAUGES, Gauge
from payouts.telemetry.masking import mask_text
from payouts.telemetry.rows import BUCKETS, ROWS, Kind, Row

MAX_SERIES: Final = 500  # Per metric; beyond, labels become `other`.
OTHER: Final = "other"
_LABEL: Final = re.compile(r"[\w.:/ -]{0,60}", re.ASCII)

Move = Callable[[float], None]


class SignalMetrics:
    """Counts and times signals; sets gauges. The number of time series is bounded.

    A label's value that is long, odd or looks like a person's number becomes `other`, and so
    does every new combination once a metric has its full number of series.
    """

    def __init__(self, collectors: CollectorRegistry | None = None) -> None:
        self.collectors = collectors or CollectorRegistry(auto_describe=True)
        self._gauges = {gauge: _gauge(gauge, self.collectors) for gauge in Gauge}
        made: dict[str, MetricWrapperBase] = {
            gauge.value: metric for gauge, metric in self._gauges.items()
        }
        self._series: dict[Signal, list[_Series]] = {signal: [] for signal in Signal}
        for row in ROWS:
            if row.name not in made:
                made[row.name] = _metric(row, self.collectors)
            self._series[row.signal].append(_Series(row, made[row.name]))

    def wants(self, signal: Signal) -> bool:
        """Tell whether any metric is made of this signal."""
        return bool(self._series[signal])

    def receive(self, signal: Signal, fields: Mapping[str, object]) -> None:
        """Move the signal's metrics."""
        for series in self._series[signal]:
            series.move(fields)

    def gauge(self, gauge: Gauge, value: float, **labels: str) -> None:
        """Set one gauge; `labels` are those that GAUGES names."""
        metric = self._gauges[gauge]
        (metric.labels(**labels) if labels else metric).set(value)

    def replace(self, gauge: Gauge, values: Mapping[tuple[str, ...], float]) -> None:
        """Set all series of a gauge, by their labels' values; those not named disappear."""
        metric = self._gauges[gauge]
        metric.clear()
        for labels, value in values.items():
            metric.labels(*labels).set(value)

    def exposition(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return prometheus.generate_latest(self.collectors)


class _Series:
    """The time series of one row, found by the raw values of its labels."""

    def __init__(self, row: Row, metric: MetricWrapperBase) -> None:
        self._row = row
        self._metric = metric
        self._moves: dict[tuple[object, ...], Move] = {}

    def move(self, fields: Mapping[str, object]) -> None:
        row = self._row
        value: object = row.constant
        if row.value is not None:
            value = fields.get(row.value)
            if not isinstance(value, int | float):
                return
        key = tuple([fields.get(label) for label in row.labels])
        move = self._moves.get(key) or self._find(key)
        move(float(value))  # type: ignore[arg-type]

    def _find(self, key: tuple[object, ...]) -> Move:
        full = len(self._moves) >= MAX_SERIES
        values = [OTHER if full else _bounded(value) for value in key]
        child = self._metric.labels(*values) if values else self._metric
        move = _move_of(child)
        if not full:
            self._moves[key] = move
        return move


def _bounded(value: object) -> str:
    text = "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    if _LABEL.fullmatch(text) is None or mask_text(text) != text:
        return OTHER
    return text


def _move_of(child: MetricWrapperBase) -> Move:
    if isinstance(child, prometheus.Counter):
        return child.inc
    if isinstance(child, prometheus.Histogram):
        return child.observe
    if isinstance(child, prometheus.Gauge):
        return child.set
    raise TypeError("This kind of metric is not known.")


def _metric(row: Row, collectors: CollectorRegistry) -> MetricWrapperBase:
    labels: Iterable[str] = row.labels
    match row.kind:
        case Kind.COUNTER:
            return prometheus.Counter(row.name, row.meaning, labels, registry=collectors)
        case Kind.HISTOGRAM:
            return prometheus.Histogram(
                row.name, row.meaning, labels, registry=collectors, buckets=BUCKETS[row.name]
            )
        case Kind.GAUGE:
            raise ValueError(f"{row.name} is not among GAUGES")


def _gauge(gauge: Gauge, collectors: CollectorRegistry) -> prometheus.Gauge:
    facts = GAUGES[gauge]
    return prometheus.Gauge(gauge.value, facts.meaning, facts.labels, registry=collectors)
