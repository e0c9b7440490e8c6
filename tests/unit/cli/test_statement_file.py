"""Statement files: whatever was exported is read row by row; what is none is refused clearly."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ops.cli.exits import CommandError, UsageError
from ops.cli.statement.file import MAX_LINE, StatementFile
from ops.cli.statement.layout import cleaned
from payouts.settings import ReconcileSettings

HEADER = "Receipt No.,Completion Time,Details,Transaction Status,Paid In,Withdrawn"
ROW = 'UKR0000001,27-11-2026 12:00:00,"to JUMA ""JJ"" OTIENO, Nairobi",Completed,,"-1,250.00"'
Written = Callable[[bytes | str], Path]


@pytest.fixture
def written(tmp_path: Path) -> Written:
    """Gives a function that writes a statement."""

    def write(content: bytes | str) -> Path:
        path = tmp_path / "statement.csv"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


def read(path: Path, *columns: tuple[str, str]) -> list[tuple[int, dict[str, str]]]:
    with StatementFile(path, columns) as file:
        return [(number, file.layout.cells(row)) for number, row in file.rows()]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "cp1252"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_encodings_line_ends_and_preambles_are_no_obstacle(
    written: Written, encoding: str, end: str
) -> None:
    """The header is found behind other lines; line numbers are the file's."""
    lines = ["Organization Name:,Twigá Tea", "", HEADER, ROW, ",,,,,"]
    path = written(end.join(lines).encode(encoding))
    ((number, cells),) = read(path)
    assert number == 4
    assert cells == {
        "receipt": "UKR0000001",
        "completed": "27-11-2026 12:00:00",
        "details": 'to JUMA "JJ" OTIENO, Nairobi',
        "status": "Completed",
        "paid_in": "",
        "withdrawn": "-1,250.00",
    }


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
def test_delimiters_are_told_apart_by_the_header(written: Written, delimiter: str) -> None:
    """An amount's comma is then none of them."""
    row = delimiter.join(["UKR0000001", "27-11-2026 12:00", "x", "Completed", "", "1,250.00"])
    ((_, cells),) = read(written(f"{HEADER.replace(',', delimiter)}\n{row}\n"))
    assert cells["withdrawn"] == "1,250.00"


def test_a_setting_names_other_columns(written: Written) -> None:
    """What it does not name keeps its usual name; what it names must be there."""
    path = written("Trans. ID;When;Value;Status\nA123;2026-11-27 12:00;5.00;Paid\n")
    columns = (("receipt", "Trans. ID"), ("completed", "When"), ("amount", "Value"))
    ((_, cells),) = read(path, *columns)
    assert (cells["receipt"], cells["amount"], cells["status"]) == ("A123", "5.00", "Paid")
    with pytest.raises(UsageError, match="no column 'Customer'"):
        read(path, *columns, ("party", "Customer"))


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("receipt=Trans. ID, amount=Value", (("receipt", "Trans. ID"), ("amount", "Value"))),
        ("details = Was = Grund ", (("details", "Was = Grund"),)),
        ("", ()),
    ],
)
def test_the_setting_is_pairs(text: str, columns: tuple[tuple[str, str], ...]) -> None:
    """Field and column, separated by commas."""
    environ = {"PAYOUTS_DATABASE_URL": "postgresql://a@b/c", "PAYOUTS_STATEMENT_COLUMNS": text}
    assert ReconcileSettings.load(environ).statement_columns == columns


@pytest.mark.parametrize("text", ["receipt", "receipt=", "=x", "nonsense=X", "amount=a,amount=b"])
def test_a_wrong_setting_is_told_with_the_fields(text: str) -> None:
    """Before anything connects, by the variable's name."""
    environ = {"PAYOUTS_DATABASE_URL": "postgresql://a@b/c", "PAYOUTS_STATEMENT_COLUMNS": text}
    with pytest.raises(Exception, match="PAYOUTS_STATEMENT_COLUMNS: must"):
        ReconcileSettings.load(environ)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "is empty"),
        (b"PK\x03\x04rest", "is a spreadsheet"),
        (b"\xd0\xcf\x11\xe0rest", "is a spreadsheet"),
        (b"%PDF-1.7", "is a PDF"),
        (b"a,b,c\n1,2,3\n", "names the columns"),
        (b"\n" * 200 + HEADER.encode(), "names the columns"),
        (HEADER.encode() + b",Receipt No.\n", "two columns"),
        (b"\xff\xfe\x00", "names the columns"),
        (bytes(range(256)) * 20, "names the columns"),
    ],
)
def test_what_is_no_statement_is_refused(written: Written, content: bytes, why: str) -> None:
    """Exit status 2, and what to do; no row is read."""
    with pytest.raises(UsageError, match=why):
        read(written(content))


def test_a_missing_file_a_folder_and_a_pipe_are_refused(tmp_path: Path) -> None:
    """Only a file is read."""
    with pytest.raises(UsageError, match="cannot be read"):
        read(tmp_path / "none.csv")
    with pytest.raises(UsageError, match="cannot be read"):
        read(tmp_path)
    with pytest.raises(UsageError, match="not a path"):
        read(Path("a\0b"))
    os.mkfifo(tmp_path / "pipe")
    writer = os.open(tmp_path / "pipe", os.O_RDWR)
    with pytest.raises(UsageError, match="is not a file"):
        read(tmp_path / "pipe")
    os.close(writer)


@pytest.mark.parametrize(
    "rows",
    [
        'UKR0000001,"27-11-2026,x,Completed,,1.00\nUKR0000002,27-11-2026,x,Completed,,1.00\n',
        'UKR0000001,"x"y,x,Completed,,1.00\n',
        "x" * (MAX_LINE + 1) + "\n",
    ],
)
def test_what_would_swallow_lines_is_an_error(written: Written, rows: str) -> None:
    """An open quotation mark makes no lines vanish: the command fails and names the line.

    Proved by reading with `strict=False`: the second line is gone and nobody is told.
    """
    with pytest.raises(CommandError, match="line 2: cannot be read as CSV"):
        read(written(f"{HEADER}\n{rows}"))


@pytest.mark.parametrize(
    ("cell", "clean"), [(" x ", "x"), ('="0123"', "0123"), ("'-5", "-5"), ("''", "'"), ("=", "=")]
)
def test_what_spreadsheets_put_around_texts_is_taken_off(cell: str, clean: str) -> None:
    """Blanks, a leading apostrophe, a formula of nothing but a text."""
    assert cleaned(cell) == clean


@given(st.binary(max_size=2000))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
def test_no_content_breaks_the_reader(tmp_path: Path, content: bytes) -> None:
    """Every file is read, or refused with an error of our own; so with a header before it."""
    path = tmp_path / "any.csv"
    for start in (b"", HEADER.encode() + b"\n", "\ufeff".encode("utf-16-le")):
        path.write_bytes(start + content)
        try:
            read(path)
        except CommandError as error:
            assert str(error)
