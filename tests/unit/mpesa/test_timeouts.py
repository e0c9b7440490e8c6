"""The queue time-out notice: notifyQueueTimeout, in both spellings (protocol.md §5.1)."""

from __future__ import annotations

import base64
import textwrap

import pytest

from payouts.domain.answers import QueueTimeout
from payouts.domain.errors import UnreadableMessageError
from payouts.mpesa.timeouts import parse_queue_timeout
from tests.fixtures.mpesa.messages import envelope, payout

NS = "http://www.csapi.org/schema/timeoutnotification/data/v1_0/local"


def notice(originator: str, spelling: str = "originRequest", request: str = "") -> bytes:
    """Writes a notice."""
    return envelope(
        f'<l:notifyQueueTimeout xmlns:l="{NS}">'
        f"<l:originatorConversationID>{originator}</l:originatorConversationID>"
        f"<l:{spelling}>{request}</l:{spelling}></l:notifyQueueTimeout>"
    ).encode()


@pytest.mark.parametrize("spelling", ["originRequest", "originReqeust"])
@pytest.mark.parametrize("wrapped", [False, True])
def test_a_notice_names_the_request_that_expired(spelling: str, *, wrapped: bool) -> None:
    """Either spelling, with the original request in one line or in lines of 76."""
    request = base64.b64encode(envelope("<RequestMsg/>" * 40).encode()).decode()
    if wrapped:
        request = "\n".join(textwrap.wrap(request, 76))
    body = notice(" 600100_ORG_p-1\n", spelling, request)
    assert parse_queue_timeout(body) == QueueTimeout(
        originator_conversation_id=payout().originator_conversation_id
    )


def test_the_original_request_is_not_looked_at() -> None:
    """Whatever it holds, the id is all that is needed."""
    assert parse_queue_timeout(notice("a", request="not base64!")).originator_conversation_id == "a"


@pytest.mark.parametrize("originator", ["", "  \n ", "x" * 600])
def test_a_notice_without_a_usable_id_is_refused(originator: str) -> None:
    """Without an id nobody can say whose request expired."""
    with pytest.raises(UnreadableMessageError):
        parse_queue_timeout(notice(originator))
