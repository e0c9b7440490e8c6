"""Changes that leave XML nearly well-formed."""

from __future__ import annotations

import re
from random import Random
from typing import Final
from xml.sax.saxutils import escape

from tests.fuzz.mutators.octets import HOSTILE

_ELEMENT: Final = re.compile(rb"<((?:\w{1,20}:)?\w{1,40})[^<>]{0,300}>([^<>]{0,900})</\1\s{0,3}>")
_OPENING: Final = re.compile(rb"<(?:\w{1,20}:)?\w{1,40}(?=[\s/>])")
_NAMESPACE: Final = re.compile(rb"""(xmlns(?::\w+)?=["'])([^"']*)""")
_DOCTYPES: Final = (
    b"<!DOCTYPE a>",
    b'<!DOCTYPE a [<!ENTITY x "254712345678">]>',
    b'<!DOCTYPE a SYSTEM "file:///etc/passwd">',
    b'<!DOCTYPE a [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;">]>',
    b'<!doctype a [<!ENTITY % p SYSTEM "http://127.0.0.1:1/">%p;]>',
    b"<!ELEMENT a ANY>",
)
_PIECES: Final = (
    b"<![CDATA[",
    b"]]>",
    b"<!--",
    b"-->",
    b"--",
    b"<?xml version='1.0'?>",
    b"<?xml version='1.0' encoding='UTF-16'?>",
    b"<?xml version='1.0' encoding='cp037'?>",
    b"<?a b?>",
    b"&amp;",
    b"&x;",
    b"&",
    b"&#0;",
    b"&#xD800;",
    b"&#x10FFFF;",
    b"&#99999999999999999999;",
    b"&lt;Result&gt;",
)


def _pick(pattern: re.Pattern[bytes], data: bytes, random: Random) -> re.Match[bytes] | None:
    found = list(pattern.finditer(data))
    return random.choice(found) if found else None


def repeat_element(data: bytes, random: Random) -> bytes:
    """Say an element twice, the same or differently, or thousands of times."""
    found = _pick(_ELEMENT, data, random)
    if found is None:
        return data
    again = found[0]
    if random.random() < 0.5:
        again = again.replace(b">" + found[2] + b"<", b">other<", 1)
    return data[: found.end()] + again * random.choice((1, 2, 300, 5000)) + data[found.end() :]


def other_text(data: bytes, random: Random) -> bytes:
    """Put a hostile text into an element."""
    found = _pick(_ELEMENT, data, random)
    if found is None:
        return data
    text = escape(random.choice(HOSTILE)).encode()
    return data[: found.start(2)] + text + data[found.end(2) :]


def nest(data: bytes, random: Random) -> bytes:
    """Wrap an element many times in another."""
    found = _pick(_ELEMENT, data, random)
    if found is None:
        return data
    deep = random.choice((1, 3, 40, 3000, 20_000))
    name = random.choice((b"a", b"Result", b"r:ResultMsg"))
    wrapped = b"<" + name + b">"
    wrapped = wrapped * deep + found[0] + (b"</" + name + b">") * deep
    return data[: found.start()] + wrapped + data[found.end() :]


def attributes(data: bytes, random: Random) -> bytes:
    """Give an element many attributes, or a huge one, with prefixes or without."""
    found = _pick(_OPENING, data, random)
    if found is None:
        return data
    count = random.choice((1, 2, 500, 9000))
    prefix = random.choice((b"", b"p:"))
    uri = b' xmlns:p="' + b"u" * random.choice((1, 500, 513, 100_000)) + b'"' if prefix else b""
    value = b"v" * (random.choice((0, 1, 70_000)) if count < 3 else 0)
    many = b"".join(b' %sa%x="%s"' % (prefix, n, value) for n in range(count))
    return data[: found.end()] + uri + many + data[found.end() :]


def namespace(data: bytes, random: Random) -> bytes:
    """Change a namespace, to a very long one as well."""
    found = _pick(_NAMESPACE, data, random)
    if found is None:
        return data
    text = random.choice((b"", b"urn:x", b"http://www.w3.org/XML/1998/namespace", b"n" * 100_000))
    return data[: found.start(2)] + text + data[found.end(2) :]


def many_names(data: bytes, random: Random) -> bytes:
    """Add thousands of elements that all have names of their own, under a long namespace."""
    found = _pick(_ELEMENT, data, random)
    if found is None:
        return data
    uri = b"u" * random.choice((1, 400, 150_000))
    many = b"".join(b"<z:e%x/>" % n for n in range(random.choice((10, 3000, 7000))))
    added = b'<z:l xmlns:z="' + uri + b'">' + many + b"</z:l>"
    return data[: found.start()] + added + data[found.start() :]


def doctype(data: bytes, random: Random) -> bytes:
    """Declare a document type, with entities, before the root or somewhere else."""
    at = 0 if random.random() < 0.6 else random.randint(0, len(data))
    kind = random.choice(_DOCTYPES)
    use = random.choice((b"", b"&x;", b"&c;"))
    data = data[:at] + kind + data[at:]
    middle = data.find(b"</")
    return data[:middle] + use + data[middle:] if middle > 0 else data


def piece(data: bytes, random: Random) -> bytes:
    """Put a piece of markup somewhere, some of them out of place."""
    at = random.randint(0, len(data))
    return data[:at] + random.choice(_PIECES) + data[at:]


def unescape(data: bytes, random: Random) -> bytes:
    """Turn CDATA into real elements or escaped text, as some senders do."""
    start, end = data.find(b"<![CDATA["), data.find(b"]]>")
    if not 0 <= start < end:
        return data
    inner = data[start + 9 : end]
    if random.random() < 0.5:
        inner = escape(inner.decode("utf-8", "replace")).encode()
    return data[:start] + inner + data[end + 3 :]


MARKUP: Final = (
    repeat_element,
    other_text,
    nest,
    attributes,
    namespace,
    many_names,
    doctype,
    piece,
    unescape,
)
