"""The tables of `docs/reference/settings.md`: every variable, what it means, who reads it."""

from __future__ import annotations

import re
from datetime import timezone
from enum import Enum
from typing import Final

from pydantic.fields import FieldInfo

from ops.docs.sections import filled, table
from payouts.domain.values import format_amount
from payouts.settings import (
    CallbackSettings,
    DatabaseSettings,
    DeadLetterOrderSettings,
    DeadLetterSettings,
    OrderSettings,
    ReconcileSettings,
    SendSettings,
    WorkerSettings,
)
from payouts.settings.accounts import AccountSettings, RuleSettings
from payouts.settings.groups import (
    AdminSettings,
    BrokerSettings,
    CallbackServerSettings,
    EventSettings,
    GatewaySettings,
    Group,
    IntakeSettings,
    LogSettings,
    OperatorSettings,
    PolicySettings,
    ProcessSettings,
    SendingSettings,
    StatementSettings,
    StoreSettings,
    variable_of,
)

PATH: Final = "docs/reference/settings.md"

SHARED: Final[tuple[type[Group], ...]] = (
    StoreSettings,
    BrokerSettings,
    EventSettings,
    ProcessSettings,
    AdminSettings,
    LogSettings,
    PolicySettings,
)
SECTIONS: Final[dict[str, tuple[type[Group], ...]]] = {
    "shared": SHARED,
    "account": (RuleSettings, AccountSettings),
    "worker": (IntakeSettings, GatewaySettings),
    "callback": (CallbackServerSettings,),
    "operators": (OperatorSettings, SendingSettings),
    "statement": (StatementSettings,),
}
READERS: Final[dict[str, tuple[type[Group], ...]]] = {
    "worker": (WorkerSettings, AccountSettings),
    "callback server": (CallbackSettings,),
    "`payouts send`": (SendSettings, RuleSettings),
    "`payouts reconcile FILE`": (ReconcileSettings,),
    "orders": (OrderSettings,),
    "`payouts dead-letters`": (DeadLetterSettings, DeadLetterOrderSettings),
    "other commands": (DatabaseSettings,),
}


def page() -> str:
    """Guarantees the page as it should stand."""
    return filled(PATH, {name: _groups(groups) for name, groups in SECTIONS.items()})


def _groups(groups: tuple[type[Group], ...]) -> str:
    fields = {name: field for group in groups for name, field in group.model_fields.items()}
    rows = (
        (
            f"`{variable_of(name)}`",
            (field.description or "").replace("|", "\\|"),
            _default(name, field),
            ", ".join(
                reader
                for reader, kinds in READERS.items()
                if any(name in kind.model_fields for kind in kinds)
            ),
        )
        for name, field in fields.items()
    )
    return table(("variable", "meaning", "default", "read by"), *rows)


def _default(name: str, field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.default
    if value is None or value in ("", ()):
        return "empty"
    if name.endswith("_amount"):
        return f"`{format_amount(value)}`"
    return f"`{_text(value)}`"


def _text(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case float():
            return f"{value:g}"
        case Enum():
            return str(value.value)
        case re.Pattern():
            return str(value.pattern).replace("|", "\\|")
        case timezone():
            return str(value).removeprefix("UTC")
        case _:
            return str(value)
