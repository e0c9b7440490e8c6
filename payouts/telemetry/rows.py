"""Which metrics are made of which signals: the table behind the metrics and their page.

Labels are fields of the signal with few values; ids never are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from payouts.domain.signals import Signal
from payouts.telemetry.gauges import Gauge


class Kind(StrEnum):
    """What a signal does to a metric."""

    COUNTER = "counter"  # Adds one, or the field's value.
    HISTOGRAM = "histogram"  # Observes the field's value.
    GAUGE = "gauge"  # Sets the constant or the field's value.


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One metric that one signal moves.

    Args:
        signal: what moves it.
        kind: how.
        name: as scraped; counters gain `_total`.
        meaning: its help text.
        labels: fields of the signal.
        value: the field that is added, observed or set; without it, 1 is added.
        constant: what a gauge is set to without a field.
    """

    signal: Signal
    kind: Kind
    name: str
    meaning: str
    labels: tuple[str, ...] = ()
    value: str | None = None
    constant: float = 1.0


FAST_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
SLOW_S: Final = (0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0, 86400.0)
BUCKETS: Final[Mapping[str, tuple[float, ...]]] = MappingProxyType(
    {
        "payouts_gateway_seconds": FAST_S,
        "payouts_command_to_request_seconds": FAST_S,
        "payouts_result_to_event_seconds": FAST_S,
        "payouts_payout_seconds": SLOW_S,
        "payouts_store_away_seconds": SLOW_S,
        "payouts_circuit_open_seconds": SLOW_S,
    }
)


def _count(signal: Signal, name: str, meaning: str, *labels: str, value: str | None = None) -> Row:
    return Row(
        signal=signal, kind=Kind.COUNTER, name=name, meaning=meaning, labels=labels, value=value
    )


def _time(signal: Signal, name: str, meaning: str, *labels: str, value: str = "seconds") -> Row:
    return Row(
        signal=signal, kind=Kind.HISTOGRAM, name=name, meaning=meaning, labels=labels, value=value
    )


def _set(signal: Signal, gauge: Gauge, *, value: str | None = None, constant: float = 1.0) -> Row:
    return Row(
        signal=signal,
        kind=Kind.GAUGE,
        name=gauge.value,
        meaning="",
        labels=("account",),
        value=value,
        constant=constant,
    )


S: Final = Signal
ROWS: Final[tuple[Row, ...]] = (
    _count(S.PROCESS_STARTED, "payouts_process_starts", "This process became ready.", "process"),
    _count(S.PROCESS_DRAINING, "payouts_process_drains", "This process drains.", "process"),
    _count(S.PROCESS_STOPPED, "payouts_process_stops", "This process ended.", "process"),
    _count(
        S.COMMAND_RECEIVED, "payouts_commands_received", "New, durable payouts.", "account", "state"
    ),
    _count(
        S.COMMAND_REPEATED,
        "payouts_commands_repeated",
        "Commands that came again.",
        "account",
        "ended",
    ),
    _count(
        S.COMMAND_HELD, "payouts_commands_held", "New payouts that wait or are held.", "account"
    ),
    _count(S.COMMAND_SUSPECTED, "payouts_commands_suspected", "Commands tried alone.", "account"),
    _count(
        S.COMMAND_DEAD_LETTERED,
        "payouts_dead_letters",
        "Commands that were put aside.",
        "account",
        "reason",
    ),
    _count(S.COMMAND_FAILED, "payouts_command_failures", "Handlers that failed.", "error"),
    _count(
        S.PAYOUT_SUBMITTED,
        "payouts_requests",
        "Requests to the gateway, by answer.",
        "account",
        "answer",
        "code",
    ),
    _time(
        S.PAYOUT_SUBMITTED,
        "payouts_gateway_seconds",
        "From a request to its answer.",
        "account",
        "answer",
    ),
    _time(
        S.PAYOUT_SUBMITTED,
        "payouts_command_to_request_seconds",
        "From a command to its first request.",
        "account",
        value="waited",
    ),
    _count(
        S.PAYOUT_MOVED,
        "payouts_moves",
        "Transitions, by state entered.",
        "account",
        "state",
        "kind",
    ),
    _count(S.PAYOUT_ENDED, "payouts_ended", "Payouts that have ended.", "account", "state", "code"),
    _time(
        S.PAYOUT_ENDED, "payouts_payout_seconds", "From a command to its end.", "account", "state"
    ),
    _count(
        S.PAYOUT_QUERIED, "payouts_queries", "Questions about payouts.", "account", "by", "found"
    ),
    _count(S.PAYOUT_STUCK, "payouts_stuck", "Payouts left to a person.", "account"),
    _count(S.PAYOUT_HELD, "payouts_held", "Submissions stopped by a contradiction.", "account"),
    _count(S.RESULT_RECEIVED, "payouts_results", "Results that were applied.", "code"),
    _count(S.RESULT_REPEATED, "payouts_results_repeated", "Results that came again.", "code"),
    _count(S.RESULT_REFUSED, "payouts_results_refused", "Unreadable callbacks.", "kind", "status"),
    _count(S.INCIDENT_RECORDED, "payouts_incidents", "Incidents.", "kind"),
    _count(S.EVENT_PUBLISHED, "payouts_events_published", "Events taken by a queue.", "type"),
    _time(
        S.EVENT_PUBLISHED,
        "payouts_result_to_event_seconds",
        "From what an event tells to its confirm.",
        "type",
    ),
    _count(S.EVENT_UNROUTABLE, "payouts_events_unroutable", "Events that no queue took.", "type"),
    _count(S.EVENT_POSTPONED, "payouts_events_postponed", "Events kept as RabbitMQ was away."),
    _count(S.ACCOUNT_PAUSED, "payouts_account_pauses", "Pauses of accounts.", "account"),
    _set(S.ACCOUNT_PAUSED, Gauge.PAUSED),
    _count(S.ACCOUNT_RESUMED, "payouts_account_resumes", "Ends of pauses.", "account"),
    _set(S.ACCOUNT_RESUMED, Gauge.PAUSED, constant=0.0),
    _count(S.CIRCUIT_OPENED, "payouts_circuit_openings", "Circuits that opened.", "account"),
    _set(S.CIRCUIT_OPENED, Gauge.CIRCUIT_OPEN),
    _time(
        S.CIRCUIT_CLOSED, "payouts_circuit_open_seconds", "How long circuits were open.", "account"
    ),
    _set(S.CIRCUIT_CLOSED, Gauge.CIRCUIT_OPEN, constant=0.0),
    _count(S.PACE_LOWERED, "payouts_pace_lowerings", "Times the gateway throttled.", "account"),
    _count(S.STORE_AWAY, "payouts_store_away", "Writes that found no database.", "doing"),
    _time(S.STORE_BACK, "payouts_store_away_seconds", "How long writes had to wait.", "doing"),
    _count(S.LEASE_LOST, "payouts_leases_lost", "Times this worker was declared dead."),
    _count(S.SWEEP_DONE, "payouts_swept", "Rows that sweeps moved.", "sweep", value="count"),
    _count(S.SWEEP_FAILED, "payouts_sweep_failures", "Sweeps that failed.", "sweep"),
    _count(S.CALLBACK_DENIED, "payouts_callbacks_denied", "Callers outside the allow-list."),
    _count(
        S.CALLBACK_DROPPED,
        "payouts_callback_connections_dropped",
        "Connections ended as too slow, or for want of room.",
        "reason",
    ),
)
