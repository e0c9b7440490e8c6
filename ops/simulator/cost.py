"""What one payout costs the simulator: `python -m ops.simulator.cost [payouts]`.

Starts a simulator of its own, sends it requests over kept connections, acknowledges the Results,
and prints the CPU time that the simulator's process took for each payout, request and Result.
"""

import asyncio
import base64
import datetime as dt
import hashlib
import json
import os
import re
import sys
import urllib.request
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import uvloop
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from ops.simulator.settings import PREFIX, SimulatorSettings

_CONNECTIONS = 16
_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_ACK = (
    b'<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"><soapenv:Body>'
    b'<req:ResponseMsg xmlns:req="http://api-v1.gen.mm.vodafone.com/mminterface/request">'
    b"<![CDATA[<response><ResponseCode>00000000</ResponseCode></response>]]></req:ResponseMsg>"
    b"</soapenv:Body></soapenv:Envelope>"
)
_REQUEST = """<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"
 xmlns:req="http://api-v1.gen.mm.vodafone.com/mminterface/request"><soapenv:Header>
<tns:RequestSOAPHeader xmlns:tns="http://www.huawei.com/schema/osg/common/v2_1">
<tns:spId>{sp_id}</tns:spId><tns:spPassword>{digest}</tns:spPassword>
<tns:timeStamp>{stamp}</tns:timeStamp></tns:RequestSOAPHeader></soapenv:Header><soapenv:Body>
<req:RequestMsg><![CDATA[<?xml version="1.0" encoding="UTF-8"?>
<request xmlns="http://api-v1.gen.mm.vodafone.com/mminterface/request"><Transaction>
<CommandID>BusinessPayment</CommandID><LanguageCode>0</LanguageCode>
<OriginatorConversationID>{short_code}_ORG_cost-{{number}}</OriginatorConversationID>
<Remark>cost</Remark><Parameters><Parameter><Key>Amount</Key><Value>10.01</Value></Parameter>
</Parameters><ReferenceData><ReferenceItem><Key>QueueTimeoutURL</Key><Value>{url}</Value>
</ReferenceItem></ReferenceData><Timestamp>{stamp}</Timestamp></Transaction><Identity><Caller>
<CallerType>2</CallerType><ThirdPartyID>{sp_id}</ThirdPartyID><ResultURL>{url}</ResultURL></Caller>
<Initiator><IdentifierType>11</IdentifierType><Identifier>{username}</Identifier>
<SecurityCredential>{credential}</SecurityCredential><ShortCode>{short_code}</ShortCode></Initiator>
<PrimaryParty><IdentifierType>4</IdentifierType><Identifier>{short_code}</Identifier></PrimaryParty>
<ReceiverParty><IdentifierType>1</IdentifierType><Identifier>254712345678</Identifier>
</ReceiverParty></Identity><KeyOwner>1</KeyOwner></request>]]></req:RequestMsg></soapenv:Body>
</soapenv:Envelope>"""


class _Callbacks:
    """Acknowledges whatever is posted, and counts until all have come."""

    def __init__(self, wanted: int) -> None:
        self.rest = wanted
        self.complete = asyncio.Event()
        self._serving: set[asyncio.Task[None]] = set()

    async def start(self) -> tuple[asyncio.Server, str]:
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        return server, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/result"

    async def gone(self) -> None:
        """Ends when the other side has closed every connection."""
        await asyncio.gather(*self._serving)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(_ACK), _ACK)
        try:
            while True:
                await _message(reader)
                writer.write(answer)
                self.rest -= 1
                if not self.rest:
                    self.complete.set()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()


async def _message(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    found = _LENGTH.search(head)
    return await reader.readexactly(int(found[1]) if found else 0)


async def _send(host: str, port: int, numbers: "count[int]", payouts: int, request: str) -> None:
    reader, writer = await asyncio.open_connection(host, port)
    while (number := next(numbers)) < payouts:
        body = request.replace("{number}", str(number)).encode()
        head = f"POST /mminterface/request HTTP/1.1\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        answer = await _message(reader)
        if b"<ResponseCode>0<" not in answer:
            raise RuntimeError(f"not accepted: {answer.decode()}")
    writer.close()
    await writer.wait_closed()


def _filled(settings: SimulatorSettings, certificate: bytes, url: str) -> str:
    stamp = dt.datetime.now(dt.UTC).strftime("%Y%m%d%H%M%S")
    secret = f"{settings.sp_id}{settings.sp_password}{stamp}".encode()
    key = x509.load_pem_x509_certificate(certificate).public_key()
    if not isinstance(key, rsa.RSAPublicKey):
        raise TypeError("the simulator's certificate holds no RSA key")
    sealed = key.encrypt(settings.initiator_password.encode(), padding.PKCS1v15())
    return _REQUEST.format(
        sp_id=settings.sp_id,
        digest=base64.b64encode(hashlib.sha256(secret).hexdigest().upper().encode()).decode(),
        stamp=stamp,
        short_code=settings.short_codes[0],
        url=url,
        username=settings.initiator_username,
        credential=base64.b64encode(sealed).decode(),
    )


async def measure(payouts: int) -> dict[str, Any]:
    """Guarantees the simulator's CPU in microseconds per payout, from its own clock."""
    callbacks = _Callbacks(payouts)
    server, url = await callbacks.start()
    with TemporaryDirectory() as folder:
        path = Path(folder) / "certificate.pem"
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "ops.simulator"),
            stdout=asyncio.subprocess.PIPE,
            env=os.environ | {f"{PREFIX}PORT": "0", f"{PREFIX}CERTIFICATE": str(path)},
        )
        try:
            return await _measured(process, callbacks, payouts, (url, path))
        finally:
            process.terminate()
            await process.wait()
            server.close()
            await callbacks.gone()


async def _measured(
    process: asyncio.subprocess.Process,
    callbacks: _Callbacks,
    payouts: int,
    made: tuple[str, Path],
) -> dict[str, Any]:
    if process.stdout is None:
        raise RuntimeError("the simulator has no output")
    ready = json.loads(await process.stdout.readline())
    url, path = made
    request = _filled(SimulatorSettings(), path.read_bytes(), url)
    before = await asyncio.to_thread(_statistics, ready["admin_url"])
    host, port = ready["url"].split("/")[2].split(":")
    numbers = count()
    await asyncio.gather(
        *(_send(host, int(port), numbers, payouts, request) for _ in range(_CONNECTIONS))
    )
    await callbacks.complete.wait()
    after = await asyncio.to_thread(_statistics, ready["admin_url"])
    spent = after["cpu_s"] - before["cpu_s"]
    return {
        "payouts": after["paid"],
        "sum": after["sum"],
        "cpu_us_per_payout": round(spent / payouts * 1e6, 1),
    }


def _statistics(admin_url: str) -> dict[str, Any]:
    with urllib.request.urlopen(f"{admin_url}/statistics") as answer:  # noqa: S310 - our own
        found: dict[str, Any] = json.load(answer)
        return found


def main(arguments: list[str]) -> int:
    """Guarantees one JSON line on stdout with the figure."""
    payouts = int(arguments[0]) if arguments else 5000
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        print(json.dumps(runner.run(measure(payouts))))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
