"""What leaves a payment in doubt: whatever goes wrong once its first byte may have left."""

from __future__ import annotations

import aiohttp
import pytest
from gateway_bed import ACCEPTED, SHORT, Caller, accept, always, client, raw_gateway

from payouts.domain.answers import NotSent, NotSentCause, OutcomeUnknown, Response, UnknownCause
from payouts.mpesa.gate import Passage
from payouts.mpesa.outcomes import transport_outcome
from tests.fixtures.mpesa.messages import envelope, payout, response_message


async def test_a_connection_that_ends_before_the_request_is_read_is_unknown() -> None:
    """Accepted and closed: bytes were written, so nobody knows."""

    async def hang_up(caller: Caller) -> None:
        caller.writer.close()

    async with raw_gateway(hang_up) as gateway, client(gateway.url()) as soap:
        answers = [await soap.submit(payout(), may_send=always) for _ in range(5)]
    for answer in answers:
        # Where the end of the connection was seen before the first byte, nothing was written.
        certain = isinstance(answer, NotSent) and answer.cause is NotSentCause.CONNECT
        lost = isinstance(answer, OutcomeUnknown)
        assert certain or lost
        if isinstance(answer, OutcomeUnknown):
            assert answer.cause is UnknownCause.CONNECTION_LOST


@pytest.mark.parametrize("ending", ["close", "reset"])
async def test_a_connection_that_ends_after_the_request_was_read_is_unknown(ending: str) -> None:
    """Read, then closed or reset without an answer: the payment may be under way; not repeated."""

    async def read(caller: Caller) -> None:
        await caller.request()
        if ending == "reset":
            caller.reset()

    async with raw_gateway(read) as gateway, client(gateway.url()) as soap:
        answer = await soap.submit(payout(), may_send=always)
    assert isinstance(answer, OutcomeUnknown)
    assert answer.cause is UnknownCause.CONNECTION_LOST
    assert len(gateway.requests) == 1


async def test_a_kept_connection_that_is_lost_after_reuse_is_not_retried() -> None:
    """The second request on a kept connection is lost: unknown, and sent exactly once."""

    async def once(caller: Caller) -> None:
        await caller.request()
        await caller.answer(ACCEPTED)
        await caller.request()

    async with raw_gateway(once) as gateway, client(gateway.url()) as soap:
        await soap.submit(payout(), may_send=always)
        answer = await soap.submit(payout(), may_send=always)
    assert isinstance(answer, OutcomeUnknown)
    assert len(gateway.requests) == 2
    assert gateway.connections == 1


@pytest.mark.parametrize("headers", ["", "Connection: close\r\n"])
async def test_half_an_answer_is_unknown(headers: str) -> None:
    """A body shorter than promised decides nothing, even if its code was readable."""

    async def half(caller: Caller) -> None:
        await caller.request()
        await caller.answer(ACCEPTED[:-20], headers=headers, length=len(ACCEPTED))

    async with raw_gateway(half) as gateway, client(gateway.url()) as soap:
        answer = await soap.submit(payout(), may_send=always)
    assert isinstance(answer, OutcomeUnknown)
    assert answer.cause is UnknownCause.CONNECTION_LOST


async def test_half_a_head_is_unknown() -> None:
    """An answer that ends in its head decides nothing."""

    async def half(caller: Caller) -> None:
        await caller.request()
        caller.writer.write(b"HTTP/1.1 200 OK\r\nContent-Le")
        await caller.writer.drain()

    async with raw_gateway(half) as gateway, client(gateway.url()) as soap:
        answer = await soap.submit(payout(), may_send=always)
    assert isinstance(answer, OutcomeUnknown)


@pytest.mark.parametrize(
    "start", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 90\r\n\r\n<e:Envelope"]
)
async def test_an_answer_that_does_not_come_in_time_is_unknown(start: bytes) -> None:
    """Silence after the request, or in the middle of the answer, is a time-out in doubt."""

    async def slow(caller: Caller) -> None:
        await caller.request()
        caller.writer.write(start)
        await caller.reader.read()

    async with raw_gateway(slow) as gateway, client(gateway.url(), timeouts=SHORT) as soap:
        answer = await soap.submit(payout(), may_send=always)
    assert isinstance(answer, OutcomeUnknown)
    assert answer.cause is UnknownCause.TIMEOUT


@pytest.mark.parametrize("status", ["500 Oops", "503 Away", "404 Gone", "202 Later", "401 No"])
async def test_any_status_but_200_is_unknown_whatever_its_body_says(status: str) -> None:
    """200 is documented for every refusal; another status may come from something between."""

    async def other(caller: Caller) -> None:
        await caller.request()
        await caller.answer(response_message("1002"), status)

    async with raw_gateway(other) as gateway, client(gateway.url()) as soap:
        answer = await soap.submit(payout(), may_send=always)
    assert answer == OutcomeUnknown(
        cause=UnknownCause.HTTP_STATUS, description=f"HTTP {status[:3]}"
    )


async def test_an_error_page_is_unknown() -> None:
    """HTML with a 500, as proxies send it."""

    async def page(caller: Caller) -> None:
        await caller.request()
        await caller.answer(b"<html>Oops</html>", "500 Internal Server Error")

    async with raw_gateway(page) as gateway, client(gateway.url()) as soap:
        answer = await soap.submit(payout(), may_send=always)
    assert answer == OutcomeUnknown(cause=UnknownCause.HTTP_STATUS, description="HTTP 500")


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "307 Keep", "308 Keep"])
async def test_a_redirect_is_not_followed(status: str) -> None:
    """A redirect is unknown; following it would send the payment a second time."""
    async with raw_gateway(accept) as elsewhere:

        async def redirect(caller: Caller) -> None:
            await caller.request()
            await caller.answer(b"", status, f"Location: {elsewhere.url()}\r\n")

        async with raw_gateway(redirect) as gateway, client(gateway.url()) as soap:
            answer = await soap.submit(payout(), may_send=always)
        assert elsewhere.connections == 0
    assert isinstance(answer, OutcomeUnknown)
    assert answer.cause is UnknownCause.HTTP_STATUS


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html><body>Service unavailable</body></html>",
        b"OK",
        ACCEPTED[:-30],
        b"\xff\xfe\x00",
        response_message(""),
        b"\x1f\x8b\x08\x00gzip",
    ],
)
async def test_an_unreadable_answer_with_200_is_unknown(body: bytes) -> None:
    """HTML, nothing, half a document, another encoding, no code: nobody knows."""

    async def unreadable(caller: Caller) -> None:
        await caller.request()
        await caller.answer(body)

    async with raw_gateway(unreadable) as gateway, client(gateway.url()) as soap:
        answer = await soap.submit(payout(), may_send=always)
    assert isinstance(answer, OutcomeUnknown)
    assert answer.cause is UnknownCause.UNREADABLE


async def test_something_that_is_not_http_is_unknown() -> None:
    """A peer that speaks another protocol got our request: unknown."""

    async def banner(caller: Caller) -> None:
        await caller.request()
        caller.writer.write(b"220 mail ready\r\n\r\n")
        await caller.writer.drain()

    async with raw_gateway(banner) as gateway, client(gateway.url()) as soap:
        answer = await soap.submit(payout(), may_send=always)
    assert isinstance(answer, OutcomeUnknown)


async def test_an_endless_answer_is_cut_off() -> None:
    """A body beyond the bound is not read to its end: unknown, memory stays bounded."""

    async def endless(caller: Caller) -> None:
        await caller.request()
        caller.writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
        while True:
            caller.writer.write(b"<a>" * 10_000)
            await caller.writer.drain()

    async with raw_gateway(endless) as gateway, client(gateway.url()) as soap:
        answer = await soap.submit(payout(), may_send=always)
    assert isinstance(answer, OutcomeUnknown)
    assert answer.cause is UnknownCause.UNREADABLE


@pytest.mark.parametrize("status", ["200 OK", "500 Internal Server Error"])
async def test_a_soap_fault_is_unknown_and_tells_its_code_only(status: str) -> None:
    """A fault says nothing of the payment; its string may hold anything and is not repeated."""
    told = "<faultcode>SVC0901</faultcode><faultstring>of 254712345678</faultstring>"
    fault = envelope(f"<e:Fault>{told}</e:Fault>")

    async def refuse(caller: Caller) -> None:
        await caller.request()
        await caller.answer(fault.encode(), status)

    async with raw_gateway(refuse) as gateway, client(gateway.url()) as soap:
        answer = await soap.submit(payout(), may_send=always)
    assert answer == OutcomeUnknown(cause=UnknownCause.SOAP_FAULT, description="SVC0901")


async def test_an_answer_that_names_another_request_is_unknown() -> None:
    """Whatever it says, it is not said of this payout."""

    async def mistaken(caller: Caller) -> None:
        await caller.request()
        await caller.answer(response_message("1002", OriginatorConversationID="600100_ORG_p-2"))

    async with raw_gateway(mistaken) as gateway, client(gateway.url()) as soap:
        answer = await soap.submit(payout(), may_send=always)
    assert isinstance(answer, OutcomeUnknown)
    assert answer.cause is UnknownCause.OTHER_ID


async def test_a_broker_refusal_without_ids_is_returned() -> None:
    """Broker errors name no ids (protocol.md §3.2); they are about the request they answer."""

    async def refuse(caller: Caller) -> None:
        await caller.request()
        await caller.answer(response_message("100000007", ResponseDesc="Authentication failed"))

    async with raw_gateway(refuse) as gateway, client(gateway.url()) as soap:
        answer = await soap.submit(payout(), may_send=always)
    assert answer == Response(code="100000007", description="Authentication failed")


@pytest.mark.parametrize("error", [TimeoutError(), aiohttp.ClientOSError(104, "reset")])
def test_only_the_gate_decides_whether_a_request_was_sent(error: Exception) -> None:
    """The same error is certain before the first byte and in doubt after it.

    Proved: a classification by the error's type, without the gate, fails here.
    """
    before = transport_outcome(error, Passage.CLOSED, answered=False)
    after = transport_outcome(error, Passage.OPENED, answered=False)
    assert isinstance(before, NotSent)
    assert before.cause is NotSentCause.CONNECT
    assert isinstance(after, OutcomeUnknown)
