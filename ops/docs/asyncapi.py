"""`docs/reference/asyncapi.yaml`: the AMQP face as an AsyncAPI 3.0 document."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import yaml

from ops.docs.schemas import Schema, command_schema, event_schema
from payouts.domain import events
from payouts.domain.commands import DEFAULT_ACCOUNT
from payouts.domain.values import AccountName
from payouts.messaging.codec import COMMAND_CONTENT_TYPE, EVENT_CONTENT_TYPE
from payouts.messaging.dead import (
    AT_HEADER,
    DETAIL_HEADER,
    REASON_HEADER,
    ROUTING_KEY_HEADER,
)
from payouts.messaging.topology import Topology
from payouts.services.intake import REASON_CONFLICT, REASON_INVALID, REASON_POISON

PATH: Final = "docs/reference/asyncapi.yaml"
TOPOLOGY: Final = Topology()
_ANY: Final = AccountName("{account}")
DEAD_REASONS: Final = (REASON_INVALID, REASON_CONFLICT, REASON_POISON)

WHEN: Final[Mapping[str, str]] = {
    events.SUCCEEDED: "M-PESA said that the money moved. One event id per payout.",
    events.FAILED: "It is certain that no money moved. One event id per payout.",
    events.REJECTED: (
        "An invalid command had a readable payout id that no payout has. One event id per message."
    ),
    events.ACCEPTED: "The gateway has taken the payout. Off by default.",
    events.IN_DOUBT: "The gateway may have taken the payout; it is asked. Off by default.",
}

_HEADER: Final = "# Made from the code by `python -m ops.docs`; do not edit.\n"
_PROJECT: Final = Path(__file__).parents[2] / "pyproject.toml"
_BINDING_VERSION: Final = "0.3.0"


def page() -> str:
    """Guarantees the YAML text of the document as it should stand."""
    text: str = yaml.safe_dump(document(), sort_keys=False, allow_unicode=True, width=100)
    return _HEADER + text


def document() -> dict[str, object]:
    """Guarantees the AsyncAPI document, seen from this system: it receives commands."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "M-PESA payouts",
            "version": _version(),
            "description": (
                "Commands in, events and dead letters out. Delivery is at-least-once in both"
                " directions; commands are idempotent by `payout_id`, events by `id`."
            ),
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": COMMAND_CONTENT_TYPE,
        "channels": _channels(),
        "operations": _operations(),
        "components": {"messages": _messages()},
    }


def _version() -> str:
    project = tomllib.loads(_PROJECT.read_text(encoding="utf-8"))["project"]
    return str(project["version"])


def _channels() -> dict[str, object]:
    return {
        "commands": {
            "title": "Commands in",
            "address": "{account}",
            "description": f"One quorum queue for each account, `{TOPOLOGY.queue_of(_ANY)}`.",
            "parameters": {
                "account": {
                    "description": "The paying account; the routing key.",
                    "default": DEFAULT_ACCOUNT,
                }
            },
            "messages": _refs(["command"]),
            "bindings": _exchange(TOPOLOGY.commands, "direct"),
        },
        "events": {
            "title": "Events out",
            "address": "{type}",
            "parameters": {
                "type": {"description": "The event's type; the routing key.", "enum": list(WHEN)}
            },
            "messages": _refs(list(WHEN)),
            "bindings": _exchange(TOPOLOGY.events, "topic"),
        },
        "deadLetters": {
            "title": "Dead letters out",
            "address": TOPOLOGY.dead_letters,
            "description": f"Kept in the quorum queue `{TOPOLOGY.dead_letters}`.",
            "messages": _refs(["deadLetter"]),
            "bindings": _exchange(TOPOLOGY.dead_letters, "direct"),
        },
    }


def _operations() -> dict[str, object]:
    return {
        "takeCommand": {
            "action": "receive",
            "channel": {"$ref": "#/channels/commands"},
            "summary": "Make one payout, once, however often the command comes.",
            "messages": [{"$ref": "#/channels/commands/messages/command"}],
        },
        "publishEvent": {
            "action": "send",
            "channel": {"$ref": "#/channels/events"},
            "summary": "Tell what became of a payout; at least once, with the same id.",
            "messages": [{"$ref": f"#/channels/events/messages/{_key(one)}"} for one in WHEN],
        },
        "putAside": {
            "action": "send",
            "channel": {"$ref": "#/channels/deadLetters"},
            "summary": "Keep a command that makes no payout, with the reason.",
            "messages": [{"$ref": "#/channels/deadLetters/messages/deadLetter"}],
        },
    }


def _messages() -> dict[str, object]:
    messages: dict[str, object] = {
        "command": {
            "name": "command",
            "title": "A payout command",
            "contentType": COMMAND_CONTENT_TYPE,
            "payload": command_schema(),
        },
        "deadLetter": {
            "name": "deadLetter",
            "title": "A command that was put aside",
            "description": "Body and properties are the command's, as they came.",
            "headers": _dead_headers(),
            "payload": {"description": "Whatever arrived; it may be anything."},
        },
    }
    for event_type, when in WHEN.items():
        messages[_key(event_type)] = {
            "name": event_type,
            "title": event_type,
            "summary": when,
            "contentType": EVENT_CONTENT_TYPE,
            "correlationId": {
                "description": "The AMQP property correlation_id is the payout id as well.",
                "location": "$message.payload#/subject",
            },
            "payload": event_schema(event_type),
        }
    return messages


def _dead_headers() -> Schema:
    return {
        "type": "object",
        "description": "RabbitMQ's own dead letters (`x-death`) do not carry these.",
        "properties": {
            REASON_HEADER: {"type": "string", "enum": list(DEAD_REASONS)},
            DETAIL_HEADER: {"type": "string", "description": "What is wrong, for people."},
            ROUTING_KEY_HEADER: {"type": "string", "description": "With what it was published."},
            AT_HEADER: {
                "type": "string",
                "format": "date-time",
                "description": "When it was put aside.",
            },
        },
    }


def _refs(names: list[str]) -> dict[str, object]:
    return {_key(name): {"$ref": f"#/components/messages/{_key(name)}"} for name in names}


def _key(name: str) -> str:
    return name.replace(".", "_")


def _exchange(name: str, kind: str) -> dict[str, object]:
    return {
        "amqp": {
            "is": "routingKey",
            "exchange": {"name": name, "type": kind, "durable": True, "autoDelete": False},
            "bindingVersion": _BINDING_VERSION,
        }
    }
