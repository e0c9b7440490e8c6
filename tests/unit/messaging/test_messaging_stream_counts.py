"""Bytes of what is published are the library's; a stream's confirms are counted in order."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pamqp import frame
from pamqp.body import ContentBody
from pamqp.commands import Basic
from pamqp.header import ContentHeader

from payouts.domain.errors import BrokerUnavailableError, UnroutableError
from payouts.domain.events import Event
from payouts.messaging.codec import COMMAND_CONTENT_TYPE, EVENT_CONTENT_TYPE
from payouts.messaging.frames import CommandFrames, EventFrames
from payouts.messaging.publisher import PERSISTENT
from payouts.messaging.stream import Confirms

AT = datetime(2026, 11, 23, 10, 0, 0, tzinfo=UTC)
NAMES = st.text("ABCxyz019._-", min_size=1, max_size=64)
BODIES = st.binary(min_size=1, max_size=600)
MOST = st.sampled_from([1, 7, 100, 599, 600, 131_064])


def by_the_library(
    exchange: str, routing_key: str, properties: Basic.Properties, body: bytes, most: int
) -> bytes:
    """Gives the frames that pamqp makes of a message that is published."""
    parts = [body[begin : begin + most] for begin in range(0, len(body), most)]
    frames: list[frame.FrameTypes] = [
        Basic.Publish(exchange=exchange, routing_key=routing_key, mandatory=True),
        ContentHeader(properties=properties, body_size=len(body)),
        *map(ContentBody, parts),
    ]
    return b"".join(frame.marshal(one, 7) for one in frames)


@given(account=NAMES, message_id=NAMES, body=BODIES, most=MOST)
def test_frames_of_commands_are_what_the_library_would_send(
    account: str, message_id: str, body: bytes, most: int
) -> None:
    """For every account, id and size of body, also where it takes several frames."""
    frames = CommandFrames(7, "payouts.commands", most=most)
    properties = Basic.Properties(
        content_type=COMMAND_CONTENT_TYPE,
        delivery_mode=PERSISTENT,
        message_id=message_id,
        timestamp=AT,
    )
    for _ in range(2):
        made = frames.of(account, body, message_id=message_id, at=int(AT.timestamp()))
        assert made == by_the_library("payouts.commands", account, properties, body, most)


@given(subject=NAMES, kind=st.sampled_from(["succeeded", "failed"]), body=BODIES, most=MOST)
def test_frames_of_events_are_what_the_library_would_send(
    subject: str, kind: str, body: bytes, most: int
) -> None:
    """For every subject, type and size of body, also where it takes several frames."""
    frames = EventFrames(7, "payouts.events", most=most)
    event = Event(
        event_id="0b9a2c9a-0000-5000-8000-000000000001",
        type=f"payout.{kind}",
        subject=subject,
        time=AT + timedelta(milliseconds=250),
        data={},
    )
    properties = Basic.Properties(
        content_type=EVENT_CONTENT_TYPE,
        delivery_mode=PERSISTENT,
        message_id=event.event_id,
        correlation_id=subject,
        message_type=event.type,
        timestamp=AT,
    )
    for _ in range(2):
        made = frames.of(event, body)
        assert made == by_the_library("payouts.events", event.type, properties, body, most)


@given(order=st.permutations(range(1, 16)), multiple=st.sets(st.integers(1, 15)))
def test_confirms_count_up_to_the_first_open_message(order: list[int], multiple: set[int]) -> None:
    """In whatever order they come, one by one or many at once; twice is no harm."""
    confirms = Confirms()
    open_tags = set(order)
    for tag in order:
        confirms.confirm(tag, multiple=tag in multiple)
        open_tags -= set(range(1, tag + 1)) if tag in multiple else {tag}
        assert confirms.through == min(open_tags, default=16) - 1
    assert confirms.through == 15


def test_nothing_counts_after_a_refusal() -> None:
    """What is behind it may be confirmed, but not all up to it is; the first refusal is told."""
    confirms = Confirms()
    confirms.confirm(2, multiple=True)
    confirms.confirm(4, multiple=False)
    confirms.refuse(UnroutableError("x"))
    confirms.refuse(BrokerUnavailableError())
    confirms.confirm(9, multiple=True)
    assert confirms.through == 2
    with pytest.raises(UnroutableError):
        raise confirms.refusal or AssertionError
