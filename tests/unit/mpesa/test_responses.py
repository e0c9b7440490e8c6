"""GenericAPIResponse, in the orders and forms of protocol.md §3."""

from __future__ import annotations

import pytest

from payouts.domain.answers import Response
from payouts.domain.values import ConversationId, OriginatorConversationId
from payouts.mpesa.responses import parse_response
from tests.fixtures.mpesa.messages import carried, response, response_message


def test_an_acceptance_is_read_with_its_ids() -> None:
    """G2's order, with the echoed id's blanks and line ends trimmed (§1.6)."""
    body = response_message(
        "0",
        ConversationID="AG_20260304_000056ac",
        ResponseDesc="Accept the service request successfully.",
        OriginatorConversationID="600100_ORG_p-1\n   ",
        ServiceStatus="0",
    )
    assert parse_response(body) == Response(
        code="0",
        description="Accept the service request successfully.",
        conversation_id=ConversationId("AG_20260304_000056ac"),
        originator_conversation_id=OriginatorConversationId("600100_ORG_p-1"),
    )


@pytest.mark.parametrize("code", ["00000000", "000000000", "100000007", "ResponseCode0", "17"])
def test_a_code_is_given_as_sent(code: str) -> None:
    """Eight zeros, nine, or a placeholder: the table judges, not the reader."""
    assert parse_response(response_message(f"\n {code} ")).code == code


def test_a_broker_error_has_no_ids() -> None:
    """Broker errors carry a code and a description only; empty ids are none."""
    body = response_message(
        "100000000", ResponseDesc="cached", ConversationID="\n  ", OriginatorConversationID=""
    )
    assert parse_response(body) == Response(code="100000000", description="cached")


def test_a_long_description_is_cut() -> None:
    """What is kept of a text is bounded."""
    assert len(parse_response(response_message("0", ResponseDesc="x" * 9999)).description) == 1024


def test_unknown_fields_are_passed_over() -> None:
    """What is not asked for does not disturb."""
    inner = response("0", Extra="<a><b/></a>", Another="x")
    assert parse_response(carried("ResponseMsg", inner)).code == "0"
