"""JSON Schemas (draft 7) of commands and events, made from the rules in `payouts.domain`.

`tests/contract/test_messages.py` holds schema and code against each other, both ways.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from payouts.domain import commands, events
from payouts.domain.payout import ReasonSource
from payouts.domain.values import ID_PATTERN, KENYA_MSISDN, ORGANISATION_PATTERN

Schema = dict[str, object]

# ECMA 262 as JSON Schema wants it; surrogates are left out, as some readers see pairs of them.
_TEXT: Final = "^[^\\u0000-\\u0008\\u000b\\u000c\\u000e-\\u001f\\ufffe\\uffff]*$"
_AMOUNT: Final = r"[0-9]{1,13}(\.[0-9]{1,2})?"
_INSTANT: Final = (
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?"
    r"([Zz]|[+-][0-9]{2}:[0-9]{2})$"
)
# An id of a command, and what later submissions add to it.
_SUBMISSION: Final = r"^[A-Za-z0-9._-]{1,72}$"
_SENT_AT: Final = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z$"


def command_schema() -> Schema:
    """Guarantees the schema of a command's body, with a description of each field.

    What depends on the account (its limits, currency, numbering) or on sizes in bytes is told in
    the descriptions; the worker checks it.
    """
    return {
        "type": "object",
        "description": (
            f"One payout. At most {commands.MAX_BODY_BYTES} bytes of UTF-8; no name twice."
        ),
        "required": list(commands.REQUIRED),
        "additionalProperties": False,
        "properties": _command_properties(),
    }


def _command_properties() -> dict[str, Schema]:
    known = commands.COMMAND_IDS
    return {
        "payout_id": _string(
            "The caller's idempotency key, for life. 1-64 of `A-Z a-z 0-9 . _ -`.",
            pattern=f"^{ID_PATTERN.pattern}$",
        ),
        "amount": _string(
            "A decimal string above 0 with at most 2 decimals, such as `1250.50`, within the"
            " account's limits. A JSON number is refused.",
            pattern=f"^(?=.*[1-9]){_AMOUNT}$",
        ),
        "msisdn": _string(
            "The receiver. `2547…` and `2541…` (12 digits) are sent as they are; `+254…`, `07…`"
            " and `01…` are normalised. This is the default pattern; it is a setting.",
            pattern=f"^\\+?({KENYA_MSISDN}|0(7|1)[0-9]{{8}})$",
        ),
        "command_id": {
            "type": ["string", "null"],
            "enum": [*known, None],
            "default": known[0],
            "description": "The kind of payment, as M-PESA names it.",
        },
        "account": _optional(
            "Which configured account pays. If given, it must be the account of the queue.",
            default=str(commands.DEFAULT_ACCOUNT),
        ),
        "currency": _optional("The account's currency; another one is refused."),
        "run_id": _optional(
            "The disbursement run this payout belongs to; same characters as `payout_id`.",
            pattern=f"^{ID_PATTERN.pattern}$",
        ),
        "remark": _optional("Free text for the wire.", maxLength=commands.MAX_TEXT, pattern=_TEXT),
        "occasion": _optional(
            "Free text for the wire.", maxLength=commands.MAX_TEXT, pattern=_TEXT
        ),
        "not_after": _optional(
            "If the first submission has not begun by then, the payout fails with class"
            " `expired`, unsent. RFC 3339, with an offset.",
            format="date-time",
            pattern=_INSTANT,
        ),
        "metadata": {
            "type": ["object", "null"],
            "additionalProperties": {"type": "string", "pattern": _TEXT},
            "propertyNames": {"pattern": _TEXT},
            "description": (
                "A flat object of strings, echoed in every event. At most"
                f" {commands.MAX_METADATA_BYTES} bytes, counted as compact JSON without escapes."
            ),
        },
    }


STATE_OF_TYPE: Final[Mapping[str, str]] = {
    **{kind: state.value for state, kind in events.TYPE_OF_STATE.items()},
    events.REJECTED: "rejected",
}
"""The one value of `data.state` in each type of event."""

_ALWAYS: Final = frozenset({"payout_id", "account", "state", "metadata"})
_OF_A_PAYOUT: Final = frozenset(
    {"amount", "currency", "command_id", "msisdn", "originator_conversation_id"}
)
PRESENT: Final[Mapping[str, frozenset[str]]] = {
    events.SUCCEEDED: _ALWAYS | _OF_A_PAYOUT | {"reason", "completed_at"},
    events.FAILED: _ALWAYS | _OF_A_PAYOUT | {"reason", "completed_at"},
    events.REJECTED: _ALWAYS | {"reason", "completed_at"},
    events.ACCEPTED: _ALWAYS | _OF_A_PAYOUT,
    events.IN_DOUBT: _ALWAYS | _OF_A_PAYOUT,
}
"""Which fields of `data` are never null in each type of event."""


def event_schema(event_type: str) -> Schema:
    """Guarantees the schema of a body of this type: a CloudEvents 1.0 object."""
    return {
        "type": "object",
        "required": [
            "specversion",
            "id",
            "source",
            "type",
            "subject",
            "time",
            "datacontenttype",
            "data",
        ],
        "properties": {
            "specversion": {"const": "1.0", "description": "CloudEvents."},
            "id": _string("Deterministic: the same for every repeat of this event.", format="uuid"),
            "source": {"const": events.SOURCE},
            "type": {"const": event_type, "description": "Also the routing key."},
            "subject": _string("The `payout_id`."),
            "time": _string("When it happened, UTC.", format="date-time", pattern=_SENT_AT),
            "datacontenttype": {"const": "application/json"},
            "retryof": _string(
                "For a second submission (`payouts retry`) only: the `payout_id` of the one before"
                " it, which has failed.",
                pattern=_SUBMISSION,
            ),
            "data": _data_schema(event_type),
        },
    }


def _data_schema(event_type: str) -> Schema:
    fields = _data_properties()
    fields["state"] = {"const": STATE_OF_TYPE[event_type], "description": "The payout's state."}
    for name, field in fields.items():
        if name in PRESENT[event_type]:
            continue
        if event_type == events.REJECTED and name != "run_id":
            fields[name] = {"type": "null", "description": field["description"]}
        else:
            fields[name] = {**field, "type": [field["type"], "null"]}
    return {"type": "object", "required": list(fields), "properties": fields}


def _data_properties() -> dict[str, Schema]:
    return {
        "payout_id": _string(
            "As commanded; a second submission adds `-r2`, a third `-r3`.", pattern=_SUBMISSION
        ),
        "run_id": _string("As commanded.", pattern=f"^{ID_PATTERN.pattern}$"),
        "account": _string("The paying account."),
        "state": _string("The payout's state."),
        "amount": _string("With exactly two decimals.", pattern=r"^[0-9]+\.[0-9]{2}$"),
        "currency": _string("ISO 4217."),
        "command_id": {
            "type": "string",
            "enum": list(commands.COMMAND_IDS),
            "description": "The kind of payment.",
        },
        "msisdn": _string("The receiver, masked as `2547****5678` unless a setting shows it."),
        "originator_conversation_id": _string(
            "The submission's one id on the wire.",
            pattern=f"^[^_]+_{ORGANISATION_PATTERN.pattern}(-r[0-9]+)?_{ID_PATTERN.pattern}$",
        ),
        "conversation_id": _string("M-PESA's id of the conversation, if it told one."),
        "transaction_id": _string("The receipt, if there is one. Never unique, never proof."),
        "reason": _reason_schema(),
        "submitted_at": _string(
            "When the first request may have left, UTC.", format="date-time", pattern=_SENT_AT
        ),
        "completed_at": _string("When it ended, UTC.", format="date-time", pattern=_SENT_AT),
        "metadata": {
            "type": "object",
            "additionalProperties": {"type": "string"},
            "description": "As commanded.",
        },
    }


def _reason_schema() -> Schema:
    return {
        "type": "object",
        "description": "Why the payout stands where it stands.",
        "required": ["source", "code", "class", "description"],
        "properties": {
            "source": {
                "type": "string",
                "enum": [source.value for source in ReasonSource],
                "description": "Who said so.",
            },
            "code": _string("The gateway's code, or a word of ours."),
            "class": _string("The code's class in the code table, or a word of ours."),
            "description": _string("For people. Never compare it."),
        },
    }


def _string(description: str, **rules: object) -> Schema:
    return {"type": "string", **rules, "description": description}


def _optional(description: str, **rules: object) -> Schema:
    return {"type": ["string", "null"], **rules, "description": description}
