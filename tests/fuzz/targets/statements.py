"""Organisation statements: encoding, layout, rows, and what each line tells."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from tempfile import mkdtemp
from typing import Final

from ops.cli.exits import CommandError
from ops.cli.statement.file import StatementFile
from ops.cli.statement.findings import Findings
from ops.cli.statement.lines import Line, LineReader
from ops.cli.statement.rows import Rows
from payouts.settings import ReconcileSettings
from tests.fuzz.mutators.octets import PLAIN
from tests.fuzz.mutators.tables import CSV
from tests.fuzz.oracle import Finding, Target, judge_text
from tests.fuzz.planted import MSISDN, NAME, PASSWORD
from tests.statements import HEADER

NOW: Final = datetime(2026, 11, 30, tzinfo=UTC)
SETTINGS: Final = ReconcileSettings.load({"PAYOUTS_DATABASE_URL": "postgresql://127.0.0.1/x"})
_FOLDER: Final[list[Path]] = []
_MOST_MINOR: Final = 10**18


def read(data: bytes) -> list[Line]:
    """Read a statement as `payouts reconcile` does; return the lines that can be compared."""
    if not _FOLDER or not _FOLDER[0].exists():
        _FOLDER[:] = [Path(mkdtemp(prefix="payouts-fuzz-"))]
    path = _FOLDER[0] / f"{os.getpid()}.csv"
    path.write_bytes(data)
    reader = LineReader(SETTINGS.statement_utc_offset, SETTINGS.statement_payments, NOW)
    findings = Findings(limit=50, sink=lambda _: None)
    with StatementFile(path, SETTINGS.statement_columns) as file:
        rows = Rows(file=file, reader=reader, findings=findings)
        lines = [line for batch in rows.batches(500) for line in batch]
    judge_text(repr(findings))
    return lines


def check(value: object, data: bytes) -> None:
    """See that a line tells only what can be compared with the books."""
    assert isinstance(value, list)
    for line in value:
        judge_text(repr(line))
        if not 0 <= line.minor < _MOST_MINOR or line.at.utcoffset() is None:
            raise Finding(f"a line that cannot be compared, of {data[:200]!r}")
        for text in (line.receipt, *line.own_ids, *line.conversation_ids, *line.receipts):
            if not text.isascii() or "\x00" in text:
                raise Finding(f"an id that the database cannot be asked for, of {data[:200]!r}")


def seeds() -> Sequence[bytes]:
    """Give statements as portals write them."""
    rows = [
        ("RKT1AAAAA1", "29-11-2026 10:00:00", "", f"Salary to {MSISDN} - {NAME}", "Completed", "",
         "-1,250.50", "98000.00", "true", "Salary Payment", f"{MSISDN} - {NAME}", "", ""),
        ("RKT1AAAAA2", "29-11-2026 10:00:01", "", "600000_ORG_p-1", "Completed", "", "-10.00",
         "97990.00", "true", "Business Payment to Customer via API", "", "", ""),
        ("RKT1AAAAA2", "29-11-2026 10:00:01", "", f"Charge {PASSWORD}", "Completed", "", "-1.00",
         "97989.00", "true", "B2C Charge", "", "", ""),
        ("RKT1AAAAA3", "29-11-2026 10:00:02", "", "Reversal of RKT1AAAAA1", "Completed", "10.00",
         "", "98000.00", "true", "Reversal", "", "RKT1AAAAA1", ""),
    ]  # fmt: skip
    quoted = "\n".join(",".join(f'"{cell}"' for cell in row) for row in (HEADER, *rows))
    plain = f"Account Holder,{NAME}\nShort Code,600000\n\n{quoted}\n"
    texts = (plain, quoted, quoted.replace(",", ";"), ",".join(HEADER), "", "a,b\n1,2\n")
    return [*(text.encode() for text in texts), plain.encode("utf-16"), b"%PDF", b"PK\x03\x04"]


TARGET: Final = Target(
    name="statements",
    read=read,
    errors=(CommandError,),
    check=check,
    seeds=seeds,
    tokens=(b"Receipt No.", b"Completion Time", b"Withdrawn", b"Details", b'"', b"-1,250.50"),
    mutators=(*CSV, *CSV, *PLAIN),
    most=100_000,
    s_per_kib=0.012,
    free=4 * 1024 * 1024,
)
