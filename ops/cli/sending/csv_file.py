"""Reading a CSV file as spreadsheets write it: row by row, in bounded memory, with line numbers."""

from __future__ import annotations

import csv
import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Self

from ops.cli.exits import CommandError, UsageError

MAX_LINE: Final = 256 * 1024  # Far beyond 64 KiB, the largest command; an unclosed quote ends here.
_DELIMITERS: Final = (",", ";", "\t", "|")
_CHUNK: Final = 1024 * 1024
_UTF16: Final = (b"\xff\xfe", b"\xfe\xff")
_ZIP: Final = b"PK\x03\x04"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row as it stands in the file; `line` is where it begins, counted from 1."""

    line: int
    cells: tuple[str, ...]


class CsvFile:
    """One file, open from the first look to the last, so that what is checked is what is sent.

    Comma, semicolon, tab and bar are told apart by the header. A byte order mark, CRLF, blanks
    around cells and empty rows are tolerated. Bytes that are not UTF-8 come out as surrogates,
    which the rows' check refuses by line and column.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = _open(path)
        self._seen = _identity(self._file)
        self.size = self._seen[0]
        try:
            self._delimiter, self.header = self._read_header()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def digest(self) -> str:
        """Return the SHA-256 of the file's content, in hexadecimal."""
        self._file.seek(0)
        running = hashlib.sha256()
        while chunk := self._file.read(_CHUNK):
            running.update(chunk)
        return running.hexdigest()

    def unchanged(self) -> bool:
        """Tell whether the file is still the one that was opened, as far as the system knows."""
        return _identity(self._file) == self._seen

    def rows(self) -> Iterator[Row]:
        """Yield the rows below the header, from the start, skipping empty ones.

        Raises:
            CommandError: the file cannot be split into rows from some line on.
        """
        for number, row in enumerate(self._split(self._delimiter)):
            if number and any(row.cells):
                yield row

    def _read_header(self) -> tuple[str, tuple[str, ...]]:
        first = _first_line(self._file, self._path)
        delimiter = max(_DELIMITERS, key=first.count)
        for row in self._split(delimiter):
            if any(row.cells):
                return delimiter, row.cells
            break
        raise UsageError(f"{self._path}: the first line must name the columns.")

    def _split(self, delimiter: str) -> Iterator[Row]:
        lines = _Lines(self._file)
        reader = csv.reader(lines, delimiter=delimiter, strict=True)
        line = 1
        while True:
            try:
                cells = next(reader, None)
            except csv.Error as error:
                raise CommandError(
                    f"{self._path}, line {line}: cannot be read as CSV ({error});"
                    " see that every quotation mark is closed."
                ) from None
            if cells is None:
                return
            yield Row(line=line, cells=tuple(cell.strip() for cell in cells))
            line = lines.count + 1


class _Lines(Iterator[str]):
    """Decoded lines, counted; one that is too long is cut off by an error."""

    def __init__(self, file: BinaryIO) -> None:
        file.seek(0)
        self._file = file
        self.count = 0

    def __next__(self) -> str:
        line = self._file.readline(MAX_LINE)
        if not line:
            raise StopIteration
        if len(line) >= MAX_LINE:
            raise csv.Error(f"line {self.count + 1} is longer than {MAX_LINE} bytes")
        self.count += 1
        encoding = "utf-8-sig" if self.count == 1 else "utf-8"
        return line.decode(encoding, errors="surrogateescape")


def _open(path: Path) -> BinaryIO:
    try:
        file = path.open("rb")
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.") from None
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise UsageError(f"{path} is not a file; it is read twice, so a pipe cannot be sent.")
    return file


def _identity(file: BinaryIO) -> tuple[int, int]:
    facts = os.fstat(file.fileno())
    return facts.st_size, facts.st_mtime_ns


def _first_line(file: BinaryIO, path: Path) -> str:
    file.seek(0)
    start = file.readline(MAX_LINE)
    if start.startswith(_UTF16):
        raise UsageError(f"{path} is UTF-16; export it as “CSV UTF-8”.")
    if start.startswith(_ZIP):
        raise UsageError(f"{path} is a spreadsheet, not a CSV file; export it as “CSV UTF-8”.")
    if not start:
        raise UsageError(f"{path} is empty.")
    return start.decode("utf-8-sig", errors="replace")
