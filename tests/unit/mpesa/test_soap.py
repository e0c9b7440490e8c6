"""Messages of strangers: every shape is read, every hostile one refused, all within bounds."""

from __future__ import annotations

import time
import xml.etree.ElementTree as ET
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payouts.domain.errors import MessageTooLargeError, UnreadableMessageError
from payouts.mpesa.queries import parse_broker_record
from payouts.mpesa.responses import parse_response
from payouts.mpesa.results import parse_result
from payouts.mpesa.soap import SoapFaultError, inner_document
from payouts.mpesa.timeouts import parse_queue_timeout
from tests.fixtures.mpesa.messages import (
    API,
    SOAP,
    carried,
    envelope,
    response,
    response_message,
    result,
)

Parser = Callable[[bytes], object]
PARSERS: list[Parser] = [parse_response, parse_result, parse_queue_timeout, parse_broker_record]
SECRET = "254712345678"
SIZE = 250_000
BOUND_S = 0.5


def told(inner: str, before: str = "", after: str = "") -> bytes:
    """Puts an inner document as CDATA between other text."""
    text = f"{before}<![CDATA[{inner}]]>{after}"
    return envelope(f'<r:ResponseMsg xmlns:r="{API}/request">{text}</r:ResponseMsg>').encode()


def escaped(inner: str) -> str:
    """Writes a document as text."""
    return inner.replace("&", "&amp;").replace("<", "&lt;")


DECLARED = '<?xml version="1.0" encoding="UTF-8"?>'
GOOD = response("0", ConversationID="AG_1")
SHAPES = {
    "cdata": told(GOOD),
    "cdata with declaration": told(DECLARED + GOOD),
    "blanks before the inner declaration": told(f"\n      {DECLARED}\n {GOOD}\n"),
    "blanks around the cdata": told(GOOD, "\n   ", "\n   "),
    "comment before the inner declaration": told(f"<!-- answer -->{DECLARED}{GOOD}"),
    "escaped text": envelope(f"<ResponseMsg>{escaped(GOOD)}</ResponseMsg>").encode(),
    "two pieces of cdata": told(GOOD[:30] + "]]><![CDATA[" + GOOD[30:]),
    "real elements": envelope(f"<ResponseMsg>{GOOD}</ResponseMsg>").encode(),
    "real elements after a declaration and a left-over end of cdata": envelope(
        f"<ResponseMsg><!-- <![CDATA[ -->{DECLARED}{GOOD} ]]></ResponseMsg>"
    ).encode(),
    "declaration in single quotes": b"<?xml version='1.0' encoding='utf-8'?>" + told(GOOD),
    "comment before the declaration": f"<!-- body -->\n{DECLARED}".encode() + told(GOOD),
    "blanks before the declaration": f" \r\n\t{DECLARED}".encode() + told(GOOD),
    "utf-8 mark": b"\xef\xbb\xbf" + told(GOOD),
    "utf-16": told(GOOD).decode().encode("utf-16"),
    "utf-16 with declaration": (
        '<?xml version="1.0" encoding="UTF-16"?>' + told(GOOD).decode()
    ).encode("utf-16"),
    "utf-16 big-endian": b"\xfe\xff" + told(GOOD).decode().encode("utf-16-be"),
    "utf-16 declared, but not": b'<?xml version="1.0" encoding="utf-16"?>' + told(GOOD),
    "latin-1": b'<?xml version="1.0" encoding="ISO-8859-1"?>' + told(GOOD),
    "G1": (
        f'<s:Envelope xmlns:s="{SOAP}"><s:Body><ResponseMsg xmlns="{API}/request"><![CDATA['
        f'<Response xmlns="{API}/response"><ResponseCode>0</ResponseCode>'
        "<ConversationID>AG_1</ConversationID></Response>]]></ResponseMsg></s:Body></s:Envelope>"
    ).encode(),
    "G2 without inner namespace": told(
        "<Response><ResponseCode>0</ResponseCode><ConversationID>AG_1</ConversationID></Response>"
    ),
    "core's own namespace": told(GOOD).replace(
        f"{API}/request".encode(), b"http://cps.huawei.com/cpsinterface/request"
    ),
    "other case": told(GOOD.replace("ResponseCode", "responsecode").replace("ID>", "Id>")),
    "raw ampersand": told(GOOD.replace("</response>", "<X>a & b&c=1 &#38; &amp;</X></response>")),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_of_a_message_is_read(shape: str) -> None:
    """CDATA, text, elements; declarations, marks and encodings; G1 and G2; either case."""
    answer = parse_response(SHAPES[shape])
    assert answer.code == "0"
    assert answer.conversation_id == "AG_1"


def test_latin_1_texts_are_read_as_declared() -> None:
    """A declared ISO-8859-1 body gives its letters."""
    head = '<?xml version="1.0" encoding="iso-8859-1"?>'
    body = head + told(response("0", ResponseDesc="succès")).decode()
    assert parse_response(body.encode("latin-1")).description == "succès"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("A|1.00&B|2.00", "A|1.00&B|2.00"),
        ("a &amp; b & c", "a & b & c"),
        ("&nbsp;", "&nbsp;"),
        ("&#65;&#x42;&", "AB&"),
    ],
)
def test_a_raw_ampersand_is_repaired_and_nothing_else(value: str, expected: str) -> None:
    """Official samples have them inside of inner documents (protocol.md §4.3)."""
    document = result("0", [("DebitPartyAffectedAccountBalance", value)])
    read = parse_result(carried("ResultMsg", document, "result"))
    assert read.parameters["DebitPartyAffectedAccountBalance"] == expected


def test_a_document_with_more_than_raw_ampersands_wrong_is_refused() -> None:
    """Only that is repaired, and only once."""
    with pytest.raises(UnreadableMessageError):
        parse_response(told(GOOD.replace("AG_1", "AG & <1")))


BOMB = (
    '<!DOCTYPE lol [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">'
    '<!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;"><!ENTITY d "&c;&c;&c;&c;&c;&c;&c;&c;">]>'
)
EXTERNAL = '<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>'
HOSTILE = {
    "nothing": b"",
    "blanks": b"  \n ",
    "text": b"hello",
    "json": b'{"Result": {}}',
    "html": b"<!doctype html><html><body>no</body></html>",
    "html with DOCTYPE": b"<!DOCTYPE html><html/>",
    "no envelope": GOOD.encode(),
    "no body": f'<e:Envelope xmlns:e="{SOAP}"/>'.encode(),
    "empty body": envelope("").encode(),
    "another message": envelope("<Other/>").encode(),
    "an empty message": envelope("<ResponseMsg/>").encode(),
    "text in the message": envelope("<ResponseMsg>hello</ResponseMsg>").encode(),
    "another document": told("<Other><ResponseCode>0</ResponseCode></Other>"),
    "another element": envelope("<ResponseMsg><Other/></ResponseMsg>").encode(),
    "no code": told("<response><ResponseDesc>x</ResponseDesc></response>"),
    "two codes": told(
        "<response><ResponseCode>0</ResponseCode><ResponseCode>1</ResponseCode></response>"
    ),
    "a long code": told(response("9" * 513)),
    "escaped twice": envelope(f"<ResponseMsg>{escaped(escaped(GOOD))}</ResponseMsg>").encode(),
    "entities in the envelope": BOMB.encode() + envelope("<ResponseMsg>&d;</ResponseMsg>").encode(),
    "entities inside": told(BOMB + response("&d;")),
    "external entity": EXTERNAL.encode() + envelope("<ResponseMsg>&e;</ResponseMsg>").encode(),
    "external entity inside": told(
        EXTERNAL + "<response><ResponseCode>&e;</ResponseCode></response>"
    ),
    "DOCTYPE after a comment": b"<!-- x --><!DOCTYPE a>" + told(GOOD),
    "DOCTYPE in UTF-16": ("<!DOCTYPE a>" + told(GOOD).decode()).encode("utf-16"),
    "DOCTYPE in escaped text": envelope(
        f"<ResponseMsg>{escaped('<!DOCTYPE a>' + GOOD)}</ResponseMsg>"
    ).encode(),
    "unknown entity": envelope("<ResponseMsg>&unknown;</ResponseMsg>").encode(),
    "truncated": told(GOOD)[:-40],
    "truncated in the cdata": told(GOOD)[:150],
    "cdata in cdata": told(f"<![CDATA[{GOOD}]]>"),
    "invalid utf-8": told(GOOD).replace(b"AG_1", b"AG_\xff\xfe"),
    "half a surrogate": b"\xff\xfe\x3c\x00\x00\xd8",
    "unknown encoding": b'<?xml version="1.0" encoding="EBCDIC-XX"?>' + told(GOOD),
    "utf-7": b'<?xml version="1.0" encoding="utf-7"?>' + told(GOOD),
    "nul": told(GOOD).replace(b"AG_1", b"AG\x00"),
    "control character": told(GOOD.replace("AG_1", "\x01")),
    "open declaration": b"<?xml version='1.0'",
    "open comment": b"<!-- " + told(GOOD),
    "open comment within": envelope("<ResponseMsg><!-- </ResponseMsg>").encode(),
}


@pytest.mark.parametrize("parser", PARSERS, ids=lambda parser: parser.__name__)
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_or_broken_message_is_refused(name: str, parser: Parser) -> None:
    """No parser raises anything else, whatever comes.

    Proved: without the refusal of DOCTYPE the entity cases are read and fail here.
    """
    with pytest.raises(UnreadableMessageError):
        parser(HOSTILE[name])


ENORMOUS = {
    "10 MB": b"<a>" + b"x" * 10_000_000 + b"</a>",
    "deep": envelope("<a>" * 10_000 + "</a>" * 10_000).encode(),
    "deep inside": told("<a>" * 10_000 + "</a>" * 10_000),
    "33 levels": told(GOOD.replace("</response>", f"{'<a>' * 33}{'</a>' * 33}</response>")),
    "1,000,000 elements": envelope("<a/>" * 1_000_000).encode(),
    "60,000 elements": envelope("<a/>" * 60_000).encode(),
    "60,000 elements inside": told(GOOD.replace("</resp", f"{'<a/>' * 60_000}</resp")),
    "endless attribute": f"<a b='{'x' * SIZE}".encode(),
    "open comments": b"<!--" * (SIZE // 4),
    "open comments after a start": b"<a>" + b"<!--" * (SIZE // 4),
    "open cdata": b"<a>" + b"<![CDATA[" * (SIZE // 9),
    "open declarations": b"<a>" + b"<?xml " * (SIZE // 6),
    "ends of cdata": b"<a>" + b"]]>" * (SIZE // 3),
    "comments without end": b"<!---->" * (SIZE // 7),
    "ampersands": told("<response>" + "&" * (SIZE - 500) + "<"),
    "ampersands that look like entities": told("<response>" + "&#1234567" * (SIZE // 10) + "<"),
    "blanks": b" " * SIZE,
    "blanks before a declaration": b" " * (SIZE - 10) + b"<?xml",
    "marks": "\ufeff".encode() * (SIZE // 3),
    "many namespaces": (
        "<a " + " ".join(f'xmlns:n{n}="urn:{n}"' for n in range(8_000)) + "/>"
    ).encode(),
    "many attributes": ("<a " + " ".join(f'a{n}="1"' for n in range(20_000)) + "/>").encode(),
    "quotes in a declaration": b'<?xml encoding="' + b"x" * SIZE,
    "long names": f"<{'a' * SIZE}/>".encode(),
}


@pytest.mark.parametrize("parser", PARSERS, ids=lambda parser: parser.__name__)
@pytest.mark.parametrize("name", ENORMOUS)
def test_an_enormous_message_is_refused_in_no_time(name: str, parser: Parser) -> None:
    """Size, depth, elements and every loop are bounded: no body takes longer than its size.

    Proved: without the bounds of depth and of elements, their cases are read as Responses.
    """
    start = time.process_time()
    with pytest.raises(UnreadableMessageError):
        parser(ENORMOUS[name])
    assert time.process_time() - start < BOUND_S


def test_too_large_is_told_apart() -> None:
    """The callback server answers 413 to what is too large and 400 to the rest."""
    with pytest.raises(MessageTooLargeError, match="262145 bytes"):
        parse_result(b"x" * (256 * 1024 + 1))


@pytest.mark.parametrize("parser", PARSERS, ids=lambda parser: parser.__name__)
@pytest.mark.parametrize(
    "body",
    [
        told(f"<response><Name>{SECRET}</response>"),
        envelope(f"<Name{SECRET}/>").encode(),
        told(f"<{'a' + SECRET}/>"),
        f"<{SECRET}".encode(),
        told(response("9" * 600 + SECRET)),
    ],
)
def test_an_error_never_repeats_the_message(parser: Parser, body: bytes) -> None:
    """Neither the error nor what it was raised from holds any of the text."""
    with pytest.raises(UnreadableMessageError) as caught:
        parser(body)
    assert SECRET not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_hostile_names_do_not_let_memory_grow() -> None:
    """A million names that were never seen before leave nothing behind in the process.

    Proved: with lxml, which keeps every name for good, this grows by tens of megabytes.
    """
    grown = []
    for turn in range(3):
        before = _resident_bytes()
        for number in range(60):
            names = "".join(f"<n{turn}x{number}x{k}{'z' * 40}/>" for k in range(3_000))
            with pytest.raises(UnreadableMessageError):
                parse_response(envelope(names).encode())
        grown.append(_resident_bytes() - before)
    assert min(grown) < 2_000_000


def _resident_bytes() -> int:
    with open("/proc/self/statm") as statm:  # noqa: PTH123 - not a file of ours
        return int(statm.read().split()[1]) * 4096


@pytest.mark.parametrize("parser", PARSERS, ids=lambda parser: parser.__name__)
@given(body=st.binary(max_size=400))
def test_arbitrary_bytes_are_refused_and_never_break_a_parser(parser: Parser, body: bytes) -> None:
    """Nothing but UnreadableMessageError comes out of a parser."""
    with pytest.raises(UnreadableMessageError):
        parser(body)


@given(
    at=st.integers(0, 400),
    piece=st.sampled_from(
        ["<", ">", "&", "]]>", "<![CDATA[", "<!--", "-->", "\x00", "<!DOCTYPE a>", "&lt;", "\ufeff"]
    ),
)
def test_a_damaged_message_is_read_or_refused(at: int, piece: str) -> None:
    """A good message with one thing put into it breaks no parser; its code is never another."""
    good = told(DECLARED + GOOD).decode()
    damaged = (good[:at] + piece + good[at:]).encode()
    try:
        answer = parse_response(damaged)
    except UnreadableMessageError:
        return
    assert answer.code.strip("<>&]-\ufeff") in {"0", ""}


def test_a_soap_fault_tells_its_code_and_nothing_else() -> None:
    """The shape of the core's real fault; the code's prefix is bound to SOAP 1.2 (§3.3)."""
    fault = envelope(
        '<e:Fault xmlns:x="http://www.w3.org/2003/05/soap-envelope"><faultcode>x:Sender</faultcode>'
        f"<faultstring>about {SECRET}</faultstring><detail/></e:Fault>"
    )
    with pytest.raises(SoapFaultError, match="x:Sender") as caught:
        parse_response(fault.encode())
    assert SECRET not in str(caught.value)


def test_a_fault_code_that_is_none_is_left_out() -> None:
    """Anything may stand there; only what looks like a code is told."""
    fault = envelope(f"<e:Fault><faultcode>to {SECRET}!</faultcode></e:Fault>")
    with pytest.raises(SoapFaultError) as caught:
        parse_response(fault.encode())
    assert caught.value.code == ""


def test_half_a_character_is_refused() -> None:
    """No decoder lets one through; should a text hold one all the same, it is refused."""
    message = ET.Element("ResponseMsg")
    message.text = "\ud800" + GOOD
    with pytest.raises(UnreadableMessageError):
        inner_document(message, "response")


def test_a_message_of_exactly_the_bound_is_looked_at() -> None:
    """The bound itself is still allowed."""
    good = response_message("0")
    padded = good + b" " * (256 * 1024 - len(good))
    assert parse_response(padded).code == "0"
