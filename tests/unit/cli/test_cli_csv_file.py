"""A file is read as spreadsheets write it, row by row, with the lines people see."""

import csv
import os
from pathlib import Path

import pytest

from ops.cli.exits import CommandError, UsageError
from ops.cli.sending.csv_file import BLOCK, MAX_LINE, ChangedError, CsvFile


def written(tmp_path: Path, content: str | bytes) -> Path:
    """Writes a file and gives its path."""
    path = tmp_path / "file.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def read(path: Path) -> tuple[tuple[str, ...], list[tuple[int, tuple[str, ...]]]]:
    """Gives header and rows with their lines."""
    with CsvFile(path) as file:
        return file.header, [(row.line, row.cells) for row in file.rows()]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_header_tells_the_delimiter(tmp_path: Path, delimiter: str) -> None:
    """Comma, semicolon, tab and bar are told apart without being named."""
    path = written(tmp_path, f"amount{delimiter}msisdn\n1.50{delimiter}0712000001\n")
    assert read(path) == (("amount", "msisdn"), [(2, ("1.50", "0712000001"))])


def test_byte_order_mark_crlf_blanks_and_empty_rows_are_tolerated(tmp_path: Path) -> None:
    """What Excel adds is no error, and lines are counted as an editor shows them."""
    path = written(tmp_path, b"\xef\xbb\xbfamount,msisdn\r\n\r\n 1 ,\xc2\xa02 \r\n,\r\n3,4\r\n")
    assert read(path) == (("amount", "msisdn"), [(3, ("1", "2")), (5, ("3", "4"))])


def test_a_quoted_cell_may_span_lines(tmp_path: Path) -> None:
    """A row's line is where it begins."""
    path = written(tmp_path, 'amount,remark\n1,"two\nlines, one cell"\n2,x\n')
    assert read(path)[1] == [(2, ("1", "two\nlines, one cell")), (4, ("2", "x"))]


def test_rows_can_be_read_again(tmp_path: Path) -> None:
    """The second pass sees what the first saw."""
    with CsvFile(written(tmp_path, "amount,msisdn\n1,2\n")) as file:
        assert list(file.rows()) == list(file.rows())


def test_the_digest_is_of_the_content_alone(tmp_path: Path) -> None:
    """The same content under another name has the same digest."""
    first, second = tmp_path / "a.csv", tmp_path / "b.csv"
    for path in (first, second):
        path.write_text("amount,msisdn\n1,2\n")
    with CsvFile(first) as one, CsvFile(second) as two:
        assert one.digest() == two.digest()


def test_a_change_under_way_is_noticed(tmp_path: Path) -> None:
    """A file that grows while it is open is not the one that was checked."""
    path = written(tmp_path, "amount,msisdn\n1,2\n")
    with CsvFile(path) as file:
        assert file.unchanged()
        with path.open("a") as more:
            more.write("3,4\n")
        assert not file.unchanged()


def test_other_content_is_never_read_as_what_was_digested(tmp_path: Path) -> None:
    """Rows that were checked are those that are sent, whatever the system tells of the file."""
    path = written(tmp_path, "amount,msisdn\n" + "1,2\n" * 40_000)
    with CsvFile(path) as file:
        file.digest()
        assert sum(1 for _ in file.rows()) == 40_000
        before = path.stat()
        with path.open("r+b") as writing:
            writing.seek(100_002)
            writing.write(b"9")
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert file.unchanged()
        rows = file.rows()
        assert next(rows).cells == ("1", "2")
        with pytest.raises(ChangedError, match="was changed while it was read"):
            list(rows)


@pytest.mark.parametrize("cut", [BLOCK, 3 * BLOCK // 2])
def test_a_file_that_was_cut_off_is_noticed(tmp_path: Path, cut: int) -> None:
    """At the end of a block as well as within one."""
    path = written(tmp_path, "amount,msisdn\n" + "1,2\n" * 40_000)
    with CsvFile(path) as file:
        file.digest()
        os.truncate(path, cut)
        with pytest.raises(ChangedError):
            list(file.rows())


def test_rows_are_the_same_wherever_blocks_end(tmp_path: Path) -> None:
    """Lines, characters of several bytes, CRLF and quoted cells lie across the ends of blocks."""
    cells = [(f"{number}", "é€😀" * (number % 7), 'two\r\n"lines"') for number in range(9000)]
    with (path := tmp_path / "file.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("amount", "remark", "occasion"), *cells])
    assert path.stat().st_size > 4 * BLOCK
    _, rows = read(path)
    assert [found for _, found in rows] == cells
    assert [line for line, _ in rows] == [2 * number + 2 for number in range(9000)]


def test_what_is_not_utf8_comes_out_marked(tmp_path: Path) -> None:
    """Bytes of another encoding become surrogates, which the rows' check refuses by column."""
    path = written(tmp_path, b"amount,remark\n1,caf\xe9\n")
    assert read(path)[1] == [(2, ("1", "caf\udce9"))]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"\n\n", "must name the columns"),
        ("amount".encode("utf-16"), "UTF-16"),
        (b"PK\x03\x04xxxx", "spreadsheet"),
    ],
)
def test_what_is_no_csv_is_refused_at_once(tmp_path: Path, content: bytes, said: str) -> None:
    """Empty files, UTF-16 and spreadsheets are refused with what to do."""
    with pytest.raises(UsageError, match=said):
        CsvFile(written(tmp_path, content))


def test_a_file_that_is_not_there_is_wrong_usage(tmp_path: Path) -> None:
    """The error names the path and the system's reason."""
    with pytest.raises(UsageError, match=r"nothing\.csv cannot be read: No such file"):
        CsvFile(tmp_path / "nothing.csv")


def test_a_pipe_is_refused() -> None:
    """What cannot be read twice cannot be sent."""
    with pytest.raises(UsageError, match="not a file"):
        CsvFile(Path("/dev/null"))


@pytest.mark.parametrize("content", ['amount,remark\n1,"open\n', 'amount,remark\n1,"x"y\n'])
def test_a_quotation_mark_gone_wrong_is_told_with_its_line(tmp_path: Path, content: str) -> None:
    """The line is where the row begins."""
    with pytest.raises(CommandError, match=r"line 2: .*quotation mark"):
        read(written(tmp_path, content))


def test_an_endless_line_is_cut_off(tmp_path: Path) -> None:
    """A file without line ends cannot fill the memory."""
    content = b"amount,remark\n1," + b"x" * (MAX_LINE + 10) + b"\n"
    with pytest.raises(CommandError, match="longer than"):
        read(written(tmp_path, content))
