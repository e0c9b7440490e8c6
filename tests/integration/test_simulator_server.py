"""The simulator's own HTTP: how it reads requests, and its admin API."""

import asyncio
import json
import socket

import pytest
from aiohttp import ClientSession
from simulator_bed import Bed, bed


async def _raw(it: Bed, *parts: bytes) -> bytes:
    """Writes parts in turn on one connection, then reads until the simulator closes it."""
    host, port = it.simulator.base_url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for part in parts:
        writer.write(part)
        await writer.drain()
    async with asyncio.timeout(5):
        received = await reader.read()
    writer.close()
    await writer.wait_closed()
    return received


def _head(length: int, *lines: str) -> bytes:
    text = "".join(f"{line}\r\n" for line in (f"Content-Length: {length}", *lines))
    return f"POST /mminterface/request HTTP/1.1\r\nHost: x\r\n{text}\r\n".encode()


async def test_requests_on_one_connection_are_answered_in_order() -> None:
    """Three requests in one write, and one byte by byte: the answers come in their order."""
    async with bed() as it:
        messages = [it.draft(f"p{number}").message() for number in range(3)]
        sent = b"".join(_head(len(message)) + message for message in messages)
        last = it.draft("last").message()
        tail = _head(len(last), "Connection: close") + last
        received = await _raw(it, sent, *(tail[n : n + 100] for n in range(0, len(tail), 100)))
    places = [received.find(name) for name in (b">p0<", b">p1<", b">p2<", b">last<")]
    assert -1 not in places
    assert places == sorted(places)
    assert received.count(b"HTTP/1.1 200 OK\r\n") == 4


async def test_a_slow_answer_holds_back_the_next_on_its_connection() -> None:
    """One request at a time for each connection: the second waits for the first's answer."""
    async with bed() as it:
        slow = it.draft("slow", msisdn="254700000154").message()
        quick = it.draft("quick").message()
        received = await _raw(
            it, _head(len(slow)) + slow + _head(len(quick), "Connection: close") + quick
        )
    assert 0 < received.find(b">slow<") < received.find(b">quick<")


async def test_a_chunked_body_is_read() -> None:
    """Chunks of any size, with an extension, arriving in pieces."""
    async with bed() as it:
        message = it.draft("one").message()
        chunks = b"".join(
            b"%x;x=y\r\n%s\r\n" % (len(part), part)
            for part in (message[:1000], message[1000:1001], message[1001:])
        )
        head = (
            b"POST /mminterface/request HTTP/1.1\r\nTransfer-Encoding: chunked\r\n"
            b"Connection: close\r\n\r\n"
        )
        received = await _raw(it, head, chunks[:500], chunks[500:], b"0\r\n\r\n")
    assert b"<ResponseCode>0<" in received


async def test_a_client_that_waits_for_continue_gets_it() -> None:
    """`Expect: 100-continue` is answered before the body comes, once."""
    async with bed() as it:
        message = it.draft("one").message()
        host, port = it.simulator.base_url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(_head(len(message), "Expect: 100-continue", "Connection: close"))
        async with asyncio.timeout(5):
            first = await reader.readuntil(b"\r\n\r\n")
            writer.write(message[:500])
            writer.write(message[500:])
            rest = await reader.read()
        writer.close()
        await writer.wait_closed()
    assert first == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert rest.startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"NONSENSE\r\n\r\n", b"400"),
        (b"GET /health HTTP/2.0\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 40_000, b"431"),
        (_head(2 << 20), b"413"),
        (_head(3, "Content-Encoding: gzip") + b"abc", b"415"),
        (
            b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            b"400",
        ),
        (
            b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\n",
            b"413",
        ),
    ],
)
async def test_what_is_no_request_is_refused_and_the_connection_closed(
    sent: bytes, status: bytes
) -> None:
    """Bounded head and body, known encodings, sound chunks: else an error, then the end."""
    async with bed() as it:
        received = await _raw(it, sent)
    assert received.startswith(b"HTTP/1.1 " + status)
    assert b"Connection: close" in received


async def test_a_client_that_floods_while_it_waits_is_cut_off() -> None:
    """What comes behind an unanswered request is bounded too."""
    async with bed() as it:
        slow = it.draft("slow", msisdn="254700000154").message()
        host, port = it.simulator.base_url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(_head(len(slow)) + slow + b"x" * (2 << 20))
        with pytest.raises(ConnectionResetError):
            async with asyncio.timeout(5):
                await reader.read()
        writer.close()


async def test_an_old_client_gets_its_connection_closed() -> None:
    """HTTP/1.0 means one request; so does the setting that imitates the real broker."""
    async with bed() as it:
        assert b"Connection: close" in await _raw(it, b"GET /health HTTP/1.0\r\n\r\n")
    async with bed(keep_alive=False) as it:
        assert b"Connection: close" in await _raw(it, b"GET /health HTTP/1.1\r\n\r\n")
        assert (await it.pay("one")).code == "0"


async def test_health_and_the_certificate_are_served() -> None:
    """Both are there without any authentication: the simulator is for the test bed."""
    async with bed() as it, ClientSession() as client:
        assert await it.admin("GET", "/health") == (200, {"status": "ok"})
        async with client.get(it.simulator.base_url + "/simulator/certificate") as answer:
            assert await answer.read() == it.simulator.certificate_pem


async def test_the_ledger_is_streamed_as_lines() -> None:
    """Many lines to a client that reads slowly; `after` skips; a bad `after` is refused."""
    async with bed(result_delay_s=0.0) as it:
        await asyncio.gather(*(it.pay(f"600000_ORG_p{n}") for n in range(1500)))
        await it.quiet()
        url = it.simulator.base_url + "/simulator/ledger"
        async with it.client.get(url) as answer:
            assert answer.content_type == "application/x-ndjson"
            lines = [json.loads(line) async for line in answer.content]
        assert lines == it.simulator.ledger()
        async with it.client.get(url + "?after=1498") as answer:
            assert len((await answer.text()).splitlines()) == 2
        assert (await it.admin("GET", "/simulator/ledger?after=x"))[0] == 400
        async with it.client.get(url + "?after=5000") as answer:
            assert await answer.text() == ""


async def test_a_reader_that_leaves_in_the_middle_of_the_ledger_harms_nobody() -> None:
    """The stream ends with its connection."""
    async with bed(result_delay_s=0.0) as it:
        await asyncio.gather(*(it.pay(f"600000_ORG_p{n}") for n in range(400)))
        host, port = it.simulator.base_url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port), limit=1024)
        writer.write(b"GET /simulator/ledger HTTP/1.1\r\n\r\n")
        await reader.readline()
        writer.close()
        await writer.wait_closed()
        assert (await it.pay("more")).code == "0"


async def test_one_request_can_be_looked_at() -> None:
    """State, code, receipt, faults and payments of an id; 404 for an unknown one."""
    async with bed() as it:
        await it.pay("600000_ORG_a b", msisdn="254700000102")
        await it.quiet()
        status, told = await it.admin("GET", "/simulator/requests/600000_ORG_a%20b")
        unknown = await it.admin("GET", "/simulator/requests/nobody")
        (line,) = it.simulator.ledger()
    assert status == 200
    assert told["state"] == "paid"
    assert told["receipt"] == line["receipt"]
    assert told["faults"] == ["result_never"]
    assert told["payments"] == [line]
    assert unknown == (404, {"error": "unknown id"})


async def test_reset_empties_the_books() -> None:
    """Ledger, counts, ids, float and locks are as at the start; what was due never comes."""
    async with bed(result_delay_s=60.0) as it:
        await it.pay("one")
        await it.admin("POST", "/simulator/locks", {"sp": True, "initiator": True})
        before = it.simulator.statistics()
        assert await it.admin("POST", "/simulator/reset") == (200, {"reset": True})
        after = it.simulator.statistics()
        assert it.simulator.ledger() == []
        assert (await it.pay("one")).code == "0"
    assert (before["paid"], before["pending"]) == (1, 1)
    assert before["sp_locked"]
    assert before["initiator_locked"]
    assert (after["paid"], after["pending"], after["requests"]) == (0, 0, 0)
    assert after["float"] == {"600000": "100000000.00"}
    assert not after["sp_locked"]
    assert not after["initiator_locked"]


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/nothing", None, 404),
        ("GET", "/mminterface/request", None, 404),
        ("POST", "/simulator/ledger", None, 405),
        ("GET", "/simulator/reset", None, 405),
        ("POST", "/simulator/away", {"seconds": 0}, 400),
        ("POST", "/simulator/away", {"seconds": "5"}, 400),
        ("POST", "/simulator/away", "no json", 400),
        ("POST", "/simulator/away", "[1]", 400),
        ("POST", "/simulator/float", {"amount": "1.001"}, 400),
        ("POST", "/simulator/float", {"amount": "-1"}, 400),
        ("POST", "/simulator/float", {"amount": "NaN"}, 400),
        ("POST", "/simulator/float", {"amount": "ten"}, 400),
        ("POST", "/simulator/float", {}, 400),
        ("POST", "/simulator/locks", {"sp": "yes"}, 400),
        ("POST", "/simulator/locks", {"door": True}, 400),
        ("POST", "/simulator/faults", b"\xff", 400),
        ("POST", "/simulator/faults", "not toml", 400),
    ],
)
async def test_what_the_admin_api_cannot_do_it_says(
    method: str, path: str, body: object, status: int
) -> None:
    """An error in JSON with the fitting status, and nothing is changed."""
    async with bed() as it:
        got, told = await it.admin(method, path, body)
        assert (await it.pay("one")).code == "0"
    assert got == status
    assert told["error"]
