"""Bytes of a stream of commands are the library's; its confirms are counted in order."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pamqp import frame
from pamqp.body import ContentBody
from pamqp.commands import Basic
from pamqp.header import ContentHeader

from payouts.domain.errors import BrokerUnavailableError, UnroutableError
from payouts.messaging.codec import COMMAND_CONTENT_TYPE
from payouts.messaging.frames import CommandFrames
from payouts.messaging.publisher import PERSISTENT
from payouts.messaging.stream import Confirms

AT = datetime(2026, 11, 23, 10, 0, 0, tzinfo=UTC)
NAMES = st.text("ABCxyz019._-", min_size=1, max_size=64)


def by_the_library(account: str, body: bytes, message_id: str, most: int) -> bytes:
    """Gives the frames that pamqp makes of what `CommandPublisher` publishes."""
    properties = Basic.Properties(
        content_type=COMMAND_CONTENT_TYPE,
        delivery_mode=PERSISTENT,
        message_id=message_id,
        timestamp=AT,
    )
    parts = [body[begin : begin + most] for begin in range(0, len(body), most)]
    frames: list[frame.FrameTypes] = [
        Basic.Publish(exchange="payouts.commands", routing_key=account, mandatory=True),
        ContentHeader(properties=properties, body_size=len(body)),
        *map(ContentBody, parts),
    ]
    return b"".join(frame.marshal(one, 7) for one in frames)


@given(
    account=NAMES,
    message_id=NAMES,
    body=st.binary(min_size=1, max_size=600),
    most=st.sampled_from([1, 7, 100, 599, 600, 131_064]),
)
def test_frames_are_what_the_library_would_send(
    account: str, message_id: str, body: bytes, most: int
) -> None:
    """For every account, id and size of body, also where it takes several frames."""
    frames = CommandFrames(7, "payouts.commands", most=most)
    for _ in range(2):
        made = frames.of(account, body, message_id=message_id, at=int(AT.timestamp()))
        assert made == by_the_library(account, body, message_id, most)


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
