"""Reads SOAP envelopes of strangers within bounds of size, depth, elements and time.

Every step looks at each character a fixed number of times, so that no body, however it is made,
takes more than its size in time. Documents are read with expat: libxml2, as lxml binds it, keeps
every element name it ever met in a table of the process that is never emptied, so that hostile
names would let memory grow without end; expat keeps nothing.
"""

from __future__ import annotations

import codecs
import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from typing import Final

from payouts.domain.errors import MessageTooLargeError, UnreadableMessageError

MAX_BODY_BYTES: Final = 256 * 1024
MAX_ELEMENTS: Final = 4096
MAX_DEPTH: Final = 32
MAX_ATTRIBUTES: Final = 2048
MAX_ATTRIBUTE: Final = 256
MAX_FIELD: Final = 512

_DOCTYPE: Final = "<!DOCTYPE"
_DECLARED: Final = re.compile(rb"""\s*<\?xml\s[^>]{0,64}?encoding\s*=\s*["']([\w.:-]{1,40})["']""")
_ENCODINGS: Final[Mapping[str, str]] = {
    "utf-8": "utf-8",
    "utf8": "utf-8",
    "us-ascii": "utf-8",
    "iso-8859-1": "latin-1",
    "latin1": "latin-1",
    "latin-1": "latin-1",
    "windows-1252": "cp1252",
}
_BOMS: Final = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_RAW_AMPERSAND: Final = re.compile(r"&(?!(?:amp|lt|gt|quot|apos|#[0-9]{1,7}|#x[0-9A-Fa-f]{1,6});)")
_BLANKS: Final = re.compile("[ \t\r\n\ufeff]+")
# A parser repeats a namespace in front of each name of it, so a long one, used often, would take
# thousands of times the body's size in memory and time.
_LONG_ATTRIBUTE: Final = re.compile(
    rf"""=\s*+(?:"[^"<]{{{MAX_ATTRIBUTE + 1}}}|'[^'<]{{{MAX_ATTRIBUTE + 1}}})"""
)
_FAULT_CODE: Final = re.compile(r"[A-Za-z0-9_.:-]{1,64}")


class SoapFaultError(UnreadableMessageError):
    """The gateway answered with a SOAP fault; what became of the request is not told."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


def body_children(body: bytes, *, limit: int = MAX_BODY_BYTES) -> list[ET.Element]:
    """Return the elements in the SOAP Body of a message, of which there is at least one.

    Args:
        body: the HTTP body: UTF-8, UTF-16 with its mark, or declared ISO-8859-1.
        limit: the most bytes that are looked at.

    Raises:
        MessageTooLargeError: the body is larger than `limit`.
        SoapFaultError: the Body holds a Fault.
        UnreadableMessageError: anything else that is not such a message. No text of the
            message is ever repeated in an error.
    """
    if len(body) > limit:
        raise MessageTooLargeError(f"It has {len(body)} bytes, {limit} are taken.")
    envelope = _read_envelope(_decode(body))
    if local_name(envelope) != "envelope":
        raise UnreadableMessageError("Its root is not a SOAP Envelope.")
    for part in envelope:
        if local_name(part) == "body":
            children = list(part)
            break
    else:
        raise UnreadableMessageError("It has no SOAP Body.")
    if not children:
        raise UnreadableMessageError("Its SOAP Body is empty.")
    if local_name(children[0]) == "fault":
        raise SoapFaultError(_fault_code(children[0]))
    return children


def inner_document(message: ET.Element, root_name: str) -> ET.Element:
    """Return the document inside a message element: in CDATA, escaped text or real elements.

    Args:
        message: the element in the SOAP Body, such as ResponseMsg.
        root_name: the local name that the document's root must have, in lower case.

    Raises:
        UnreadableMessageError: there is no such document.
    """
    if len(message):
        for child in message:
            if local_name(child) == root_name:
                return child
        raise UnreadableMessageError(f"It has no {root_name} document.")
    text = _after_prolog(message.text or "")
    try:
        root = _parse(text)
    except ET.ParseError:
        # Two of three official Results carry a raw `&` (protocol.md §4.3): only that is
        # repaired, and only once.
        root = _parse_repaired(_RAW_AMPERSAND.sub("&amp;", text))
    if local_name(root) != root_name:
        raise UnreadableMessageError(f"It has no {root_name} document.")
    return root


def local_name(element: ET.Element) -> str:
    """Return an element's name without its namespace, in lower case."""
    return element.tag.rpartition("}")[2].lower()


def text_of(element: ET.Element) -> str:
    """Return an element's own text, trimmed; nil, empty and missing are all the empty text."""
    return (element.text or "").strip()


def fields_of(element: ET.Element) -> dict[str, str]:
    """Return the trimmed texts of an element's children by local name in lower case.

    Raises:
        UnreadableMessageError: a name stands there twice with different texts, so that nobody
            can say which one counts; or a text is longer than any field of the interface.
    """
    fields: dict[str, str] = {}
    for child in element:
        name = local_name(child)
        text = text_of(child)
        if fields.setdefault(name, text) != text:
            raise UnreadableMessageError("A field stands in it twice, differently.")
    return fields


def short(fields: Mapping[str, str], name: str) -> str | None:
    """Return a field that is an id or a code, or None where it is missing or empty.

    Raises:
        UnreadableMessageError: it is longer than any id or code is.
    """
    text = fields.get(name)
    if not text:
        return None
    if len(text) > MAX_FIELD:
        raise UnreadableMessageError("A code or id in it is too long.")
    return text


def _decode(body: bytes) -> str:
    encoding = "utf-8"
    for mark, name in _BOMS:
        if body.startswith(mark):
            encoding = name
            break
    else:
        declared = _DECLARED.match(body)
        if declared is not None:
            label = declared[1].decode("ascii", "replace").lower()
            # A declaration that can be read as ASCII is not in UTF-16, whatever it says.
            encoding = "utf-8" if label.startswith("utf-16") else _ENCODINGS.get(label, "")
    try:
        return body.decode(encoding)
    except (UnicodeDecodeError, LookupError):
        raise UnreadableMessageError("Its encoding cannot be read.") from None


def _read_envelope(text: str) -> ET.Element:
    text = _after_prolog(text)
    try:
        return _parse(text)
    except ET.ParseError:
        return _parse_repaired(_without_stray_markup(text))


def _parse(text: str) -> ET.Element:
    """Return the root; ET.ParseError where it is not well-formed, so that it can be repaired."""
    if _DOCTYPE in text:
        raise UnreadableMessageError("It has a DOCTYPE.")
    if text.count("<") > 2 * MAX_ELEMENTS:
        raise UnreadableMessageError("It has too many elements.")
    if text.count("=") > MAX_ATTRIBUTES or _LONG_ATTRIBUTE.search(text):
        raise UnreadableMessageError("It has too many attributes, or one that is too long.")
    # Safe: there is no DOCTYPE, hence no entity; expat reads no files and no network.
    parser = ET.XMLParser()  # noqa: S314
    try:
        parser.feed(text)
        root = parser.close()
    except (ValueError, LookupError):
        raise UnreadableMessageError("It is not XML.") from None
    level = [root]
    for _ in range(MAX_DEPTH):
        level = [child for element in level for child in element]
        if not level:
            return root
    raise UnreadableMessageError("Its elements are nested too deeply.")


def _parse_repaired(text: str) -> ET.Element:
    try:
        return _parse(text)
    except ET.ParseError:
        raise UnreadableMessageError("It is not well-formed XML.") from None


def _after_prolog(text: str) -> str:
    """Return what follows the XML declaration, also where blanks or comments stand before it."""
    at = 0
    while True:
        at = _after_blanks(text, at)
        if text.startswith("<?xml", at):
            end, width = text.find("?>", at), 2
        elif text.startswith("<!--", at):
            end, width = text.find("-->", at), 3
        else:
            return text[at:]
        if end < 0:
            raise UnreadableMessageError("It is not well-formed XML.")
        at = end + width


def _after_blanks(text: str, at: int) -> int:
    found = _BLANKS.match(text, at)
    return found.end() if found else at


def _without_stray_markup(text: str) -> str:
    """Return the text without comments, XML declarations and lone `]]>` outside of CDATA.

    Where the inner document stands as real elements, its own declaration and a left-over end of
    CDATA may stand in the middle.
    """
    kept: list[str] = []
    at = 0
    for found in re.finditer(r"<!--|<!\[CDATA\[|<\?xml\s|\]\]>", text):
        if found.start() < at:
            continue
        kept.append(text[at : found.start()])
        mark = found[0]
        if mark == "]]>":
            at = found.end()
            continue
        close = {"<!--": "-->", "<![CDATA[": "]]>"}.get(mark, "?>")
        end = text.find(close, found.end())
        if end < 0:
            raise UnreadableMessageError("It is not well-formed XML.")
        at = end + len(close)
        if mark == "<![CDATA[":
            kept.append(text[found.start() : at])
    kept.append(text[at:])
    return "".join(kept)


def _fault_code(fault: ET.Element) -> str:
    """Return the fault's code where it looks like one; its string may repeat our request."""
    code = fields_of(fault).get("faultcode", "")
    return code if _FAULT_CODE.fullmatch(code) else ""
