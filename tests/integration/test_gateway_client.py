"""The client sends once, holds back where it must, and reads what the gateway answers."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Iterator
from contextlib import closing

import pytest
from gateway_bed import (
    ACCEPTED,
    QUICK,
    Caller,
    accept,
    always,
    client,
    never,
    raw_gateway,
    unused_port,
)

from payouts.domain.answers import (
    BrokerRecord,
    NotSent,
    NotSentCause,
    OutcomeUnknown,
    Response,
)
from payouts.domain.errors import InvalidCommandError, SettingsError
from payouts.domain.values import AccountName, ConversationId, OriginatorConversationId
from payouts.mpesa import gate
from payouts.mpesa.client import SoapGateway
from payouts.mpesa.settings import Timeouts
from tests.fixtures.mpesa.messages import NOW, account, http, payout, record, response_message


async def test_an_accepted_request_gives_the_response_with_trimmed_ids() -> None:
    """A Response with status 200 is returned as it says, its ids trimmed."""
    async with raw_gateway(accept) as gateway, client(gateway.url()) as soap:
        answer = await soap.submit(payout(), may_send=always)
    assert answer == Response(
        code="0",
        conversation_id=ConversationId("AG_20260304_00001"),
        originator_conversation_id=OriginatorConversationId("600100_ORG_p-1"),
    )


async def test_the_request_is_posted_as_the_interface_wants_it() -> None:
    """POST, text/xml in UTF-8, an empty SOAPAction, no compression asked for, a known length."""
    async with raw_gateway(accept) as gateway, client(gateway.url()) as soap:
        await soap.submit(payout(), may_send=always)
    head = gateway.requests[0].partition(b"\r\n\r\n")[0]
    assert head.startswith(b"POST /mminterface/request HTTP/1.1\r\n")
    assert b'\r\nSOAPAction: ""' in head
    assert re.search(rb"(?i)\r\ncontent-type: text/xml;charset=utf-8", head)
    assert len(re.findall(rb"(?i)\r\ncontent-type:", head)) == 1
    assert b"accept-encoding" not in head.lower()
    assert b"chunked" not in head.lower()


async def test_a_kept_connection_is_used_again() -> None:
    """Keep-alive: two requests in a row take one connection."""
    async with raw_gateway(accept) as gateway, client(gateway.url()) as soap:
        for _ in range(2):
            assert isinstance(await soap.submit(payout(), may_send=always), Response)
    assert gateway.connections == 1


async def test_a_gateway_that_closes_each_connection_is_served_with_new_ones() -> None:
    """`Connection: close`, as the real broker answers: each request has its own connection."""

    async def close(caller: Caller) -> None:
        await caller.request()
        await caller.answer(ACCEPTED, headers="Connection: close\r\n")

    async with raw_gateway(close) as gateway, client(gateway.url()) as soap:
        for _ in range(3):
            assert isinstance(await soap.submit(payout(), may_send=always), Response)
    assert gateway.connections == 3


async def test_connections_are_not_kept_when_the_setting_says_so() -> None:
    """A keep-alive of 0 seconds makes every request close its connection."""
    timeouts = Timeouts(keep_alive_s=0)
    async with raw_gateway(accept) as gateway, client(gateway.url(), timeouts=timeouts) as soap:
        for _ in range(2):
            assert isinstance(await soap.submit(payout(), may_send=always), Response)
    assert gateway.connections == 2
    assert b"\r\nConnection: close" in gateway.requests[0]


async def test_a_chunked_answer_and_one_without_length_are_read() -> None:
    """A body in chunks, or up to the end of the connection, is read like any other."""

    async def chunked(caller: Caller) -> None:
        await caller.request()
        parts = (ACCEPTED[:40], ACCEPTED[40:], b"")
        body = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts)
        caller.writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body)
        await caller.request()
        caller.writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + ACCEPTED)

    async with raw_gateway(chunked) as gateway, client(gateway.url()) as soap:
        for _ in range(2):
            assert isinstance(await soap.submit(payout(), may_send=always), Response)


async def test_a_refused_connection_is_not_sent() -> None:
    """Nobody listens: it is certain that nothing was sent."""
    async with client(f"http://127.0.0.1:{unused_port()}/") as soap:
        answer = await soap.submit(payout(), may_send=always)
    assert isinstance(answer, NotSent)
    assert answer.cause is NotSentCause.CONNECT
    assert "127.0.0.1" not in answer.description


async def test_an_unknown_name_is_not_sent() -> None:
    """A name that does not resolve: it is certain that nothing was sent."""
    async with client("http://gateway.invalid/") as soap:
        answer = await soap.submit(payout(), may_send=always)
    assert isinstance(answer, NotSent)
    assert answer.cause is NotSentCause.CONNECT


@pytest.fixture
def full_backlog() -> Iterator[int]:
    """Gives a port whose queue of connections is full, so that a further one hangs."""
    with closing(socket.socket()) as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        address = server.getsockname()
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.settimeout(0)
            one.connect_ex(address)
        yield address[1]
        for one in waiting:
            one.close()


async def test_a_connection_that_does_not_come_about_in_time_is_not_sent(
    full_backlog: int,
) -> None:
    """A connect time-out comes before anything was written."""
    timeouts = Timeouts(connect_s=0.2, total_s=5.0)
    async with client(f"http://127.0.0.1:{full_backlog}/", timeouts=timeouts) as soap:
        answer = await soap.submit(payout(), may_send=always)
    assert isinstance(answer, NotSent)
    assert answer.cause is NotSentCause.CONNECT


async def test_a_lapsed_lease_holds_the_request_back_on_a_new_connection() -> None:
    """`may_send` False: nothing is written.

    Proved: without the question in GatedBody the gateway gets the request and this fails.
    """
    async with raw_gateway(accept) as gateway, client(gateway.url()) as soap:
        answer = await soap.submit(payout(), may_send=never)
    assert isinstance(answer, NotSent)
    assert answer.cause is NotSentCause.FENCED
    assert gateway.requests == []


async def test_a_lapsed_lease_holds_the_request_back_on_a_kept_connection() -> None:
    """Also where a connection is there already, and a question to the core likewise."""
    async with raw_gateway(accept) as gateway, client(gateway.url()) as soap:
        await soap.submit(payout(), may_send=always)
        paid = await soap.submit(payout(), may_send=never)
        asked = await soap.ask_core(payout(), OriginatorConversationId("q-1"), may_send=never)
    assert isinstance(paid, NotSent)
    assert isinstance(asked, NotSent)
    assert len(gateway.requests) == 1


async def test_the_lease_is_asked_only_once_the_connection_stands() -> None:
    """The question comes at the last instant, not before connecting."""
    asked_at: list[int] = []
    async with raw_gateway(accept) as gateway, client(gateway.url()) as soap:

        def may_send() -> bool:
            asked_at.append(gateway.connections)
            return True

        await soap.submit(payout(), may_send=may_send)
        await soap.submit(payout(), may_send=may_send)
    assert len(asked_at) == 2
    assert asked_at[1] == 1


async def test_a_core_query_is_answered_under_its_own_id() -> None:
    """The status query's Response names the query; one that names the payout is another's."""
    query_id = OriginatorConversationId("600100_ORG-q1_p-1")

    async def answer_query(caller: Caller) -> None:
        await caller.request()
        await caller.answer(response_message("0", OriginatorConversationID=query_id))
        await caller.request()
        await caller.answer(ACCEPTED)

    async with raw_gateway(answer_query) as gateway, client(gateway.url()) as soap:
        good = await soap.ask_core(payout(), query_id, may_send=always)
        bad = await soap.ask_core(payout(), query_id, may_send=always)
    assert isinstance(good, Response)
    assert isinstance(bad, OutcomeUnknown)
    assert b"TransactionStatusQuery" in gateway.requests[0]


async def test_the_broker_log_is_read() -> None:
    """What queryTransaction gives what was logged about our id."""
    logged = {"submitApiResponse": [http("HTTP/1.1 200 OK", ACCEPTED)]}

    async def tell(caller: Caller) -> None:
        await caller.request()
        await caller.answer(record(lists=logged))

    async with raw_gateway(tell) as gateway, client(gateway.url()) as soap:
        answer = await soap.ask_broker(payout())
    assert isinstance(answer, BrokerRecord)
    assert [response.code for response in answer.responses] == ["0"]
    assert b"queryTransaction" in gateway.requests[0]


async def test_a_broker_log_that_cannot_be_read_or_reached_is_no_record() -> None:
    """HTML instead of a log is unknown; nobody there is not sent."""

    async def html(caller: Caller) -> None:
        await caller.request()
        await caller.answer(b"<html/>")

    async with raw_gateway(html) as gateway, client(gateway.url()) as soap:
        unreadable = await soap.ask_broker(payout())
    async with client(f"http://127.0.0.1:{unused_port()}/") as soap:
        unreached = await soap.ask_broker(payout())
    assert isinstance(unreadable, OutcomeUnknown)
    assert isinstance(unreached, NotSent)


async def test_a_probe_connects_and_sends_nothing() -> None:
    """True where somebody listens, False where nobody does; no byte of HTTP is sent."""
    ended = asyncio.Event()
    received: list[bytes] = []

    async def listen(caller: Caller) -> None:
        received.append(await caller.reader.read())
        ended.set()

    async with raw_gateway(listen) as gateway, client(gateway.url()) as soap:
        assert await soap.probe(AccountName("default"))
        await asyncio.wait_for(ended.wait(), 5)
    assert received == [b""]
    async with client(f"http://127.0.0.1:{unused_port()}/") as soap:
        assert not await soap.probe(AccountName("default"))


async def test_a_probe_of_a_gateway_that_hangs_is_false(full_backlog: int) -> None:
    """A connection that does not come about in time counts as away."""
    timeouts = Timeouts(connect_s=0.2)
    async with client(f"http://127.0.0.1:{full_backlog}/", timeouts=timeouts) as soap:
        assert not await soap.probe(AccountName("default"))


async def test_an_account_that_is_not_configured_is_refused_before_anything_is_sent() -> None:
    """A payout of an unknown account is an error of the configuration."""
    async with raw_gateway(accept) as gateway, client(gateway.url()) as soap:
        with pytest.raises(SettingsError, match="other"):
            await soap.submit(payout(account=AccountName("other")), may_send=always)
    assert gateway.connections == 0


async def test_a_text_that_xml_cannot_carry_is_refused_before_anything_is_sent() -> None:
    """The validation refuses control characters; should one come here, nothing leaves."""
    async with raw_gateway(accept) as gateway, client(gateway.url()) as soap:
        with pytest.raises(InvalidCommandError, match="remark"):
            await soap.submit(payout(remark="a\x00b"), may_send=always)
    assert gateway.connections == 0


async def test_a_cancelled_request_is_never_written_later() -> None:
    """A request that was given up before its first byte is abandoned for good."""
    body = gate.GatedBody(b"x", always)
    body.abandon()
    with pytest.raises(gate.HeldBackError):
        await body.write(_Writer())  # type: ignore[arg-type]
    assert body.passage is gate.Passage.CLOSED


async def test_a_connection_that_has_gone_is_not_written_to() -> None:
    """A kept connection that is closing already proves that nothing was sent."""
    body = gate.GatedBody(b"x", always)
    with pytest.raises(gate.HeldBackError):
        await body.write(_Writer(closing_now=True))  # type: ignore[arg-type]
    assert body.passage is gate.Passage.CLOSED


class _Transport:
    def __init__(self, closing_now: bool) -> None:
        self._closing = closing_now

    def is_closing(self) -> bool:
        return self._closing


class _Writer:
    """As much of aiohttp's writer as the gate looks at."""

    def __init__(self, *, closing_now: bool = False) -> None:
        self.transport = _Transport(closing_now)
        self.written: list[bytes] = []

    async def write(self, chunk: bytes) -> None:
        self.written.append(chunk)


async def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """HTTP_PROXY and its kin are ignored: a payment goes where the settings say."""
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{unused_port()}")
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{unused_port()}")
    async with raw_gateway(accept) as gateway, client(gateway.url()) as soap:
        assert isinstance(await soap.submit(payout(), may_send=always), Response)


async def test_a_client_outside_its_context_says_so() -> None:
    """Using it unopened is a mistake of the program."""
    async with client("http://127.0.0.1:1/", timeouts=QUICK) as soap:
        pass
    with pytest.raises(RuntimeError, match="context"):
        await soap.submit(payout(), may_send=always)


async def test_an_account_without_query_address_cannot_ask_the_broker() -> None:
    """An empty address means: not available."""
    async with client("http://127.0.0.1:1/") as soap:
        assert soap.can_ask_broker(AccountName("default"))
    soap = SoapGateway(
        {AccountName("default"): account(query_url="")},
        timeouts=QUICK,
        tls=None,
        now=lambda: NOW,
        connection_limit=1,
    )
    assert not soap.can_ask_broker(AccountName("default"))
    with pytest.raises(SettingsError, match="query address"):
        await soap.ask_broker(payout())
