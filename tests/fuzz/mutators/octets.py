"""Changes that know nothing of a format: bytes, runs of digits, encodings."""

from __future__ import annotations

import codecs
import re
from random import Random
from typing import Final

_DIGITS: Final = re.compile(rb"\d+")
_RUNS: Final = (b"A", b" ", b"\n", b"9", b"<", b'"', b"&", b"[", b"{", b"=", b"\x00", b"\xff", b",")
HOSTILE: Final = (
    "",
    "0",
    "-1",
    "1e999",
    "NaN",
    "9" * 5000,
    "0." + "0" * 5000 + "1",
    "1" * 308 + ".5",
    "\u0661\u0662\u0663",  # Digits that are not ASCII.
    "\ufeff",
    "\u202e254712345678",
    "\x00",
    "\x1b[31m",
    "\x85\u2028",
    "e\u0301" * 300,
    "\U0001f4b8" * 80,
    "{Amount={BasicAmount=1.00, MinimumAmount=100, CurrencyCode=KES}}",
    "{Amount={" * 200,
    "254712345678 - Wanjiku Otieno",
    "Planted-Passw0rd!",
    "' OR 1=1 --",
    "../../../../etc/passwd",
    "%s%n{0.__class__}",
)


def _place(data: bytes, random: Random) -> int:
    return random.randint(0, len(data))


def _slice(data: bytes, random: Random) -> tuple[int, int]:
    start = _place(data, random)
    return start, min(len(data), start + random.choice((1, 2, 8, 40, 400)))


def flip(data: bytes, random: Random) -> bytes:
    """Change one byte."""
    if not data:
        return data
    at = random.randrange(len(data))
    return data[:at] + bytes([random.randrange(256)]) + data[at + 1 :]


def cut(data: bytes, random: Random) -> bytes:
    """Leave a slice out."""
    start, end = _slice(data, random)
    return data[:start] + data[end:]


def repeat(data: bytes, random: Random) -> bytes:
    """Repeat a slice, sometimes a thousand times."""
    start, end = _slice(data, random)
    times = random.choice((2, 3, 50, 1000))
    return data[:start] + data[start:end] * times + data[end:]


def truncate(data: bytes, random: Random) -> bytes:
    """Stop early."""
    return data[: _place(data, random)]


def swell(data: bytes, random: Random) -> bytes:
    """Put a long run of one character somewhere."""
    at = _place(data, random)
    return data[:at] + random.choice(_RUNS) * random.choice((10, 600, 5000, 70_000)) + data[at:]


def hostile(data: bytes, random: Random) -> bytes:
    """Put a text somewhere that other programs have stumbled over."""
    at = _place(data, random)
    return data[:at] + random.choice(HOSTILE).encode() + data[at:]


def longer_number(data: bytes, random: Random) -> bytes:
    """Make a run of digits very long."""
    runs = list(_DIGITS.finditer(data))
    if not runs:
        return data
    run = random.choice(runs)
    digits = random.choice((b"0" * 20, b"9" * 400, b"9" * 4301, b"1" * 20_000, b"-1", b"0", b""))
    return data[: run.start()] + digits + data[run.end() :]


def recode(data: bytes, random: Random) -> bytes:
    """Write the same text in another encoding, with or without its mark."""
    text = data.decode("utf-8", "replace")
    kind = random.choice(("utf-16", "utf-16-le", "utf-16-be", "utf-32", "latin-1", "bom", "utf-7"))
    if kind == "bom":
        return codecs.BOM_UTF8 * random.choice((1, 2)) + data
    return text.encode(kind, "replace")


def mangle(data: bytes, random: Random) -> bytes:
    """Put bytes in that are not UTF-8, or stand for surrogates."""
    at = _place(data, random)
    bad = random.choice((b"\xff\xfe", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\x80"))
    return data[:at] + bad + data[at:]


PLAIN: Final = (flip, cut, repeat, truncate, swell, hostile, longer_number, recode, mangle)
