import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payouts.domain.commands import MAX_BODY_BYTES
from payouts.domain.errors import InvalidCommandError
from payouts.domain.events import Event
from payouts.messaging.codec import decode_command, encode_command, encode_event

FIELDS = {"payout_id": "pay-1", "amount": "10", "msisdn": "254712345678", "metadata": {"é": "✓"}}


def test_a_command_comes_back_as_it_was_encoded() -> None:
    """What the command line publishes is what a worker reads."""
    assert decode_command(encode_command(FIELDS)) == FIELDS


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"", "not JSON at line 1, column 1"),
        (b'{"a": 1', "not JSON at line 1"),
        (b'{"a": 1} x', "not JSON at line 1, column 10"),
        (b"[]", "must be one JSON object"),
        (b'"text"', "must be one JSON object"),
        (b"null", "must be one JSON object"),
        (b'{"a": "\xff"}', "not UTF-8 at byte 7"),
        ("﻿{}".encode(), "not JSON at line 1, column 1"),
        (b'{"amount": "10", "amount": "1000"}', "names a field twice"),
        (b'{"metadata": {"k": "1", "k": "2"}}', "names a field twice"),
        (b'{"amount": NaN}', "NaN or Infinity"),
        (b'{"amount": -Infinity}', "NaN or Infinity"),
        (b'{"amount": ' + b"9" * 5000 + b"}", "a number that is too long"),
        (b'{"a": ' * 10_000 + b"1" + b"}" * 4_000, "nested too deeply"),
        (b"[" * MAX_BODY_BYTES, "nested too deeply"),
        (b" " * (MAX_BODY_BYTES + 1), "at most 65536 bytes"),
    ],
)
def test_a_body_that_cannot_be_read_in_one_way_is_refused(body: bytes, problem: str) -> None:
    """Whatever is not one plain JSON object is told by its place, not by its content."""
    with pytest.raises(InvalidCommandError) as caught:
        decode_command(body)
    (only,) = caught.value.problems
    assert only.startswith("body: ")
    assert problem in only
    assert caught.value.payout_id is None


def test_the_largest_body_is_read() -> None:
    """The bound of 64 KiB is inclusive."""
    body = b'{"a":"' + b"x" * (MAX_BODY_BYTES - 8) + b'"}'
    assert len(body) == MAX_BODY_BYTES
    assert len(str(decode_command(body)["a"])) == MAX_BODY_BYTES - 8


@given(st.binary(max_size=200) | st.text(alphabet='{}[]":,\\u0123eE+-. ', max_size=80))
def test_any_bytes_are_decoded_or_refused(noise: bytes | str) -> None:
    """No body whatever raises anything but InvalidCommandError."""
    body = noise.encode() if isinstance(noise, str) else noise
    try:
        fields = decode_command(body)
    except InvalidCommandError:
        return
    assert isinstance(fields, dict)


def test_an_event_is_a_cloudevents_object() -> None:
    """The attributes of CloudEvents 1.0 stand around the data, times in UTC."""
    event = Event(
        event_id="id-1",
        type="payout.failed",
        subject="pay-1",
        time=datetime(2026, 11, 23, 8, 0, tzinfo=UTC),
        data={"payout_id": "pay-1", "run_id": None},
    )
    assert json.loads(encode_event(event)) == {
        "specversion": "1.0",
        "id": "id-1",
        "source": "/mpesa-payouts",
        "type": "payout.failed",
        "subject": "pay-1",
        "time": "2026-11-23T08:00:00.000Z",
        "datacontenttype": "application/json",
        "data": {"payout_id": "pay-1", "run_id": None},
    }
