"""What the services need from the outside world, named by verbs of the domain.

Adapters (`storage`, `mpesa`, `messaging`, `telemetry`) fulfil these; so do the twins of tests.
Every method may be called concurrently; adapters gather calls into batches (design.md §4).
"""

from payouts.ports.orders import (
    Action,
    AuditCheck,
    AuditEntry,
    Carried,
    Order,
    Orders,
)
from payouts.ports.records import (
    AccountStatus,
    Completion,
    CompletionOutcome,
    Exposure,
    Heartbeat,
    Incident,
    IncidentKind,
    Intent,
    IntentOutcome,
    Move,
    Moved,
    Query,
    Recorded,
    Returned,
)
from payouts.ports.store import (
    Outbox,
    PayoutStore,
)
from payouts.ports.world import (
    Clock,
    EventPublisher,
    Gateway,
    Pace,
    Telemetry,
)

__all__ = [
    "AccountStatus",
    "Action",
    "AuditCheck",
    "AuditEntry",
    "Carried",
    "Clock",
    "Completion",
    "CompletionOutcome",
    "EventPublisher",
    "Exposure",
    "Gateway",
    "Heartbeat",
    "Incident",
    "IncidentKind",
    "Intent",
    "IntentOutcome",
    "Move",
    "Moved",
    "Order",
    "Orders",
    "Outbox",
    "Pace",
    "PayoutStore",
    "Query",
    "Recorded",
    "Returned",
    "Telemetry",
]
