"""Changes that leave JSON nearly valid."""

from __future__ import annotations

import json
from random import Random
from typing import Any, Final

from tests.fuzz.mutators.octets import HOSTILE

_VALUES: Final[tuple[object, ...]] = (
    None,
    True,
    0,
    -1,
    1250.5,
    10**400,
    [],
    {},
    [["x"]],
    {"a": {"b": "c"}},
    "\ud800",
    *HOSTILE,
)
_NAMES: Final = (
    "payout_id",
    "amount",
    "Amount",
    "msisdn",
    "metadata",
    "not_after",
    "account",
    "currency",
    "run_id",
    "remark",
    "occasion",
    "command_id",
    "__proto__",
    "",
    "\ud800",
    "254712345678",
    "Wanjiku Otieno",
    "x" * 5000,
)
_INSTANTS: Final = (
    "2026-11-30T17:00:00+03:00",
    "2026-11-30t17:00:00.123456789z",
    "0001-01-01T00:00:00+23:59",
    "9999-12-31T23:59:59-23:59",
    "2026-02-30T17:00:00Z",
    "2026-11-30T24:00:00Z",
    "2026-11-30T17:00:60Z",
    "2026-11-30T17:00:00+99:99",
)


def _object(data: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _bytes(value: object, random: Random) -> bytes:
    text = json.dumps(value, ensure_ascii=random.random() < 0.7)
    return text.encode("utf-8", "surrogatepass")


def other_value(data: bytes, random: Random) -> bytes:
    """Give a field, known or not, another value."""
    fields = _object(data)
    if fields is None:
        return data
    fields[random.choice([*fields, *_NAMES])] = random.choice(_VALUES)
    return _bytes(fields, random)


def instant(data: bytes, random: Random) -> bytes:
    """Set when the command ends to a strange instant."""
    fields = _object(data)
    if fields is None:
        return data
    return _bytes({**fields, "not_after": random.choice(_INSTANTS)}, random)


def more_metadata(data: bytes, random: Random) -> bytes:
    """Add metadata: many, long, deep or of another kind."""
    fields = _object(data)
    if fields is None:
        return data
    count = random.choice((1, 50, 2000))
    value = random.choice(("v", "v" * 2000, "\x00", "\ud800", 5, None, {"a": "b"}))
    fields["metadata"] = {f"k{n}": value for n in range(count)}
    return _bytes(fields, random)


def twice(data: bytes, random: Random) -> bytes:
    """Name a field twice, the same or differently."""
    fields = _object(data)
    if not fields:
        return data
    name = random.choice(list(fields))
    extra = json.dumps({name: random.choice(_VALUES)})[1:-1]
    text = json.dumps(fields)[:-1]
    return f"{text}, {extra}}}".encode()


def deep(data: bytes, random: Random) -> bytes:
    """Nest arrays or objects deeply, closed or not."""
    count = random.choice((20, 900, 30_000))
    opening, closing = random.choice((("[", "]"), ('{"a":', "}")))
    inner = opening * count + "1" + closing * random.choice((count, 0))
    fields = _object(data)
    if fields is None:
        return inner.encode()
    return json.dumps(fields)[:-1].encode() + f', "metadata": {inner}}}'.encode()


OBJECTS: Final = (other_value, instant, more_metadata, twice, deep)
