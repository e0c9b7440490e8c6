"""The broker's log, counted so that doubt remains wherever it is unclear (protocol.md §5.2)."""

from __future__ import annotations

import base64

import pytest

from payouts.domain.answers import BrokerRecord, Response
from payouts.domain.errors import UnreadableMessageError
from payouts.domain.values import OriginatorConversationId
from payouts.mpesa.queries import parse_broker_record
from payouts.mpesa.requests import Requests
from tests.fixtures.mpesa.messages import (
    API,
    NOW,
    account,
    carried,
    envelope,
    http,
    payout,
    record,
    response_message,
    result_message,
)

ASKED = OriginatorConversationId("600100_ORG_p-1")
SENT = Requests(account()).payment(payout(), NOW)
CLIENT_LEG = http("POST /mminterface/request HTTP/1.1", SENT)
CORE_LEG = http(
    "POST /core HTTP/1.1",
    carried("RequestMsg", SENT.decode().partition("<![CDATA[")[2].partition("]]>")[0]),
)
OK = "HTTP/1.1 200 OK"
ACCEPTED = http(OK, response_message("0", OriginatorConversationID=ASKED, ConversationID="AG_1"))
BUSY = http(OK, response_message("26", OriginatorConversationID=ASKED))
PAID = http("POST / HTTP/1.1", result_message("0", OriginatorConversationID=ASKED))
OTHER = http(OK, response_message("0", OriginatorConversationID="600100_ORG_p-2"))


def read(
    requests: list[str] | None = None,
    responses: list[str] | None = None,
    results: list[str] | None = None,
    timeouts: list[str] | None = None,
) -> BrokerRecord:
    """Reads a log with these messages."""
    lists = {
        "submitApiRequest": requests or [],
        "submitApiResponse": responses or [],
        "submitApiResult": results or [],
        "queueTimeOut": timeouts or [],
    }
    return parse_broker_record(record(lists=lists), ASKED)


def test_one_send_in_two_legs_is_one_request_and_one_response() -> None:
    """Client↔broker and broker↔core carry the same; it is one send all the same."""
    found = read([CLIENT_LEG, CORE_LEG], [ACCEPTED, ACCEPTED], [PAID])
    assert found.requests == 1
    assert [response.code for response in found.responses] == ["0"]
    assert [result.code for result in found.results] == ["0"]
    assert found.unreadable_responses == 0


def test_an_empty_log_has_nothing() -> None:
    """Empty lists, or none at all: zero of everything with success."""
    for body in (record(), record(lists={"submitApiRequest": [], "queueTimeOut": []})):
        found = parse_broker_record(body, ASKED)
        assert found == BrokerRecord(response=Response(code="00000000", description="Success"))


def test_two_sends_of_which_one_was_refused_stay_two_requests() -> None:
    """The refusal's two legs must not pass for answers to both sends.

    Proved: counting every logged response makes as many refusals as requests and fails here.
    """
    found = read([CLIENT_LEG, CORE_LEG, CLIENT_LEG], [BUSY, BUSY])
    assert found.requests == 2
    assert len(found.responses) == 1


def test_more_core_legs_than_client_legs_count_in_full() -> None:
    """The larger number of either leg is taken."""
    assert read([CORE_LEG, CORE_LEG, CLIENT_LEG]).requests == 2


@pytest.mark.parametrize(
    "damaged",
    [
        "not base64!!",
        base64.b64encode(b"POST / HTTP/1.1\r\n\r\nnothing").decode(),
        http("POST / HTTP/1.1", b"<broken"),
        "é",
    ],
)
def test_a_request_that_cannot_be_read_counts(damaged: str) -> None:
    """*Not found* must never come from a log that merely cannot be read."""
    assert read([damaged]).requests == 1
    assert read([CLIENT_LEG, damaged]).requests == 2


def test_a_request_with_a_damaged_inner_document_counts_by_its_leg() -> None:
    """Stored captures have doubled quotes (protocol.md §6)."""
    damaged = SENT.replace(b"<request xmlns=", b"<request xmlns=''").replace(b'"1.0"', b"''1.0''")
    assert read([http("POST / HTTP/1.1", damaged), CORE_LEG]).requests == 1


def test_a_request_without_transaction_counts() -> None:
    """A document that names no id may be ours."""
    bare = http("POST / HTTP/1.1", carried("RequestMsg", "<request><Identity/></request>"))
    assert read([bare]).requests == 1


def test_empty_entries_and_other_parts_are_passed_over() -> None:
    """Lists may hold empty elements; what is no list is not a log."""
    body = record(lists={"submitApiRequest": ["", " "]}).decode()
    body = body.replace("</l:queryTransactionResponse>", "<l:x/></l:queryTransactionResponse>")
    assert parse_broker_record(body.encode(), ASKED).requests == 0


def test_messages_that_name_another_id_are_left_out() -> None:
    """They are not about the payout that was asked for."""
    other = SENT.replace(b"600100_ORG_p-1", b"600100_ORG_p-2")
    strange = http("POST / HTTP/1.1", result_message("0", OriginatorConversationID="x"))
    found = read([http("POST / HTTP/1.1", other)], [OTHER], [strange])
    assert (found.requests, found.responses, found.results) == (0, (), ())


def test_a_broker_refusal_without_id_counts_as_a_response() -> None:
    """Broker errors name no id (protocol.md §3.2)."""
    refused = http(OK, response_message("100000007"))
    assert [answer.code for answer in read([CLIENT_LEG], [refused]).responses] == ["100000007"]


@pytest.mark.parametrize(
    "damaged",
    [
        "not base64!!",
        http(OK, b"<html/>"),
        http(OK, envelope("<Other/>").encode()),
        http(OK, b""),
        http("HTTP/1.1 500 Oops", response_message("1002")),
        http("HTTP/1.1 302 Found", response_message("1002")),
    ],
)
def test_a_response_that_cannot_be_read_is_counted_as_such(damaged: str) -> None:
    """So that no refusal beside it passes for the whole story."""
    found = read([CLIENT_LEG], [BUSY, damaged])
    assert found.unreadable_responses == 1
    assert len(found.responses) == 1


def test_a_result_that_cannot_be_read_or_names_nobody_leaves_doubt() -> None:
    """It is counted with what cannot be read, and never taken for ours."""
    found = read([CLIENT_LEG], [ACCEPTED], ["???", http("POST / HTTP/1.1", result_message("0"))])
    assert found.results == ()
    assert found.unreadable_responses == 2


def test_a_list_that_nobody_knows_leaves_doubt() -> None:
    """Something is logged; it must not read as *not found*."""
    found = parse_broker_record(record(lists={"submitApiOther": ["eA=="]}), ASKED)
    assert found.unreadable_responses == 1


def test_queue_time_outs_are_counted() -> None:
    """Each logged notice counts, without being read."""
    assert read([CLIENT_LEG], timeouts=["eA==", "eQ=="]).queue_timeouts == 2


def test_logged_messages_in_other_forms_are_read() -> None:
    """Bare line feeds, no HTTP head, wrapped base64, repeated Results."""
    bare = base64.b64encode(b"HTTP/1.1 200 OK\nX: y\n\n" + response_message("17")).decode()
    headless = base64.b64encode(response_message("26")).decode()
    wrapped = "\n".join(ACCEPTED[at : at + 76] for at in range(0, len(ACCEPTED), 76))
    found = read([CLIENT_LEG], [bare, headless, wrapped], [PAID, PAID])
    assert [answer.code for answer in found.responses] == ["17", "26", "0"]
    assert len(found.results) == 1


def test_without_an_id_everything_logged_counts() -> None:
    """Asked for no id in particular, as a tool may do, nothing is left out."""
    body = record(lists={"submitApiRequest": [CLIENT_LEG], "submitApiResponse": [ACCEPTED, OTHER]})
    found = parse_broker_record(body)
    assert found.requests == 1
    assert len(found.responses) == 2


@pytest.mark.parametrize("name", ["queryTransactionResponse", "queryTranscationResponse"])
def test_either_spelling_of_the_answer_is_read(name: str) -> None:
    """WSDL and examples differ."""
    assert parse_broker_record(record(name=name)).response.code == "00000000"


@pytest.mark.parametrize("code", ["100000007", "100000005", "17"])
def test_a_refused_query_is_not_an_empty_log(code: str) -> None:
    """In its own form or as a ResponseMsg: the code tells that it was not answered."""
    for body in (record(code), response_message(code)):
        found = parse_broker_record(body, ASKED)
        assert found.response.code == code
        assert found.requests == 0


def test_a_success_in_another_form_is_refused() -> None:
    """An acceptance without lists would read as *not found* (proved: without the check it does)."""
    with pytest.raises(UnreadableMessageError):
        parse_broker_record(response_message("0"), ASKED)


def test_an_answer_without_result_is_refused() -> None:
    """Lists without a word on success prove nothing."""
    body = record().decode()
    start, end = body.index("<l:result>"), body.index("</l:result>") + len("</l:result>")
    with pytest.raises(UnreadableMessageError):
        parse_broker_record((body[:start] + body[end:]).encode(), ASKED)


def test_a_log_without_bounds_is_refused() -> None:
    """More messages than one id can have are not read."""
    with pytest.raises(UnreadableMessageError):
        read(["eA=="] * 201)


def test_a_qualified_result_is_read() -> None:
    """The example's children stand in the response namespace, each under its own prefix."""
    body = record().decode().replace("<ResponseCode>", f'<n:ResponseCode xmlns:n="{API}/response">')
    body = body.replace("</ResponseCode>", "</n:ResponseCode>")
    assert parse_broker_record(body.encode()).response.code == "00000000"


@pytest.mark.parametrize(
    ("requests", "responses", "answered"),
    [
        ([CLIENT_LEG, CLIENT_LEG], [BUSY, BUSY], 2),
        ([CLIENT_LEG, CORE_LEG], [BUSY, BUSY], 1),
        ([CLIENT_LEG, CORE_LEG, CLIENT_LEG], [BUSY, BUSY], 1),
        ([CLIENT_LEG, CLIENT_LEG, CORE_LEG], [BUSY, BUSY, BUSY], 1),
        ([CLIENT_LEG, CORE_LEG] * 2, [BUSY] * 4, 2),
    ],
)
def test_sends_that_were_refused_alike_count_each(
    requests: list[str], responses: list[str], answered: int
) -> None:
    """Two sends with two equal refusals are both refused; never more than the legs can tell.

    Proved by counting distinct Responses: one of the sends looked unanswered for ever.
    """
    found = read(requests, responses)
    assert (found.answered, len(found.responses)) == (answered, 1)
