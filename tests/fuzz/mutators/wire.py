"""Changes that leave an HTTP request nearly valid."""

from __future__ import annotations

import zlib
from random import Random
from typing import Final

from tests.fuzz.mutators.markup import MARKUP

_END: Final = b"\r\n\r\n"
_HEADERS: Final = (
    b"Host: [::1",
    b"Host: a b",
    b"Host: \xff\xfe",
    b"Host: 127.0.0.1:99999999",
    b"Host: " + b"x" * 5000,
    b"Content-Length: 10",
    b"Content-Length: -1",
    b"Content-Length: 99999999999999999999",
    b"Content-Length: 1_0",
    b"Content-Length: 999999",
    b"Transfer-Encoding: chunked",
    b"Transfer-Encoding: gzip, chunked",
    b"Transfer-Encoding: identity",
    b"Content-Encoding: gzip",
    b"Content-Encoding: deflate",
    b"Content-Encoding: br",
    b"Content-Encoding: zstd",
    b"Content-Type: multipart/form-data; boundary=x",
    b"Content-Type: text/xml; charset=\xe9",
    b"Content-Type: ;;;;",
    b"Expect: 100-continue",
    b"Expect: 254712345678",
    b"Connection: upgrade\r\nUpgrade: websocket",
    b"Connection: close",
    b"X-Forwarded-For: 10.0.0.1, \xff, Wanjiku Otieno",
    b"X-Forwarded-For: " + b"1.1.1.1," * 900,
    b"Authorization: Basic Planted-Passw0rd!",
    b"Cookie: a=254712345678",
    b'SOAPAction: "\'"',
    b" folded: header",
    b"no colon at all",
    b": empty",
    b"x" * 9000 + b": 1",
)
_STARTS: Final = (
    b"POST /mpesa/result HTTP/1.1",
    b"POST /mpesa/timeout HTTP/1.1",
    b"POST /mpesa/result/ HTTP/1.1",
    b"POST /mpesa/%72esult HTTP/1.1",
    b"POST /mpesa/result?254712345678 HTTP/1.1",
    b"GET /mpesa/result?wsdl HTTP/1.1",
    b"GET /mpesa/result?WSDL=%ff&x=%00 HTTP/1.1",
    b"GET /mpesa/result HTTP/1.1",
    b"GET http://evil.example/mpesa/result?wsdl HTTP/1.1",
    b"GET http://[::1/mpesa/result?wsdl HTTP/1.1",
    b"GET //mpesa/result?wsdl HTTP/1.1",
    b"HEAD /mpesa/result HTTP/1.1",
    b"PUT /mpesa/result HTTP/1.1",
    b"CONNECT a:1 HTTP/1.1",
    b"OPTIONS * HTTP/1.1",
    b"POST /../mpesa/result HTTP/1.1",
    b"POST /mpesa/result HTTP/1.0",
    b"POST /mpesa/result HTTP/2.0",
    b"POST /mpesa/result",
    b"PRI * HTTP/2.0",
    b"\x16\x03\x01\x02\x00\x01\x00",
    b"POST /" + b"a" * 9000 + b" HTTP/1.1",
    b"GET /" + b"?" * 3000 + b" HTTP/1.1",
)
_BOMB: Final = 4 * 1024 * 1024


def _parts(data: bytes) -> tuple[list[bytes], bytes]:
    head, _, body = data.partition(_END)
    return head.split(b"\r\n"), body


def _joined(lines: list[bytes], body: bytes) -> bytes:
    return b"\r\n".join(lines) + _END + body


def start_line(data: bytes, random: Random) -> bytes:
    """Ask for something else, or in another way."""
    lines, body = _parts(data)
    return _joined([random.choice(_STARTS), *lines[1:]], body)


def header(data: bytes, random: Random) -> bytes:
    """Add a header, once or a hundred times, somewhere among the others."""
    lines, body = _parts(data)
    at = random.randint(1, len(lines))
    return _joined(
        lines[:at] + [random.choice(_HEADERS)] * random.choice((1, 1, 2, 100)) + lines[at:], body
    )


def headless(data: bytes, random: Random) -> bytes:
    """Leave a header out."""
    lines, body = _parts(data)
    if len(lines) > 1:
        del lines[random.randrange(1, len(lines))]
    return _joined(lines, body)


def measured(data: bytes, random: Random) -> bytes:
    """Change the body as XML and tell its length rightly."""
    lines, body = _parts(data)
    body = random.choice(MARKUP)(body, random)
    return _joined([*_unmeasured(lines), b"Content-Length: %d" % len(body)], body)


def chunked(data: bytes, random: Random) -> bytes:
    """Send the body in chunks, some of which lie about their size."""
    lines, body = _parts(data)
    step = random.choice((1, 7, 500, 4096))
    chunks = [body[at : at + step] for at in range(0, len(body), step)]
    sizes = [b"%x" % len(chunk) for chunk in chunks]
    if sizes and random.random() < 0.5:
        odd = random.choice((b"ffffffffffffffff", b"-1", b"0", b"1;" + b"x" * 9000, b"g", b"0x10"))
        sizes[random.randrange(len(sizes))] = odd
    sent = b"".join(
        size + b"\r\n" + chunk + b"\r\n" for size, chunk in zip(sizes, chunks, strict=True)
    )
    end = random.choice((b"0\r\n\r\n", b"0\r\nX: 1\r\n\r\n", b"0\r\n", b""))
    return _joined([*_unmeasured(lines), b"Transfer-Encoding: chunked"], sent + end)


def compressed(data: bytes, random: Random) -> bytes:
    """Compress the body, sometimes to a small part of its size."""
    lines, body = _parts(data)
    if random.random() < 0.5:
        body = body + b" " * _BOMB
    packer = zlib.compressobj(9, wbits=31)
    packed = packer.compress(body) + packer.flush()
    told = [*_unmeasured(lines), b"Content-Encoding: gzip", b"Content-Length: %d" % len(packed)]
    return _joined(told, packed)


def again(data: bytes, random: Random) -> bytes:
    """Send more requests over the same connection, without waiting."""
    return data * random.choice((2, 3, 40))


def _unmeasured(lines: list[bytes]) -> list[bytes]:
    return [line for line in lines if not line.lower().startswith(b"content-length")]


WIRE: Final = (start_line, header, headless, measured, measured, chunked, compressed, again)
