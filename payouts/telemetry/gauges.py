"""What is measured now and again rather than when something happens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class Gauge(StrEnum):
    """A figure that a process sets; its name in the metrics."""

    IN_FLIGHT = "payouts_requests_in_flight"
    IN_HAND = "payouts_commands_in_hand"
    OPEN = "payouts_open"
    OPEN_MINOR = "payouts_open_minor_units"
    OLDEST_DOUBT_S = "payouts_oldest_in_doubt_seconds"
    UNPUBLISHED = "payouts_events_unpublished"
    INCIDENTS = "payouts_incidents_open"
    PAUSED = "payouts_account_paused"
    CIRCUIT_OPEN = "payouts_circuit_open"
    PACE = "payouts_pace_per_second"
    BALANCE_MINOR = "payouts_account_balance_minor_units"
    CONNECTED = "payouts_connected"


@dataclass(frozen=True, slots=True)
class GaugeFacts:
    """What a gauge means, and its labels."""

    meaning: str
    labels: tuple[str, ...] = ()


GAUGES: Final[Mapping[Gauge, GaugeFacts]] = MappingProxyType(
    {
        Gauge.IN_FLIGHT: GaugeFacts("Requests to the gateway under way in this process."),
        Gauge.IN_HAND: GaugeFacts("Deliveries with their handlers in this process.", ("account",)),
        Gauge.OPEN: GaugeFacts("Payouts not ended, by state.", ("account", "state")),
        Gauge.OPEN_MINOR: GaugeFacts("The money of payouts not ended.", ("account", "state")),
        Gauge.OLDEST_DOUBT_S: GaugeFacts("How long the oldest doubt lasts.", ("account",)),
        Gauge.UNPUBLISHED: GaugeFacts("Events that are durable but not published."),
        Gauge.INCIDENTS: GaugeFacts("Incidents that nobody has closed.", ("kind",)),
        Gauge.PAUSED: GaugeFacts("1 while an account is paused.", ("account",)),
        Gauge.CIRCUIT_OPEN: GaugeFacts("1 while an account's circuit is open.", ("account",)),
        Gauge.PACE: GaugeFacts(
            "Requests per second that throttling has left an account.", ("account",)
        ),
        Gauge.BALANCE_MINOR: GaugeFacts("The paying account's last known balance.", ("account",)),
        Gauge.CONNECTED: GaugeFacts("1 while `rabbitmq`, `database` is connected.", ("what",)),
    }
)
