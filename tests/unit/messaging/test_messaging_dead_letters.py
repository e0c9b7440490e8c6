"""A dead letter as it is read: why, from where, when; and what of it is published again."""

from datetime import UTC, datetime
from typing import Any

import pytest
from aiormq.abc import DeliveredMessage
from pamqp.commands import Basic
from pamqp.header import ContentHeader

from payouts.messaging import Topology
from payouts.messaging.dead_letter_queue import (
    DeadLetter,
    dead_letter_of,
    replayed_properties,
)

AT = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)
OURS = {
    "x-payouts-reason": "conflict",
    "x-payouts-detail": "another amount",
    "x-payouts-routing-key": "default",
    "x-payouts-at": "2026-11-30T12:00:00.000Z",
}


def read(body: bytes = b"{}", **headers: Any) -> DeadLetter:
    """Gives the dead letter that a message with these headers is."""
    properties = Basic.Properties(message_id="m-1", headers=headers)
    message = DeliveredMessage(
        delivery=Basic.GetOk(delivery_tag=7, routing_key="payouts.dead-letters"),
        header=ContentHeader(body_size=len(body), properties=properties),
        body=body,
        channel=None,  # type: ignore[arg-type]
    )
    return dead_letter_of(message, Topology())


def test_what_the_worker_put_aside_tells_why_where_and_when() -> None:
    """From its headers; the payout's id from its body."""
    letter = read(b'{"payout_id": "a-1"}', **OURS)
    assert (letter.reason, letter.detail) == ("conflict", "another amount")
    assert (letter.account, letter.at, letter.payout_id) == ("default", AT, "a-1")
    assert letter.tag == 7


def test_what_rabbitmq_gave_up_is_poison_and_tells_its_queue() -> None:
    """Its own headers say from which queue and when."""
    death = {"queue": "payouts.commands.bonus", "reason": "delivery_limit", "time": AT}
    headers: dict[str, Any] = {"x-death": [death], "x-first-death-queue": death["queue"]}
    letter = read(**headers)
    assert (letter.reason, letter.account, letter.at) == ("poison", "bonus", AT)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x-payouts-at": "soon", "x-payouts-routing-key": ""},
        {"x-payouts-at": 7, "x-payouts-routing-key": 7, "x-death": "odd"},
        {"x-death": [], "x-first-death-queue": None},
        {"x-death": [{"time": "odd"}]},
    ],
)
def test_odd_headers_tell_nothing_and_break_nothing(headers: dict[str, Any]) -> None:
    """Anybody may publish to the exchange of dead letters."""
    letter = read(b"\xff", **headers)
    assert (letter.reason, letter.account, letter.at) == ("poison", None, None)
    assert (letter.payout_id, letter.fields) == (None, None)


def test_the_id_is_the_same_at_every_look_and_another_for_another() -> None:
    """RabbitMQ's counts of looks do not change it."""
    first = read(b"1", **OURS)
    counted = read(b"1", **OURS, **{"x-delivery-count": 3, "x-acquired-count": 4})
    assert counted.digest == first.digest
    assert read(b"2", **OURS).digest != first.digest
    assert read(b"1", **{**OURS, "x-payouts-at": "2026-11-30T12:00:01Z"}).digest != first.digest


def test_a_replay_is_the_command_as_its_publisher_made_it() -> None:
    """Our headers and RabbitMQ's go, the publisher's stay; no expiry, no foreign user."""
    original = Basic.Properties(
        content_type="application/json",
        message_id="m-1",
        correlation_id="c-1",
        expiration="60",
        user_id="upstream",
        headers={**OURS, "x-death": [{}], "x-delivery-count": 2, "x-trace": "abc"},
    )
    replayed = replayed_properties(original)
    assert replayed.headers == {"x-trace": "abc"}
    assert (replayed.message_id, replayed.correlation_id) == ("m-1", "c-1")
    assert replayed.delivery_mode == 2
    assert not replayed.expiration
    assert not replayed.user_id
