"""Dead letters in words: receivers' numbers are masked unless a person asks for them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from typing import Final

from ops.cli.words import hide_numbers
from payouts.domain.events import instant
from payouts.domain.values import mask_msisdn
from payouts.messaging.dead_letter_queue import DeadLetter

MAX_BODY: Final = 64 * 1024
_RECEIVER: Final = "msisdn"
# A number as somebody may have written it where nothing can be read: better too much than one.
_LOOSE: Final = re.compile(r"\+?\d(?:[ .()/-]{0,2}\d){6,}")
# What is told of every payout anyway, and holds digits.
_PLAIN: Final = frozenset(
    {"payout_id", "run_id", "account", "command_id", "amount", "currency", "not_after"}
)


def letter_record(letter: DeadLetter) -> dict[str, object]:
    """Return what a list tells of a dead letter: nothing of its body but the payout's id."""
    return {
        "id": letter.digest,
        "reason": letter.reason,
        "detail": hide_numbers(letter.detail),
        "at": instant(letter.at),
        "account": letter.account,
        "payout_id": None if letter.payout_id is None else hide_numbers(letter.payout_id),
        "bytes": len(letter.body),
    }


def whole_record(letter: DeadLetter, *, show_numbers: bool) -> dict[str, object]:
    """Return a dead letter with its headers and body."""
    return {
        **letter_record(letter),
        "message_id": _words(letter.properties.message_id, show_numbers=show_numbers),
        "content_type": letter.properties.content_type,
        "timestamp": instant(letter.properties.timestamp),
        "headers": {
            name: _header(value, show_numbers=show_numbers)
            for name, value in sorted(letter.headers.items())
        },
        "body": body_text(letter, show_numbers=show_numbers),
        "body_cut": len(letter.body) > MAX_BODY,
    }


def body_text(letter: DeadLetter, *, show_numbers: bool) -> str:
    """Return the body as text, cut to a bound; JSON is laid out where it can be read."""
    if letter.fields is not None:
        # What is nested too deeply to be laid out is told as it stands.
        with suppress(RecursionError):
            fields = letter.fields if show_numbers else _masked(letter.fields)
            return json.dumps(fields, indent=2, ensure_ascii=False)
    raw = letter.body[:MAX_BODY].decode("utf-8", errors="backslashreplace")
    return raw if show_numbers else _LOOSE.sub("****", raw)


def _masked(fields: Mapping[str, object]) -> dict[str, object]:
    return {name: _masked_value(name, value) for name, value in fields.items()}


def _masked_value(name: str, value: object) -> object:
    match value:
        case dict():
            return {str(key): _masked_value(str(key), one) for key, one in value.items()}
        case list():
            return [_masked_value(name, one) for one in value]
        case str() if name in _PLAIN:
            return hide_numbers(value)
        case bool() | None:
            return value
        case str() | int() | float() if _RECEIVER in name.lower():
            return mask_msisdn(str(value))
        case str():
            return _LOOSE.sub(_mask, value)
        case int() | float():
            text = str(value)
            return _LOOSE.sub(_mask, text) if _LOOSE.search(text) else value
        case _:
            return value


def _mask(found: re.Match[str]) -> str:
    return mask_msisdn(found[0])


def _header(value: object, *, show_numbers: bool) -> str:
    if isinstance(value, datetime):
        return instant(value) or ""
    return _words(str(value), show_numbers=show_numbers) or ""


def _words(text: str | None, *, show_numbers: bool) -> str | None:
    return text if text is None or show_numbers else hide_numbers(text)
