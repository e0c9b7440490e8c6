"""How Results travel: repeats, giving up, kept and closed connections, TLS both ways."""

import asyncio
import json
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import chain, repeat
from pathlib import Path

import pytest
import trustme
from aiohttp import ClientConnectionError, ClientSession, TCPConnector, web
from simulator_bed import (
    ACK,
    QUICK,
    Bed,
    bed,
    callback_server,
    draft,
    shared_certificate,
)

from ops.simulator import running_simulator

NEGATIVE = ACK.replace("00000000", "20000003")


def _answers(it: Bed, *bodies: tuple[int, str]) -> None:
    """Has the callback server give these answers, then success."""
    rest = chain(bodies, repeat((200, ACK)))

    def answer() -> web.Response:
        status, body = next(rest)
        return web.Response(status=status, text=body, content_type="text/xml")

    it.callbacks.answer = answer


@pytest.mark.parametrize(
    "answer", [(503, ACK), (200, NEGATIVE), (200, ""), (200, "<html></html>"), (404, "")]
)
async def test_a_result_without_acknowledgement_is_sent_again(answer: tuple[int, str]) -> None:
    """Only HTTP 200 with an all-zero code ends it; the repeats are the same bytes."""
    async with bed() as it:
        _answers(it, answer, answer)
        await it.pay("one")
        results = await it.callbacks.arrive(3)
        await it.quiet()
        statistics = it.simulator.statistics()
    assert len({result.body for result in results}) == 1
    assert statistics["results"] == {"sent": 3, "acknowledged": 1, "resent": 2, "failed": 0}


async def test_a_result_is_given_up_after_its_repeats() -> None:
    """Three repeats by default, then silence; the payment stays in the books."""
    async with bed() as it:
        _answers(it, *[(500, "")] * 9)
        await it.pay("one")
        await it.callbacks.arrive(4)
        await it.quiet()
        statistics = it.simulator.statistics()
        assert len(it.callbacks.results) == 4
    assert statistics["results"] == {"sent": 4, "acknowledged": 0, "resent": 3, "failed": 1}
    assert statistics["paid"] == 1


async def test_nine_zeros_and_escaped_acknowledgements_count() -> None:
    """`000000000`, and an acknowledgement as escaped text, are success too."""
    escaped = ACK.replace("<![CDATA[", "").replace("]]>", "")
    inner = escaped.split('/request">')[1].split("</r:")[0]
    escaped = escaped.replace(inner, inner.replace("<", "&lt;").replace(">", "&gt;"))
    async with bed() as it:
        _answers(it, (200, ACK.replace("00000000", "000000000")), (200, escaped))
        await it.pay("one")
        await it.pay("two")
        await it.quiet()
        assert it.simulator.statistics()["results"]["acknowledged"] == 2
        assert it.simulator.statistics()["results"]["resent"] == 0


async def test_a_time_out_notice_is_repeated_too() -> None:
    """NotifyQueueTimeout has its own counts."""
    async with bed() as it:
        _answers(it, (500, ""))
        await it.pay("one", msisdn="254700000161")
        await it.callbacks.arrive(0, timeouts=2)
        await it.quiet()
        counts = it.simulator.statistics()["timeouts"]
    assert counts == {"sent": 2, "acknowledged": 1, "resent": 1, "failed": 0}


async def test_a_callback_server_that_is_down_gets_its_result_when_it_is_back() -> None:
    """A refused connection counts as a post without acknowledgement."""
    async with bed(resends=50) as it:
        async with callback_server() as other:
            url = other.url
        payment = it.draft("one").changed(Caller__ResultURL=url + "/result")
        await it.post(payment.message())
        await it.until(lambda: it.simulator.statistics()["results"]["resent"] > 1)
        async with callback_server(port=int(url.rpartition(":")[2])) as back:
            await back.arrive(1)
            await it.until(lambda: it.simulator.statistics()["results"]["acknowledged"] == 1)


@asynccontextmanager
async def _raw(*answers: bytes, closes: bool = False) -> AsyncIterator[tuple[str, list[bytes]]]:
    """Serves raw answers in turn, one for each message; an empty one closes the connection."""
    rest = iter(answers)
    heads: list[bytes] = []
    serving: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                await reader.readexactly(length)
                heads.append(head)
                writer.write(next(rest, b""))
                await writer.drain()
                if closes or len(heads) >= len(answers):
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        writer.close()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(serve(reader, writer))
        serving.add(task)
        task.add_done_callback(serving.discard)

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", heads
    finally:
        server.close()
        await asyncio.gather(*serving)


def _http(body: str, extra: str = "") -> bytes:
    return f"HTTP/1.1 200 OK\r\n{extra}Content-Length: {len(body)}\r\n\r\n{body}".encode()


@pytest.mark.parametrize(
    ("answer", "good"),
    [
        (_http(ACK), True),
        (_http(ACK, "Connection: close\r\n"), True),
        (b"HTTP/1.0 200 OK\r\n\r\n" + ACK.encode(), True),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n"
            % (len(ACK), ACK.encode()),
            True,
        ),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n" + ACK.encode(), False),
        (b"HTTP/1.1 200", False),
        (b"", False),
        (b"nonsense\r\n\r\n", False),
    ],
)
async def test_every_way_to_end_an_answer_is_understood(answer: bytes, good: bool) -> None:
    """By length, by chunks, by closing; a broken one is no acknowledgement."""
    async with bed(resends=0) as it, _raw(answer, closes=True) as (url, _):
        payment = it.draft("one").changed(Caller__ResultURL=url + "/result")
        await it.post(payment.message())
        await it.quiet()
        counts = it.simulator.statistics()["results"]
    assert counts == {"sent": 1, "acknowledged": good, "resent": 0, "failed": not good}


async def test_a_kept_connection_that_died_costs_no_repeat() -> None:
    """The server closes the idle connection as the next Result comes: a new one takes it."""
    async with bed(resends=0, result_connections=1) as it, _raw(_http(ACK), b"") as (url, _):
        for number in (1, 2):
            payment = it.draft(f"p{number}").changed(Caller__ResultURL=url + "/result")
            await it.post(payment.message())
            await it.quiet()
        counts = it.simulator.statistics()["results"]
    assert counts["acknowledged"] == 1
    assert counts["sent"] == 2


@pytest.mark.parametrize("keeps", [True, False])
async def test_connections_are_kept_or_closed_as_told(keeps: bool) -> None:
    """`result_keep_alive` decides the Connection header; both deliver everything."""
    async with bed(result_keep_alive=keeps, result_connections=2) as it:
        await asyncio.gather(*(it.pay(f"p{number}") for number in range(20)))
        await it.callbacks.arrive(20)
        await it.quiet()
        sent = {headers["Connection"] for headers in it.callbacks.headers}
        assert it.simulator.statistics()["results"]["acknowledged"] == 20
    assert sent == {"keep-alive" if keeps else "close"}


async def test_no_more_callbacks_than_allowed_are_under_way() -> None:
    """With two connections, a slow callback server never sees three posts at once."""
    inside = 0
    most = 0
    gate = asyncio.Event()

    async def slow(_request: web.Request) -> web.Response:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        await gate.wait()
        inside -= 1
        return web.Response(text=ACK, content_type="text/xml")

    app = web.Application()
    app.router.add_post("/result", slow)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/result"
    async with bed(result_connections=2, result_timeout_s=10.0) as it:
        for number in range(8):
            payment = it.draft(f"p{number}").changed(Caller__ResultURL=url)
            await it.post(payment.message())
        await it.until(lambda: inside == 2)
        gate.set()
        await it.until(lambda: it.simulator.statistics()["results"]["acknowledged"] == 8)
        await runner.cleanup()
    assert most == 2


async def test_a_callback_that_is_not_answered_times_out() -> None:
    """After `result_timeout_s` the connection is dropped and the Result repeated."""
    never = asyncio.Event()

    async def silent(_request: web.Request) -> web.Response:
        await never.wait()
        return web.Response(text=ACK)

    app = web.Application()
    app.router.add_post("/result", silent)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/result"
    async with bed(result_timeout_s=0.05, resends=1) as it:
        await it.post(it.draft("one").changed(Caller__ResultURL=url).message())
        await it.until(lambda: it.simulator.statistics()["results"]["failed"] == 1)
        assert it.simulator.statistics()["results"]["sent"] == 2
        never.set()
        await runner.cleanup()


async def test_a_server_that_speaks_no_tls_gets_nothing() -> None:
    """A ResultURL of https at a plain server: the handshake fails, the Result is given up."""
    async with bed(resends=0) as it:
        url = it.callbacks.url.replace("http://", "https://") + "/result"
        await it.post(it.draft("one").changed(Caller__ResultURL=url).message())
        await it.until(lambda: it.simulator.statistics()["results"]["failed"] == 1)
        assert it.callbacks.results == []


def _files(folder: Path, ca: trustme.CA) -> dict[str, str]:
    """Writes a CA and one certificate that serves both sides."""
    leaf = ca.issue_cert("127.0.0.1")
    paths = {name: str(folder / f"{name}.pem") for name in ("ca", "chain", "key")}
    ca.cert_pem.write_to_path(paths["ca"])
    leaf.private_key_pem.write_to_path(paths["key"])
    leaf.cert_chain_pems[0].write_to_path(paths["chain"])
    return paths


async def test_both_directions_speak_mutual_tls(tmp_path: Path) -> None:
    """Requests need a client certificate of the CA; Results are sent with one, and checked."""
    paths = _files(tmp_path, trustme.CA())
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=paths["ca"])
    server.load_cert_chain(paths["chain"], paths["key"])
    server.verify_mode = ssl.CERT_REQUIRED
    client = ssl.create_default_context(cafile=paths["ca"])
    bare = ssl.create_default_context(cafile=paths["ca"])
    client.load_cert_chain(paths["chain"], paths["key"])
    settings = replace(
        QUICK,
        certificate=shared_certificate(),
        tls_certificate=paths["chain"],
        tls_key=paths["key"],
        tls_client_ca=paths["ca"],
        result_ca=paths["ca"],
        result_certificate=paths["chain"],
        result_key=paths["key"],
    )
    async with (
        callback_server(ssl_context=server) as callbacks,
        running_simulator(settings) as simulator,
        ClientSession(connector=TCPConnector(ssl=client)) as known,
        ClientSession(connector=TCPConnector(ssl=bare)) as unknown,
    ):
        it = Bed(simulator, callbacks, known)
        assert simulator.url.startswith("https://")
        assert (await it.pay("one")).code == "0"
        await callbacks.arrive(1)
        with pytest.raises(ClientConnectionError):
            await unknown.post(simulator.url, data=it.draft("two").message())


async def test_a_callback_server_of_another_ca_gets_nothing(tmp_path: Path) -> None:
    """The Result is given up: certificates are checked."""
    paths = _files(tmp_path, trustme.CA())
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(paths["chain"], paths["key"])
    async with (
        callback_server(ssl_context=server) as callbacks,
        bed(resends=0) as it,
    ):
        payment = draft(it.simulator.certificate_pem, callbacks.url, "one")
        assert (await it.post(payment.message())).code == "0"
        await it.until(lambda: it.simulator.statistics()["results"]["failed"] == 1)
        assert callbacks.results == []


async def test_it_tells_when_it_took_a_request_and_first_told_of_it() -> None:
    """Both instants lie before the callback's first arrival; no Result leaves 0."""
    arrived: list[float] = []

    def answer() -> web.Response:
        arrived.append(time.time())
        return web.Response(status=503 if len(arrived) == 1 else 200, text=ACK)

    began = time.time()
    async with bed() as it:
        it.callbacks.answer = answer
        await it.pay("untold", msisdn="254700000102")
        await it.pay("told")
        await it.callbacks.arrive(2)
        async with it.client.get(it.simulator.base_url + "/simulator/times") as answered:
            untold, told = [json.loads(line) async for line in answered.content]
    assert began <= told["accepted_at"] <= told["told_at"] <= arrived[0]
    assert untold["told_at"] == 0
    names = [one["originator_conversation_id"] for one in (untold, told)]
    assert names == ["untold", "told"]
