"""Logs, metrics, health: subscribers of the one list of signals (`payouts.domain.signals`)."""

from payouts.telemetry.admin import AdminServer
from payouts.telemetry.fanout import Fanout, Subscriber
from payouts.telemetry.gauges import Gauge
from payouts.telemetry.logs import SignalLog, capture_stdlib, open_log
from payouts.telemetry.metrics import SignalMetrics
from payouts.telemetry.opening import open_telemetry

__all__ = [
    "AdminServer",
    "Fanout",
    "Gauge",
    "SignalLog",
    "SignalMetrics",
    "Subscriber",
    "capture_stdlib",
    "open_log",
    "open_telemetry",
]
