"""Dead letters in words: whatever lies in one, no receiver's number is told unasked."""

import json

import pytest
from pamqp.commands import Basic

from ops.cli.dead_letters.showing import MAX_BODY, body_text, letter_record, whole_record
from payouts.domain.errors import InvalidCommandError
from payouts.domain.values import AccountName
from payouts.messaging.codec import decode_command
from payouts.messaging.dead_letter_queue import DeadLetter

NUMBER = "254712345678"


def letter(body: bytes, **headers: object) -> DeadLetter:
    """Gives a dead letter with this body."""
    try:
        fields = decode_command(body)
    except InvalidCommandError:
        fields = None
    payout_id = None if fields is None else fields.get("payout_id")
    return DeadLetter(
        digest="0123456789ab",
        reason="invalid",
        detail=f"msisdn: {NUMBER} is odd",
        account=AccountName("default"),
        at=None,
        payout_id=payout_id if isinstance(payout_id, str) else None,
        fields=fields,
        body=body,
        headers=headers,
        properties=Basic.Properties(message_id=f"for {NUMBER}"),
        tag=1,
    )


@pytest.mark.parametrize(
    "body",
    [
        b'{"payout_id": "a", "amount": "10", "msisdn": "254712345678"}',
        b'{"payout_id": "a", "amount": "10", "msisdn": 254712345678}',
        b'{"payout_id": "a", "amount": "10", "msisdn": "+254 712-345 678"}',
        b'{"payout_id": "a", "amount": "10", "receiverMSISDN": ["254712345678"]}',
        b'{"payout_id": "pay-254712345678", "remark": "call 0712345678 (254712345678)"}',
        b'{"metadata": {"phone": {"home": 254712345678.0}}}',
        b'{"msisdn": "254712345678"',
        b"\xff\xfe 254712345678",
        b"msisdn=254 712 345 678;amount=10",
        b'"254712345678"',
    ],
)
def test_no_body_tells_a_number_unless_asked(body: bytes) -> None:
    """As text, as a number, apart, in a name of another's making, in what cannot be read."""
    found = letter(body)
    told = json.dumps(whole_record(found, show_numbers=False)).replace(" ", "").replace("-", "")
    assert "712345" not in told
    shown = body_text(found, show_numbers=True).replace(" ", "").replace("-", "")
    assert "712345" in shown


def test_headers_and_detail_are_masked_too() -> None:
    """Whoever published the command may have put anything there."""
    told = json.dumps(whole_record(letter(b"x", **{"x-for": NUMBER}), show_numbers=False))
    assert "712345" not in told
    assert "2547****5678" in told


def test_what_helps_to_find_it_is_told() -> None:
    """Amount, ids and run stay readable."""
    body = b'{"payout_id": "salary-2026-11-0042", "amount": "1250.50", "run_id": "r-2026-11"}'
    told = body_text(letter(body), show_numbers=False)
    for said in ("salary-2026-11-0042", "1250.50", "r-2026-11"):
        assert said in told
    assert letter_record(letter(body))["payout_id"] == "salary-2026-11-0042"


def test_a_large_body_is_cut_and_said_to_be() -> None:
    """A terminal is not filled by what somebody published by mistake."""
    found = letter(b"x" * (MAX_BODY + 10))
    assert len(body_text(found, show_numbers=True)) == MAX_BODY
    assert whole_record(found, show_numbers=False)["body_cut"] is True


def test_a_body_that_is_nested_deeply_is_told_as_it_stands() -> None:
    """No depth ends the command."""
    for depth in (100, 500, 900, 950):
        body = b'{"a": ' + b"[" * depth + b'"254712345678"' + b"]" * depth + b"}"
        assert "712345" not in body_text(letter(body), show_numbers=False)
