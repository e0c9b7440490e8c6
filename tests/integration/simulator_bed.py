"""An independent client of the simulator: builds requests, takes callbacks, reads answers."""

import asyncio
import atexit
import base64
import hashlib
import shutil
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any
from xml.sax.saxutils import escape

from aiohttp import ClientSession, web
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from lxml import etree

from ops.simulator import Simulator, SimulatorSettings, running_simulator

API = "http://api-v1.gen.mm.vodafone.com/mminterface"
SOAP = "http://schemas.xmlsoap.org/soap/envelope/"
HEADER_A = "http://www.huawei.com.cn/schema/common/v2_1"
HEADER_B = "http://www.huawei.com/schema/osg/common/v2_1"
STAMP = "20260115103000"
DEADLINE_S = 10.0

QUICK = SimulatorSettings(
    port=0,
    pay_delay_s=0.0,
    result_delay_s=0.01,
    late_s=0.15,
    slow_s=0.1,
    queue_s=0.05,
    hidden_s=0.25,
    away_s=0.15,
    resend_delay_s=0.01,
    result_timeout_s=1.0,
)

ACK = (
    f'<e:Envelope xmlns:e="{SOAP}"><e:Body><r:ResponseMsg xmlns:r="{API}/request"><![CDATA['
    f'<response xmlns="{API}/response"><ResponseCode>00000000</ResponseCode></response>'
    "]]></r:ResponseMsg></e:Body></e:Envelope>"
)


def digest(form: str, sp_id: str = QUICK.sp_id, password: str = QUICK.sp_password) -> str:
    """Hashes as protocol §2.1 tells, in one of its forms."""
    raw = hashlib.sha256(f"{sp_id}{password}{STAMP}".encode()).digest()
    forms = {"upper": raw.hex().upper().encode(), "lower": raw.hex().encode(), "raw": raw}
    return base64.b64encode(forms[form]).decode()


@cache
def credential(certificate: bytes, password: str = QUICK.initiator_password) -> str:
    """Encrypts once for each certificate and password."""
    key = x509.load_pem_x509_certificate(certificate).public_key()
    assert isinstance(key, rsa.RSAPublicKey)
    return base64.b64encode(key.encrypt(password.encode(), padding.PKCS1v15())).decode()


def header(namespace: str = HEADER_B, **changes: str | None) -> str:
    """Writes the authentication header; a value of None leaves its element out."""
    values: dict[str, str | None] = {
        "spId": "600000",
        "spPassword": digest("upper"),
        "timeStamp": STAMP,
        "serviceId": "600000000",
        **changes,
    }
    children = "".join(
        f"<t:{name}>{escape(value)}</t:{name}>"
        for name, value in values.items()
        if value is not None
    )
    return f'<t:RequestSOAPHeader xmlns:t="{namespace}">{children}</t:RequestSOAPHeader>'


def envelope(head: str, body: str) -> bytes:
    """Frames a header and a body."""
    return (
        f'<e:Envelope xmlns:e="{SOAP}"><e:Header>{head}</e:Header><e:Body>{body}</e:Body>'
        "</e:Envelope>"
    ).encode()


def pairs(outer: str, inner: str, values: Mapping[str, str | None]) -> str:
    """Writes Parameters or ReferenceData."""
    items = "".join(
        f"<{inner}><Key>{key}</Key><Value>{escape(value)}</Value></{inner}>"
        for key, value in values.items()
        if value is not None
    )
    return f"<{outer}>{items}</{outer}>"


@dataclass
class Draft:
    """An inner request; every element can be changed or left out (None)."""

    elements: dict[str, str | None]
    parameters: dict[str, str | None]
    references: dict[str, str | None]
    sections: tuple[str, ...] = ("Transaction", "Identity", "KeyOwner")

    def changed(self, **changes: str | None) -> "Draft":
        """Changes elements; `__` stands for the slash in `Initiator/Identifier`."""
        named = {name.replace("__", "/"): value for name, value in changes.items()}
        return replace(self, elements={**self.elements, **named})

    def xml(self) -> str:
        """Writes the document, in the order that XSD and elements give."""
        return (
            f'<request xmlns="{API}/request">'
            + "".join(getattr(self, f"_{name}")() for name in self.sections)
            + "</request>"
        )

    def message(self, head: str | None = None) -> bytes:
        """Writes the whole envelope."""
        body = f'<q:RequestMsg xmlns:q="{API}/request"><![CDATA[{self.xml()}]]></q:RequestMsg>'
        return envelope(header() if head is None else head, body)

    def _element(self, path: str) -> str:
        value = self.elements.get(path)
        name = path.rpartition("/")[2]
        return "" if value is None else f"<{name}>{escape(value)}</{name}>"

    def _Transaction(self) -> str:  # noqa: N802 - named after the element
        first = ("CommandID", "LanguageCode", "OriginatorConversationID", "ConversationID")
        return (
            "<Transaction>"
            + "".join(self._element(name) for name in (*first, "Remark"))
            + pairs("Parameters", "Parameter", self.parameters)
            + pairs("ReferenceData", "ReferenceItem", self.references)
            + self._element("Timestamp")
            + "</Transaction>"
        )

    def _Identity(self) -> str:  # noqa: N802 - named after the element
        parties = dict.fromkeys(path.partition("/")[0] for path in self.elements if "/" in path)
        blocks = []
        for party in parties:
            own = [path for path in self.elements if path.startswith(party + "/")]
            content = "".join(self._element(path) for path in own)
            if any(self.elements[path] is not None for path in own):
                blocks.append(f"<{party}>{content}</{party}>")
        return f"<Identity>{''.join(blocks)}</Identity>"

    def _KeyOwner(self) -> str:  # noqa: N802 - named after the element
        return self._element("KeyOwner")


def draft(
    certificate: bytes, url: str, identifier: str, *, amount: str = "100.00", msisdn: str = ""
) -> Draft:
    """Writes a good B2C payment."""
    return Draft(
        elements={
            "CommandID": "BusinessPayment",
            "LanguageCode": "0",
            "OriginatorConversationID": identifier,
            "ConversationID": "",
            "Remark": "test",
            "Timestamp": "2026-01-15T10:30:00Z",
            "Caller/CallerType": "2",
            "Caller/ThirdPartyID": "600000",
            "Caller/Password": "Password0",
            "Caller/CheckSum": "CheckSum0",
            "Caller/ResultURL": url + "/result",
            "Initiator/IdentifierType": "11",
            "Initiator/Identifier": "payouts",
            "Initiator/SecurityCredential": credential(certificate),
            "Initiator/ShortCode": "600000",
            "PrimaryParty/IdentifierType": "4",
            "PrimaryParty/Identifier": "600000",
            "ReceiverParty/IdentifierType": "1",
            "ReceiverParty/Identifier": msisdn or "254712345678",
            "AccessDevice/IdentifierType": "1",
            "AccessDevice/Identifier": "Identifier3",
            "KeyOwner": "1",
        },
        parameters={"Amount": amount},
        references={"QueueTimeoutURL": url + "/timeout", "Occasion": "test & trial"},
    )


def status_query(payment: Draft, identifier: str, **asked: str) -> Draft:
    """Writes a TransactionStatusQuery with an id of its own."""
    made = payment.changed(CommandID="TransactionStatusQuery", OriginatorConversationID=identifier)
    return replace(made, parameters=dict(asked))


def transaction_query(identifier: str, head: str | None = None) -> bytes:
    """Writes a queryTransaction."""
    return envelope(
        header(HEADER_A) if head is None else head,
        '<l:queryTransaction xmlns:l="http://www.csapi.org/schema/transaction/data/v1_0/local">'
        f"<l:originatorConversationID>{escape(identifier)}</l:originatorConversationID>"
        "</l:queryTransaction>",
    )


@dataclass
class Answer:
    """An HTTP answer with the inner document that it carries."""

    status: int
    body: bytes

    def inner(self) -> "etree._Element":
        """Reads the document inside ResponseMsg or ResultMsg."""
        root = etree.fromstring(self.body)
        text = root.findtext("{*}Body/{*}ResponseMsg") or root.findtext("{*}Body/{*}ResultMsg")
        assert text
        return etree.fromstring(text.strip().encode())

    def get(self, name: str) -> str:
        """Finds the first element of that name, whatever its case; empty when there is none."""
        for element in self.inner().iter("{*}*"):
            if etree.QName(element).localname.lower() == name.lower():
                return (element.text or "").strip()
        return ""

    @property
    def code(self) -> str:
        """Reads the Response's or Result's code."""
        return self.get("ResponseCode") or self.get("ResultCode")

    def pairs(self) -> dict[str, str]:
        """Reads every Key and Value, with or without namespaces, however deep."""
        found: dict[str, str] = {}
        for element in self.inner().iter("{*}*"):
            named = {etree.QName(child).localname: child.text or "" for child in element}
            if "Key" in named:
                found[named["Key"].strip()] = named.get("Value", "").strip()
        return found


@dataclass
class Callbacks:
    """A callback server that keeps what it gets, and answers as told."""

    url: str = ""
    results: list[Answer] = field(default_factory=list)
    timeouts: list[Answer] = field(default_factory=list)
    headers: list[Mapping[str, str]] = field(default_factory=list)
    answer: Callable[[], web.Response] = lambda: web.Response(text=ACK, content_type="text/xml")
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def take(self, request: web.Request) -> web.Response:
        """Keeps one callback."""
        kept = self.results if request.path == "/result" else self.timeouts
        body = await request.read()
        async with self.changed:
            kept.append(Answer(200, body))
            self.headers.append(dict(request.headers))
            self.changed.notify_all()
        return self.answer()

    async def arrive(self, results: int = 1, timeouts: int = 0) -> list[Answer]:
        """Waits until so many callbacks have come; returns the Results."""
        async with asyncio.timeout(DEADLINE_S), self.changed:
            await self.changed.wait_for(
                lambda: len(self.results) >= results and len(self.timeouts) >= timeouts
            )
        return self.results


@dataclass
class Bed:
    """A simulator, a callback server and a client, ready to use."""

    simulator: Simulator
    callbacks: Callbacks
    client: ClientSession

    def draft(self, identifier: str, **changes: Any) -> Draft:
        """Writes a good payment."""
        return draft(self.simulator.certificate_pem, self.callbacks.url, identifier, **changes)

    async def post(self, message: bytes, url: str = "") -> Answer:
        """Sends a message to the request address, or to another."""
        async with self.client.post(url or self.simulator.url, data=message) as answer:
            return Answer(answer.status, await answer.read())

    async def pay(self, identifier: str, **changes: Any) -> Answer:
        """Sends a good payment."""
        return await self.post(self.draft(identifier, **changes).message())

    async def ask(self, identifier: str) -> Answer:
        """Sends a queryTransaction."""
        return await self.post(transaction_query(identifier), self.simulator.query_url)

    async def admin(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Calls the admin API with JSON, or with text."""
        sent = {"data": body} if isinstance(body, str | bytes) else {"json": body}
        url = self.simulator.base_url + path
        async with self.client.request(method, url, **sent) as answer:
            return answer.status, await answer.json(content_type=None)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Waits for the simulator's books to say so; looks again after each turn of the loop."""
        async with asyncio.timeout(DEADLINE_S):
            while not condition():  # noqa: ASYNC110 - the simulator has no event for each
                await asyncio.sleep(0.002)

    async def quiet(self) -> None:
        """Waits until the simulator owes nobody anything."""
        await self.until(lambda: self.simulator.statistics()["pending"] == 0)


@asynccontextmanager
async def callback_server(**changes: Any) -> AsyncIterator[Callbacks]:
    """Serves callbacks at a free port; `changes` go to the site (TLS)."""
    callbacks = Callbacks()
    app = web.Application()
    app.router.add_post("/{any:.*}", callbacks.take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", **{"port": 0, **changes})
    await site.start()
    host, port = runner.addresses[0][:2]
    callbacks.url = f"http{'s' if changes.get('ssl_context') else ''}://{host}:{port}"
    try:
        yield callbacks
    finally:
        await runner.cleanup()


@cache
def shared_certificate() -> str:
    """Names a path that all tests of a run share, so that the slow key is made once."""
    folder = mkdtemp(prefix="simulator-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return str(Path(folder) / "certificate.pem")


@asynccontextmanager
async def bed(**changes: Any) -> AsyncIterator[Bed]:
    """Starts everything; `changes` are settings that differ from the quick ones."""
    settings = replace(QUICK, certificate=shared_certificate(), **changes)
    async with (
        callback_server() as callbacks,
        running_simulator(settings) as simulator,
        ClientSession() as client,
    ):
        yield Bed(simulator, callbacks, client)
