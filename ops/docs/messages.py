"""The tables and examples of `docs/reference/messages.md`, made by the code that runs."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

from ops.docs.asyncapi import TOPOLOGY, WHEN
from ops.docs.schemas import PRESENT, Schema, command_schema, event_schema
from ops.docs.sections import filled, table
from payouts.domain import events
from payouts.domain.answers import Result
from payouts.domain.commands import (
    DEFAULT_ACCOUNT,
    MAX_BODY_BYTES,
    REQUIRED,
    AccountRules,
    payout_of,
    validate,
)
from payouts.domain.decisions import End, decide_result
from payouts.domain.events import Event, event_of
from payouts.domain.payout import State
from payouts.domain.values import AccountName, ConversationId, TransactionId
from payouts.messaging.codec import encode_event
from payouts.messaging.dead import DETAIL_HEADER, REASON_HEADER
from payouts.services.intake import REASON_CONFLICT, REASON_INVALID, REASON_POISON

PATH: Final = "docs/reference/messages.md"

EXAMPLE_COMMAND: Final[Mapping[str, object]] = {
    "payout_id": "salary-2026-11-0042",
    "amount": "1250.50",
    "msisdn": "0712345678",
    "command_id": "SalaryPayment",
    "run_id": "salaries-2026-11",
    "remark": "Salary November",
    "not_after": "2026-11-30T17:00:00+03:00",
    "metadata": {"employee": "42"},
}

DEAD: Final[Mapping[str, str]] = {
    REASON_INVALID: (
        "It is not JSON, not valid, names another account than its queue's, or is larger than"
        f" {MAX_BODY_BYTES // 1024} KiB. `{DETAIL_HEADER}` lists everything that is wrong."
    ),
    REASON_CONFLICT: "Its `payout_id` exists with other content. The first payout is untouched.",
    REASON_POISON: "It came back to its queue again and again without success.",
}

_RULES: Final = AccountRules(name=DEFAULT_ACCOUNT, shortcode="600000", organisation="ORG")
_ANY: Final = AccountName("{account}")
_NOW: Final = datetime(2026, 11, 27, 6, 0, 0, 120_000, tzinfo=UTC)


def example_event() -> Event:
    """Guarantees the completion event of the example command, made as the product makes it."""
    command = validate(EXAMPLE_COMMAND, _RULES)
    result = Result(code="0", description="The service request is processed successfully.")
    verdict = decide_result(result)
    payout = replace(
        payout_of(command, _RULES, state=State.SUCCEEDED, now=_NOW),
        conversation_id=ConversationId("AG_20261127_00005a1b2c3d4e5f6071"),
        transaction_id=TransactionId("UKR7A1B2C3"),
        submitted_at=_NOW + timedelta(milliseconds=35),
        completed_at=_NOW + timedelta(seconds=4),
        reason=verdict.reason if isinstance(verdict, End) else None,
    )
    return event_of(payout)


def page() -> str:
    """Guarantees the page as it should stand."""
    event = json.loads(encode_event(example_event()))
    return filled(
        PATH,
        {
            "addresses": _addresses(),
            "command": _fields(),
            "command_example": _json(EXAMPLE_COMMAND),
            "dead_letters": table(
                (f"`{REASON_HEADER}`", "why"), *((f"`{one}`", why) for one, why in DEAD.items())
            ),
            "events": table(
                ("type", "when"), *((f"`{kind}`", when) for kind, when in WHEN.items())
            ),
            "data": _data(),
            "event_example": _json(event),
        },
    )


def _json(value: object) -> str:
    return f"```json\n{json.dumps(value, indent=2, ensure_ascii=False)}\n```"


def _addresses() -> str:
    commands, dead, out = TOPOLOGY.commands, TOPOLOGY.dead_letters, TOPOLOGY.events
    return table(
        ("what", "exchange", "routing key", "queue"),
        (
            "commands in",
            f"`{commands}` (direct)",
            "the account's name",
            f"`{TOPOLOGY.queue_of(_ANY)}` (quorum)",
        ),
        ("dead letters", f"`{dead}` (direct)", f"`{dead}`", f"`{dead}` (quorum)"),
        ("events out", f"`{out}` (topic)", "the event's type", "yours: bind your own"),
    )


def _fields() -> str:
    rows = (
        (f"`{name}`", "yes" if name in REQUIRED else "no", _rule(field))
        for name, field in properties_of(command_schema()).items()
    )
    return table(("field", "required", "rule"), *rows)


def properties_of(schema: Schema) -> Mapping[str, Schema]:
    """Guarantees the properties of an object's schema, by name."""
    properties = schema["properties"]
    if not isinstance(properties, dict):
        raise TypeError("A schema's properties are a mapping.")
    return properties


def _data() -> str:
    fields = properties_of(properties_of(event_schema(events.SUCCEEDED))["data"])
    rows: list[tuple[str, ...]] = []
    for name, field in fields.items():
        type_ = "string" if name == "state" else _type(field)
        rows.append((f"`{name}`", type_, _where(name), str(field["description"])))
        if name == "reason":
            inner = properties_of(field)
            rows += [(f"`reason.{one}`", "string", "`reason`", _rule(inner[one])) for one in inner]
    return table(("field", "type in a success", "never null in", "meaning"), *rows)


def _where(name: str) -> str:
    present = [kind for kind in WHEN if name in PRESENT[kind]]
    if len(present) == len(WHEN):
        return "any event"
    if set(WHEN) - set(present) == {events.REJECTED}:
        return f"any but `{events.REJECTED}`"
    return ", ".join(f"`{one}`" for one in present)


def _rule(field: Schema) -> str:
    rule = str(field["description"])
    choices = field.get("enum")
    if isinstance(choices, list):
        rule += " One of " + ", ".join(f"`{one}`" for one in choices if one is not None) + "."
    if "maxLength" in field:
        rule += f" At most {field['maxLength']} characters, none of them a control character."
    if "default" in field:
        rule += f" Default `{field['default']}`."
    return re.sub(r"\s+", " ", rule)


def _type(field: Schema) -> str:
    kind = field["type"]
    return " or ".join(str(one) for one in kind) if isinstance(kind, list) else str(kind)
