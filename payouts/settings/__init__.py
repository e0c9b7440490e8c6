"""Configuration: the only reader of the environment. Every problem is told at once.

Each process has its own settings; they share groups, so that a variable means the same
everywhere. The table is `docs/reference/settings.md`.
"""

from payouts.settings.accounts import (
    AccountSettings,
    DigestName,
    HeaderNamespaceName,
    HeaderTimeName,
    RuleSettings,
)
from payouts.settings.groups import AckNamespaceName, LogFormat, LogLevel
from payouts.settings.processes import (
    CallbackSettings,
    DatabaseSettings,
    DeadLetterOrderSettings,
    DeadLetterSettings,
    OrderSettings,
    ReconcileSettings,
    RehearsalSettings,
    SendSettings,
    WorkerSettings,
)

__all__ = [
    "AccountSettings",
    "AckNamespaceName",
    "CallbackSettings",
    "DatabaseSettings",
    "DeadLetterOrderSettings",
    "DeadLetterSettings",
    "DigestName",
    "HeaderNamespaceName",
    "HeaderTimeName",
    "LogFormat",
    "LogLevel",
    "OrderSettings",
    "ReconcileSettings",
    "RehearsalSettings",
    "RuleSettings",
    "SendSettings",
    "WorkerSettings",
]
