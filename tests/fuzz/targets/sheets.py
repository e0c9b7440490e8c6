"""Files of `payouts send`: header, rows, the whole first pass, the second pass."""

from __future__ import annotations

import asyncio
import csv
import io
import os
from collections.abc import Sequence
from pathlib import Path
from tempfile import mkdtemp
from typing import Final

from ops.cli.exits import CommandError
from ops.cli.sending import telling
from ops.cli.sending.check import Check, batches_of
from ops.cli.sending.columns import read_columns
from ops.cli.sending.csv_file import CsvFile
from ops.cli.sending.rows import Defaults, RowReader
from payouts.domain.commands import Command, validate
from tests.fuzz.mutators.octets import PLAIN
from tests.fuzz.mutators.tables import CSV
from tests.fuzz.oracle import Finding, Target, judge_text
from tests.fuzz.planted import MSISDN, NAME, NATIONAL, PASSWORD
from tests.fuzz.targets.commands import RULES, fields_of

_FOLDER: Final[list[Path]] = []
_COLUMNS: Final = ("payout_id", "amount", "msisdn", "command_id", "run_id", "remark", "occasion")
_LISTED: Final = 20


def read(data: bytes) -> list[Command]:
    """Read a file as `payouts send` does; return what it would publish."""
    with CsvFile(_file(data)) as table:
        columns, problems = read_columns(table.header)
        if problems:
            raise CommandError(f"file, line 1: {'; '.join(problems)}.")
        defaults = Defaults(run_id=f"run-{table.digest()[:16]}", account="default")
        reader = RowReader(columns, defaults, {"default": RULES})
        findings = asyncio.run(Check(table, reader, limit=_LISTED).run(None, lambda _: None))
        for line in telling.problem_lines(findings):
            judge_text(line)
        if findings.problem_count:
            raise CommandError("; ".join(map(str, findings.problems)))
        second = [reader.fields(row) for rows in batches_of(table) for row in rows]
        commands = [validate(fields, RULES) for fields in second]
        if len(commands) != findings.new_count:
            raise Finding(f"the second pass has {len(commands)} rows: {data[:200]!r}")
        return commands


def check(value: object, data: bytes) -> None:
    """See that the same rows in a plain file give the same commands."""
    assert isinstance(value, list)
    if not value or any(one.metadata or one.not_after for one in value):
        return
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(_COLUMNS)
    for command in value:
        fields = fields_of(command)
        writer.writerow([fields[name] or "" for name in _COLUMNS])
    if any("\r" in (one.remark or "") + (one.occasion or "") for one in value):
        return  # A lone CR ends a line in a quoted cell; it comes back, but not from here.
    if read(file.getvalue().encode()) != value:
        raise Finding(f"written anew it means something else: {data[:200]!r}")


def _file(data: bytes) -> Path:
    if not _FOLDER or not _FOLDER[0].exists():
        _FOLDER[:] = [Path(mkdtemp(prefix="payouts-fuzz-"))]
    path = _FOLDER[0] / f"{os.getpid()}.csv"
    path.write_bytes(data)
    return path


def seeds() -> Sequence[bytes]:
    """Give files that are right, damaged by a spreadsheet, or full of personal data."""
    plain = f"payout_id,amount,msisdn\na,10,{MSISDN}\nb,2.50,{NATIONAL}\n"
    full = (
        "payout_id,amount,msisdn,command_id,run_id,remark,not_after,metadata.name\n"
        f'"x-1",1250.50,+{MSISDN},SalaryPayment,r1,"Salary, ""Nov""",'
        f"2026-11-30T17:00:00+03:00,{NAME}\n"
    )
    damaged = f'phone,sum,name\n2.54712E+11,"1,250.50",{NAME}\n712345678,x,{PASSWORD}\n'
    headless = f"{MSISDN},10,{NAME}\n{NATIONAL},20,{PASSWORD}\n"
    wrong = f"amount;msisdn\n{NAME};{PASSWORD}\n10;{MSISDN}1\n{MSISDN};10\n"
    many = "amount,msisdn\n" + "".join(f"{n}.25,2547{n:08}\n" for n in range(1, 60))
    texts = (plain, full, damaged, headless, wrong, many, "", "\n\n", "amount,msisdn")
    return [
        *(text.encode() for text in texts),
        plain.encode("utf-8-sig"),
        plain.encode("utf-16"),
        b"amount,msisdn,remark\r\n10,254712345678,\xe9t\xe9\r\n",
        b"PK\x03\x04",
    ]


TARGET: Final = Target(
    name="sheets",
    read=read,
    errors=(CommandError,),
    check=check,
    seeds=seeds,
    tokens=(b"amount", b"msisdn", b"metadata.", b"payout_id", b'""', b"\r\n", b"2547", b";", b"\t"),
    mutators=(*CSV, *CSV, *PLAIN),
    most=100_000,
    s_per_kib=0.012,
    free=4 * 1024 * 1024,
)
