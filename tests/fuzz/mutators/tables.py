"""Changes that leave CSV and TOML nearly valid: both are made of lines with cells."""

from __future__ import annotations

import re
from random import Random
from typing import Final

from tests.fuzz.mutators.octets import HOSTILE

_QUOTED: Final = re.compile(rb'"[^"\n]*"')
_TOML_VALUES: Final = (
    b"1",
    b"9" * 4301,
    b"0x" + b"f" * 4000,
    b"1e400",
    b"nan",
    b"true",
    b"1979-05-27T07:32:00Z",
    b"9999-12-31T23:59:60Z",
    b"[" * 3000,
    b"[" * 200 + b"]" * 200,
    b"{a = " * 1500 + b"1" + b"}" * 1500,
    b'"Planted-Passw0rd!"',
    b"'254712345678'",
    b'"""' + b"x\n" * 3000 + b'"""',
    b'"\\U0010FFFF"',
    b'"\\uD800"',
    b"{a = 1, a = 2}",
    b"(?:a|b",
    b'"(a+)+$"',
    b'"' + b"(" * 3000 + b'"',
    b'"a{99999999999999999999}"',
    b'"[[a]"',
)
_TOML_KEYS: Final = (
    b"tps",
    b"sp_password",
    b'"Planted-Passw0rd!"',
    b'"254712345678"',
    b"a" + b".a" * 3000,
    b"[default]",
    b"[[default]]",
    b"[x.y]",
    b'["Wanjiku Otieno"]',
    b"[" + b"a." * 2000 + b"a]",
    b'""',
    b"msisdn_pattern",
    b"utc_offset",
    b"max_amount",
)


def _lines(data: bytes) -> list[bytes]:
    return data.split(b"\n")


def repeat_line(data: bytes, random: Random) -> bytes:
    """Say a line again, some thousand times at most."""
    lines = _lines(data)
    at = random.randrange(len(lines))
    return b"\n".join(lines[:at] + [lines[at]] * random.choice((2, 3, 200, 2000)) + lines[at:])


def swap_lines(data: bytes, random: Random) -> bytes:
    """Exchange two lines."""
    lines = _lines(data)
    one, two = random.randrange(len(lines)), random.randrange(len(lines))
    lines[one], lines[two] = lines[two], lines[one]
    return b"\n".join(lines)


def line_ends(data: bytes, random: Random) -> bytes:
    """End lines otherwise."""
    return data.replace(b"\n", random.choice((b"\r\n", b"\r", b"\n\n", b"\n\r", b"\x0b", b"")))


def other_cell(data: bytes, random: Random) -> bytes:
    """Replace a cell by a hostile text, quoted or not."""
    lines = _lines(data)
    at = random.randrange(len(lines))
    cells = lines[at].split(b",")
    text = random.choice(HOSTILE).encode()
    if random.random() < 0.4:
        text = b'"' + text.replace(b'"', b'""') + random.choice((b'"', b"", b'"x'))
    cells[random.randrange(len(cells))] = text
    lines[at] = b",".join(cells)
    return b"\n".join(lines)


def other_delimiter(data: bytes, random: Random) -> bytes:
    """Separate cells otherwise, everywhere or in one line."""
    other = random.choice((b";", b"\t", b"|", b" ", b",,"))
    return data.replace(b",", other, random.choice((-1, 1, 3)))


def columns(data: bytes, random: Random) -> bytes:
    """Add columns: known, unknown, the same again, very many."""
    names = random.choice(
        (
            [b"metadata.x"],
            [b"run_id", b"account"],
            [b"amount"],
            [b"metadata."],
            [b"254712345678"],
            [b"Wanjiku Otieno"],
            [b"c%x" % n for n in range(20_000)],
            [b"metadata.k%x" % n for n in range(12_000)],
            [b"amount"] * 30_000,
            [b""] * 60_000,
        )
    )
    lines = _lines(data)
    lines[0] = lines[0] + b"," + b",".join(names)
    for at in range(1, min(len(lines), 50)):
        if lines[at]:
            lines[at] += b",1" * min(len(names), 3)
    return b"\n".join(lines)


def quotation(data: bytes, random: Random) -> bytes:
    """Open a quotation, or close one that nobody opened."""
    at = random.randint(0, len(data))
    return data[:at] + random.choice((b'"', b'""', b'"""', b"'''", b'"\n"', b"\\")) + data[at:]


def setting(data: bytes, random: Random) -> bytes:
    """Add a line `key = value` of strange parts."""
    line = random.choice(_TOML_KEYS) + random.choice((b" = ", b"=", b"\n")) + _value(random)
    lines = _lines(data)
    lines.insert(random.randint(0, len(lines)), line)
    return b"\n".join(lines)


def other_value(data: bytes, random: Random) -> bytes:
    """Replace a quoted value."""
    found = list(_QUOTED.finditer(data))
    if not found:
        return data
    one = random.choice(found)
    return data[: one.start()] + _value(random) + data[one.end() :]


def _value(random: Random) -> bytes:
    return random.choice(_TOML_VALUES)


CSV: Final = (
    repeat_line,
    swap_lines,
    line_ends,
    other_cell,
    other_delimiter,
    columns,
    quotation,
)
TOML: Final = (repeat_line, swap_lines, line_ends, quotation, setting, other_value)
