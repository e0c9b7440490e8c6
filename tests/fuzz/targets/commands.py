"""Bodies of commands: decoded, validated, normalised, told again."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from typing import Final
from xml.sax.saxutils import escape

from payouts.domain.commands import AccountRules, Command, validate
from payouts.domain.errors import InvalidCommandError
from payouts.domain.values import AccountName, format_amount
from payouts.messaging.codec import decode_command, encode_command
from tests.fuzz.mutators.objects import OBJECTS
from tests.fuzz.mutators.octets import PLAIN
from tests.fuzz.oracle import Finding, Target
from tests.fuzz.planted import MSISDN, NAME, NATIONAL, PASSWORD

RULES: Final = AccountRules(name=AccountName("default"), shortcode="600000", organisation="ORG")


def read(data: bytes) -> Command:
    """Read as a worker does."""
    return validate(decode_command(data), RULES)


def fields_of(command: Command) -> dict[str, object]:
    """Return what an upstream would publish to mean the same."""
    fields: dict[str, object] = {
        "payout_id": command.payout_id,
        "amount": format_amount(command.amount_minor),
        "msisdn": command.msisdn,
        "command_id": command.command_id,
        "account": command.account,
        "currency": command.currency,
        "run_id": command.run_id,
        "remark": command.remark,
        "occasion": command.occasion,
        "metadata": dict(command.metadata),
    }
    if command.not_after is not None:
        fields["not_after"] = command.not_after.isoformat()
    return fields


def texts_of(command: Command) -> Iterator[str]:
    """Yield every text that goes to the database, to events or to the gateway."""
    for value in fields_of(command).values():
        if isinstance(value, str):
            yield value
    for key, text in command.metadata.items():
        yield key
        yield text


def check(value: object, data: bytes) -> None:
    """Hold a valid command against the contract, and against itself told once more."""
    assert isinstance(value, Command)
    if not 1 <= value.amount_minor <= RULES.max_minor or len(value.msisdn) != len(MSISDN):
        raise Finding(f"an amount or a number that the contract refuses, of {data[:200]!r}")
    for text in texts_of(value):
        # PostgreSQL keeps neither; XML 1.0 has no place for other control characters.
        if "\x00" in text or any("\ud800" <= one <= "\udfff" for one in text):
            raise Finding(f"a text that cannot be kept, of {data[:200]!r}")
        try:
            ET.fromstring(f"<a>{escape(text)}</a>")  # noqa: S314 - that is the question
        except ET.ParseError:
            raise Finding(f"a text that XML cannot carry, of {data[:200]!r}") from None
    again = read(encode_command(fields_of(value)))
    if again != value:
        raise Finding(f"told again it means something else: {data[:200]!r}")


def seeds() -> Sequence[bytes]:
    """Give commands from the smallest to the fullest, and some that are wrong."""
    least = {"payout_id": "p-1", "amount": "10", "msisdn": MSISDN}
    full = {
        "payout_id": "2026-11_salary.0001",
        "amount": "1250.50",
        "msisdn": NATIONAL,
        "command_id": "SalaryPayment",
        "account": "default",
        "currency": "KES",
        "run_id": "run-1",
        "remark": f"Salary of {NAME} <&>",
        "occasion": "e\u0301 \U0001f4b8",
        "not_after": "2026-11-30T17:00:00.5+03:00",
        "metadata": {"name": NAME, "token": PASSWORD},
    }
    wrong = {**least, "amount": 10, "msisdn": "+254 712 345 678", "name": NAME, NAME: PASSWORD}
    odd = [b"", b"[]", b"null", b'"x"', b"\xef\xbb\xbf{}", b"{", json.dumps(full).encode("utf-16")]
    return [*(json.dumps(one).encode() for one in (least, full, wrong)), *odd]


TARGET: Final = Target(
    name="commands",
    read=read,
    errors=(InvalidCommandError,),
    check=check,
    seeds=seeds,
    tokens=(
        b'"payout_id"',
        b'"amount"',
        b'"msisdn"',
        b'"metadata"',
        b'"not_after"',
        b"2547",
        b"\\ud800",
        b"\\u0000",
        b"NaN",
        b"-Infinity",
        b"1e999",
    ),
    mutators=(*OBJECTS, *OBJECTS, *PLAIN),
    most=80_000,
)
