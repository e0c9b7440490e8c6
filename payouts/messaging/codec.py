"""Bodies of messages: commands in, CloudEvents out. Free of AMQP."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final, NoReturn

import msgspec

from payouts.domain.commands import MAX_BODY_BYTES
from payouts.domain.errors import InvalidCommandError
from payouts.domain.events import SOURCE, Event, instant

COMMAND_CONTENT_TYPE: Final = "application/json"
EVENT_CONTENT_TYPE: Final = "application/cloudevents+json"
SPEC_VERSION: Final = "1.0"

_NOT_AN_OBJECT: Final = "body: must be one JSON object"


class _RefusedError(ValueError):
    """Says what the standard library's parser would have let pass."""


def decode_command(body: bytes) -> Mapping[str, object]:
    """Return the fields of a command's body, unchecked but readable in one way only.

    A name told twice is refused, as another reader might pay the other amount; that is why the
    standard library parses here, which can show every pair.

    Raises:
        InvalidCommandError: too large, not UTF-8, not JSON, not an object, or a name twice.
            The problem names places, never content.
    """
    if len(body) > MAX_BODY_BYTES:
        raise InvalidCommandError((f"body: must take at most {MAX_BODY_BYTES} bytes",))
    try:
        fields = json.loads(
            body.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant
        )
    except UnicodeDecodeError as error:
        problem = f"body: is not UTF-8 at byte {error.start}"
    except json.JSONDecodeError as error:
        problem = f"body: is not JSON at line {error.lineno}, column {error.colno}"
    except _RefusedError as error:
        problem = f"body: {error}"
    except RecursionError:
        problem = "body: is nested too deeply"
    except ValueError:
        problem = "body: holds a number that is too long"
    else:
        if isinstance(fields, dict):
            return fields
        problem = _NOT_AN_OBJECT
    raise InvalidCommandError((problem,))


def encode_command(fields: Mapping[str, object]) -> bytes:
    """Return the body of a command that has these fields."""
    return msgspec.json.encode(fields)


def encode_event(event: Event) -> bytes:
    """Return the body of an event: one CloudEvents 1.0 object in the JSON format.

    The extension attribute `retryof` is there for second submissions only.
    """
    extension = {} if event.retry_of is None else {"retryof": event.retry_of}
    return msgspec.json.encode(
        {
            "specversion": SPEC_VERSION,
            "id": event.event_id,
            "source": SOURCE,
            "type": event.type,
            "subject": event.subject,
            "time": instant(event.time),
            "datacontenttype": "application/json",
            **extension,
            "data": event.data,
        }
    )


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise _RefusedError("names a field twice in one object")
    return fields


def _no_constant(_: str) -> NoReturn:
    raise _RefusedError("holds NaN or Infinity, which JSON does not know")
